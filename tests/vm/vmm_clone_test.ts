import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { AgentLostError, HostError, StateError } from "../../src/errors.ts";
import { setEventSink } from "../../src/scope/mod.ts";
import type { Machine } from "../../src/vmm/mod.ts";
import { QemuVmm } from "../../src/vmm/mod.ts";
import type { QemuMachine } from "../../src/vmm/qemu/machine.ts";
import { makeTempDir } from "../host/_temp.ts";
import { LIMIT_MS, openVmm, shell, type TestVmm, untilNoProcesses, utf8 } from "./_vmm.ts";

async function fileHash(path: string): Promise<string> {
  const { stdout } = await new Deno.Command("sha256sum", { args: [path] }).output();
  return new TextDecoder().decode(stdout).split(" ")[0]!;
}

async function names(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name).toSorted();
}

/** Returns the kinds of events, of those named, that came while `fn` ran. */
async function eventsOf(kinds: string[], fn: () => Promise<unknown>): Promise<string[]> {
  const seen: string[] = [];
  const before = setEventSink((kind) => {
    if (kinds.includes(kind)) seen.push(kind);
  });
  try {
    await fn();
  } finally {
    setEventSink(before);
  }
  return seen;
}

async function launchAndEnd(host: TestVmm, vmm = host.vmm): Promise<void> {
  await using machine = await vmm.launch(host.spec());
  assertEquals(machine.info.how, "clone");
  assertEquals(await shell(machine.client!, "echo up"), "up\n");
}

Deno.test("clones of a template are machines of their own", async () => {
  await using host = await openVmm();
  const facts = async (machine: Machine) => ({
    random: await shell(machine.client!, "head -c 16 /dev/urandom | xxd -p"),
    uuid: await shell(machine.client!, "cat /proc/sys/kernel/random/uuid"),
    hostname: await shell(machine.client!, "hostname"),
    machineId: await shell(machine.client!, "cat /etc/machine-id"),
    epoch: await shell(machine.client!, "cat /run/belljar/epoch"),
  });
  const machines = await Promise.all(
    ["first", "second"].map((name) => host.vmm.launch(host.spec({ name }))),
  );
  const [one, two] = await Promise.all(machines.map(facts));
  for (const key of Object.keys(one!) as (keyof typeof one)[]) {
    assertNotEquals(one![key], two![key], key);
  }
  assertEquals([one!.hostname, two!.hostname], ["first\n", "second\n"]);
  assertEquals(one!.machineId.length, 33);
  for (const machine of machines) {
    assertEquals([machine.info.how, machine.info.howWhy], ["clone", ""]);
    const { realtimeNs } = await machine.client!.request("clockGet", {});
    assert(Math.abs(Number(realtimeNs / 1_000_000n) - Date.now()) < 10_000);
    await machine[Symbol.asyncDispose]();
  }
});

Deno.test("a clone has the time, the files and the console that it was asked for", async () => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(host.spec({
    timeMs: Date.UTC(2001, 1, 3, 4, 5, 6),
    files: [
      { path: "/etc/profile", content: utf8("mine\n"), mode: 0o600 },
      { path: "/opt/a b/new", content: new Uint8Array(300_000), mode: 0o4755, uid: 7, gid: 8 },
    ],
  }));
  const look =
    "date -u +%Y-%m-%d; cat /etc/profile; stat -c '%a %u %g %s' /etc/profile '/opt/a b/new'";
  const expected = "mine\n600 0 0 5\n4755 7 8 300000\n";
  assertEquals(await shell(machine.client!, look), `2001-02-03\n${expected}`);
  const again = await machine.reset({ timeoutMs: LIMIT_MS });
  assertEquals((await shell(again, look)).split("\n").slice(1).join("\n"), expected);
  await shell(again, "echo spoken > /dev/console");
  while (!machine.console.text().includes("spoken")) {
    await new Promise<void>((resolve) => machine.console.onData(() => resolve()));
  }
});

Deno.test("what clones do never reaches the template's files", async () => {
  await using host = await openVmm();
  await using cache = await makeTempDir();
  const vmm = new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path });
  await launchAndEnd(host, vmm);
  const key = (await names(`${cache.path}/templates`)).find((name) => !name.includes("."))!;
  const entry = `${cache.path}/templates/${key}`;
  const files = (await names(entry)).filter((name) => name !== "used");
  const hashes = () => Promise.all(files.map((name) => fileHash(`${entry}/${name}`)));
  const before = await hashes();
  for (let i = 0; i < 3; i++) {
    await using machine = await vmm.launch(host.spec());
    await shell(machine.client!, "dd if=/dev/urandom of=/tmp/x bs=1M count=20; sync");
  }
  assertEquals(await hashes(), before);
});

