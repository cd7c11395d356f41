import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { setEventSink } from "../../src/scope/mod.ts";
import type { Machine } from "../../src/vmm/mod.ts";
import type { QemuMachine } from "../../src/vmm/qemu/machine.ts";
import { openVmm, shell, untilNoProcesses, utf8 } from "./_vmm.ts";

/** What makes a machine one of its own. */
async function identity(machine: Machine): Promise<Record<string, string>> {
  const client = machine.client!;
  return {
    random: await shell(client, "head -c 16 /dev/urandom | xxd -p"),
    hostname: await shell(client, "hostname"),
    machineId: await shell(client, "cat /etc/machine-id"),
    epoch: await shell(client, "cat /run/belljar/epoch"),
  };
}

Deno.test("a machine that stood by becomes the one that is asked for", async () => {
  await using host = await openVmm();
  const machines: Machine[] = [];
  for (const name of ["first", "second"]) {
    const standby = await host.vmm.standby(host.spec());
    const machine = await host.vmm.launch(host.spec({
      name,
      standby,
      timeMs: Date.UTC(2001, 1, 3, 4, 5, 6),
      files: [{ path: "/etc/mine", content: utf8(`${name}\n`), mode: 0o600 }],
    }));
    machines.push(machine);
    assertEquals(machine.info.pid, standby.pid);
    // Its owner may end it without harm: it is the machine's.
    await standby[Symbol.asyncDispose]();
    const { how, howWhy, timings } = machine.info;
    assertEquals([how, howWhy], ["clone", ""]);
    assert(timings.aheadMs! > 0);
    assertEquals(timings.spawnMs, undefined);
  }
  const [one, two] = await Promise.all(machines.map(identity));
  for (const key of Object.keys(one!)) assertNotEquals(one![key], two![key], key);
  assertEquals([one!.hostname, two!.hostname], ["first\n", "second\n"]);
  for (const [index, machine] of machines.entries()) {
    const client = machine.client!;
    const { realtimeNs } = await client.request("clockGet", {});
    assertEquals(new Date(Number(realtimeNs / 1_000_000n)).getUTCFullYear(), 2001);
    assertEquals(await shell(client, "cat /etc/mine"), ["first\n", "second\n"][index]);
    assertEquals(await shell(client, "ls /sys/fs/cgroup/belljar | grep -c -"), "1\n");
    await machine[Symbol.asyncDispose]();
  }
  await untilNoProcesses(host.run.token);
});

Deno.test("a machine that stood by can be reset, saved, and given disks", async () => {
  await using host = await openVmm();
  const standby = await host.vmm.standby(host.spec());
  await using machine = await host.vmm.launch(host.spec({
    name: "mine",
    standby,
    disks: [{ id: "data", source: { kind: "scratch", bytes: 2 ** 20 }, readonly: false }],
  }));
  assertEquals(machine.info.pid, standby.pid);
  const disk = "until test -b /dev/disk/by-id/virtio-data; do sleep 0.1; done; echo there";
  assertEquals(await shell(machine.client!, disk), "there\n");
  await using saved = await machine.save();
  await saved.settled();
  await using copy = await host.vmm.restore(saved, host.spec({ name: "copy" }));
  assertEquals(await shell(copy.client!, "hostname"), "copy\n");
  await shell(machine.client!, "echo gone > /tmp/gone");
  const client = await (machine as QemuMachine).reset();
  assertEquals(await shell(client, "hostname; ls /tmp"), "mine\n");
});

Deno.test("an agent that crashes in a machine that stood by comes back to its own harness", async () => {
  await using host = await openVmm();
  const standby = await host.vmm.standby(host.spec());
  await using machine = await host.vmm.launch(host.spec({ standby }));
  const back = Promise.withResolvers<void>();
  machine.onAgent(() => back.resolve());
  await shell(machine.client!, "kill -9 $(pidof belljar-agent | tr ' ' '\\n' | sort -n | tail -1)")
    .catch(() => {}); // whoever asks is lost with it
  await back.promise;
  assertEquals(await shell(machine.client!, "echo here"), "here\n");
});

Deno.test("what stands by serves machines of its kind only, and waits unharmed for one", async () => {
  await using host = await openVmm();
  const kinds = [{}, { memoryBytes: 192 * 2 ** 20 }, { cmdlineAppend: "mine=1" }, { cpus: 2 }];
  const keys = await Promise.all(kinds.map((kind) => host.vmm.standbyKey(host.spec(kind))));
  assertEquals(new Set(keys).size, kinds.length);
  assertEquals(await host.vmm.standbyKey(host.spec({ name: "other", files: [] })), keys[0]);
  assertEquals(await host.vmm.standbyKey(host.spec({ cold: true })), undefined);
  assertEquals(await host.vmm.standbyKey(host.spec({ expect: "no-agent" })), undefined);
  await using standby = await host.vmm.standby(host.spec());
  for (const other of [{ memoryBytes: 192 * 2 ** 20 }, { cold: true }]) {
    await using machine = await host.vmm.launch(host.spec({ ...other, standby }));
    assertNotEquals(machine.info.pid, standby.pid);
    assertEquals(machine.info.timings.aheadMs, undefined);
  }
  await using machine = await host.vmm.launch(host.spec({ standby }));
  assertEquals(machine.info.pid, standby.pid);
  await using second = await host.vmm.launch(host.spec({ standby }));
  assertNotEquals(second.info.pid, standby.pid);
});

Deno.test("a machine is started all the same if the one that stood by has died", async (t) => {
  await using host = await openVmm();
  const warnings: string[] = [];
  const before = setEventSink((kind, event) => {
    if (kind === "warning") warnings.push(String(event.message));
  });
  try {
    for (const isKnown of [true, false]) {
      await t.step(isKnown ? "and that is known" : "just now", async () => {
        const standby = await host.vmm.standby(host.spec());
        Deno.kill(standby.pid, "SIGKILL");
        if (isKnown) await standby.ended;
        await using machine = await host.vmm.launch(host.spec({ name: "next", standby }));
        assertNotEquals(machine.info.pid, standby.pid);
        assertEquals(await shell(machine.client!, "hostname"), "next\n");
        await standby.ended;
      });
    }
  } finally {
    setEventSink(before);
  }
  // It depends on who is quicker whether the second one is known to be dead when it is taken.
  assert(warnings.every((text) => text.startsWith(`machine "next" is started anew`)));
});

Deno.test("preparing a machine ends with its signal, and leaves nothing", async () => {
  await using host = await openVmm();
  await (await host.vmm.launch(host.spec()))[Symbol.asyncDispose](); // its template is there from here on
  for (const afterMs of [0, 30, 100, 200]) {
    const reason = new Error(`after ${afterMs} ms`);
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(reason), afterMs);
    const standby = host.vmm.standby(host.spec({ signal: stop.signal }));
    await standby.then((one) => one[Symbol.asyncDispose](), (error) => assertEquals(error, reason));
    clearTimeout(timer);
  }
  const stopped = AbortSignal.abort(new Error("before"));
  await assertRejects(() => host.vmm.standby(host.spec({ signal: stopped })), Error, "before");
  await untilNoProcesses(host.run.token);
  const left = await Array.fromAsync(Deno.readDir(host.run.dir), ({ name }) => name);
  assertEquals(left.filter((name) => !name.endsWith(".log")), ["lock"]);
});