Deno.test("a template is built once by all that want it, and again when it is damaged", async () => {
  await using host = await openVmm();
  await using cache = await makeTempDir();
  const dir = `${cache.path}/templates`;
  const open = () => new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path });
  const kinds = ["template_built", "warning"];
  const first = await eventsOf(kinds, async () => {
    await Promise.all([open(), open(), open()].map((vmm) => launchAndEnd(host, vmm)));
  });
  assertEquals(first, ["template_built"]);
  const key = (await names(dir)).find((name) => !name.includes("."))!;
  assertEquals(await names(dir), [key, `${key}.lock`]);
  // What a builder leaves that is killed.
  await Deno.mkdir(`${dir}/.new-${key}-12345678`);
  using state = await Deno.open(`${dir}/${key}/state`, { read: true, write: true });
  await state.seek(1000, Deno.SeekMode.Start);
  await state.write(utf8("damage"));
  const second = await eventsOf(kinds, () => launchAndEnd(host, open()));
  assertEquals(second, ["warning", "template_built"]);
  await Deno.truncate(`${dir}/${key}/ram`, 4096);
  const third = await eventsOf(kinds, () => launchAndEnd(host, open()));
  assertEquals(third, ["warning", "template_built"]);
  assertEquals(await names(dir), [key, `${key}.lock`]);
});

Deno.test("a template that cannot be built leaves nothing, and the error of the boot", async () => {
  await using host = await openVmm();
  await using cache = await makeTempDir();
  const vmm = new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path });
  const stop = new AbortController();
  const starting = vmm.launch(host.spec({ signal: stop.signal }));
  setTimeout(() => stop.abort(new Error("changed my mind")), 700);
  await assertRejects(() => starting, Error, "changed my mind");
  const left = (await names(`${cache.path}/templates`)).filter((name) => !name.endsWith(".lock"));
  assertEquals(left, []);
  // No room for its memory on disk: it boots cold, which fails for want of memory.
  const huge = vmm.launch(host.spec({ memoryBytes: 2 ** 50 }));
  assertEquals((await assertRejects(() => huge, HostError)).code, "NO_MEMORY");
  await untilNoProcesses(host.run.token);
});

Deno.test("disks are plugged into clones and are there at a boot alike", async () => {
  await using host = await openVmm();
  await using dir = await makeTempDir();
  const base = `${dir.path}/base, with a comma.raw`;
  await Deno.writeFile(base, utf8("template".padEnd(1024 * 1024, "\0")));
  const before = await fileHash(base);
  for (const cold of [false, true]) {
    await using machine = await host.vmm.launch(host.spec({
      cold,
      disks: [
        { id: "data", source: { kind: "scratch", bytes: 64 * 1024 ** 2 }, readonly: false },
        { id: "base", source: { kind: "template", path: base }, readonly: false },
      ],
    }));
    assertEquals(machine.info.how, cold ? "boot" : "clone");
    const script = `
      for i in $(seq 200); do [ $(ls /sys/block | grep -c '^vd') = 2 ] && break; sleep 0.1; done
      for d in /sys/block/vd*; do echo $(cat $d/serial) $(cat $d/size); done | sort
      for d in /sys/block/vd*; do
        [ $(cat $d/serial) = base ] || continue
        head -c 8 /dev/\${d##*/}; echo
        echo changed > /dev/\${d##*/}; sync; head -c 7 /dev/\${d##*/}
      done`;
    assertEquals(
      await shell(machine.client!, script),
      "base 2048\ndata 131072\ntemplate\nchanged",
    );
  }
  assertEquals(await fileHash(base), before);
});

Deno.test("a saved machine goes on, and its clones begin where it was", async () => {
  await using host = await openVmm();
  await using cache = await makeTempDir();
  const vmm = new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path });
  await using machine = await vmm.launch(host.spec());
  const first = machine.client!;
  await machine.pause();
  await assertRejects(() => machine.save(), StateError, "paused");
  await machine.resume();
  await shell(
    first,
    "echo 1 > /tmp/state; (while sleep 0.1; do echo x >> /tmp/ticks; done) >/dev/null 2>&1 &",
  );
  await using saved = await machine.save();
  assert(first.lost instanceof AgentLostError);
  await shell(machine.client!, "echo 2 > /tmp/state");
  for (let generation = 0; generation < 2; generation++) {
    await using clone = await vmm.restore(saved, host.spec({ name: `clone-${generation}` }));
    assertEquals(clone.info.how, "clone");
    assertEquals(
      await shell(clone.client!, "cat /tmp/state; hostname"),
      `1\nclone-${generation}\n`,
    );
    const ticks = "n=$(wc -l < /tmp/ticks); sleep 1; [ $(wc -l < /tmp/ticks) -gt $n ] && echo runs";
    assertEquals(await shell(clone.client!, ticks), "runs\n");
    await shell(clone.client!, "echo 3 > /tmp/state");
  }
  assertEquals(await shell(machine.client!, "cat /tmp/state"), "2\n");
  assert(saved.size > 0 && saved.timings.saveMs > 0 && saved.timings.settleMs > 0);
  await saved.delete();
  assertEquals(await names(`${cache.path}/snapshots`), []);
  await assertRejects(() => vmm.restore(saved, host.spec()), StateError, "deleted");
});

Deno.test("a save that is aborted leaves the machine running and nothing on disk", async () => {
  await using host = await openVmm();
  await using cache = await makeTempDir();
  const vmm = new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path });
  await using machine = await vmm.launch(host.spec());
  const began = machine.client!;
  const stop = new AbortController();
  const saving = machine.save({ signal: stop.signal });
  await began.closed; // brought to rest: the save itself comes next
  stop.abort(new Error("changed my mind"));
  await assertRejects(() => saving, Error, "changed my mind");
  assertEquals(await shell(machine.client!, "echo up"), "up\n");
  assertEquals(await names(`${cache.path}/snapshots`), []);
  await using saved = await machine.save();
  await using clone = await vmm.restore(saved, host.spec());
  assertEquals(await shell(clone.client!, "echo up"), "up\n");
});

Deno.test("a clone of a saved machine can be saved, reset and taken up by path", async () => {
  await using host = await openVmm();
  await using cache = await makeTempDir();
  const vmm = new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path });
  await using machine = await vmm.launch(host.spec());
  await shell(machine.client!, "echo 1 > /tmp/state");
  const saved = await machine.save();
  await using clone = await vmm.restore(saved, host.spec());
  await shell(clone.client!, "echo 2 >> /tmp/state");
  const second = await clone.save();
  await second.moveTo(`${cache.path}/kept`);
  await saved.delete();
  const opened = await new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path })
    .openState(`${cache.path}/kept`);
  await using third = await vmm.restore(opened, host.spec());
  assertEquals(await shell(third.client!, "cat /tmp/state"), "1\n2\n");
  const again = await third.reset({ timeoutMs: LIMIT_MS });
  assertEquals(await shell(again, "ls /tmp/state 2>/dev/null; echo none"), "none\n");
});

Deno.test("a clone whose agent crashes has it back, as the same machine", async () => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(host.spec({ name: "phoenix" }));
  const again = Promise.withResolvers<void>();
  machine.onAgent(() => again.resolve());
  machine.ended.then((end) => again.reject(end));
  const first = machine.client!;
  await shell(first, `echo kept > /tmp/kept; kill -9 ${first.agent.pid}`).catch(() => {}); // lost with it
  await again.promise;
  assert(first.lost instanceof AgentLostError);
  assertEquals(await shell(machine.client!, "cat /tmp/kept; hostname"), "kept\nphoenix\n");
  // Nobody who has the template's files may talk to the agent that process 1 has started again.
  const { auth, bootSecret } = machine as QemuMachine;
  assertNotEquals(auth!.secret, bootSecret);
});

Deno.test("ten clones of one template answer at once", async () => {
  await using host = await openVmm();
  const names = Array.from({ length: 10 }, (_, index) => `clone-${index}`);
  const machines = await Promise.all(names.map((name) => host.vmm.launch(host.spec({ name }))));
  const answers = await Promise.all(machines.map(({ client }) => shell(client!, "hostname")));
  assertEquals(answers, names.map((name) => `${name}\n`));
  await Promise.all(machines.map((machine) => machine[Symbol.asyncDispose]()));
});
