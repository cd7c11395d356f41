import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AgentLostError, BootError, HostError } from "../../src/errors.ts";
import { pause, processesWithToken } from "../../src/host/mod.ts";
import { LIMIT_MS, openVmm, shell, untilNoProcesses, utf8 } from "./_vmm.ts";

Deno.test("a cold machine boots, answers, and leaves nothing", async () => {
  await using host = await openVmm();
  const machine = await host.vmm.launch(host.spec({ cold: true, name: "Cold one" }));
  const { info } = machine;
  assertEquals([info.vmm, info.how, info.howWhy], ["qemu", "boot", "asked for"]);
  assertEquals([info.transport, info.accel], ["serial", "tcg"]);
  assertEquals(info.kernel, machine.client!.agent.kernel);
  assert(info.timings.spawnMs! > 0 && info.timings.helloMs! > info.timings.spawnMs!);
  assert(info.timings.totalMs >= info.timings.helloMs!);
  assertEquals(await machine.client!.request("ping", {}), {});
  assertEquals(await shell(machine.client!, "hostname; id -u"), "cold-one\n0\n");
  await machine[Symbol.asyncDispose]();
  assertEquals((await machine.ended).reason, "killed");
  const left = (await processesWithToken(host.run.token)).map(({ command }) => command);
  assertEquals(left.filter((command) => command.startsWith("qemu")), []);
  const names = (await Array.fromAsync(Deno.readDir(host.run.dir))).map(({ name }) => name);
  assertEquals(names.filter((name) => name !== "lock"), [machine.console.path.split("/").at(-1)]);
});

Deno.test("boot files win over the image's, keep their modes, and the last words of the cmdline count", async () => {
  await using host = await openVmm();
  const large = crypto.getRandomValues(new Uint8Array(64 * 1024));
  await using machine = await host.vmm.launch(host.spec({
    cold: true,
    cmdlineAppend: "belljar.test=last",
    files: [
      { path: "/etc/profile", content: utf8("mine\n"), mode: 0o600 },
      { path: "/opt/new/empty", content: new Uint8Array(0), mode: 0o755 },
      { path: "/opt/new/large", content: large },
    ],
  }));
  const text = await shell(
    machine.client!,
    "cat /etc/profile; stat -c '%a %s' /etc/profile /opt/new/empty /opt/new/large; cat /proc/cmdline; ls /etc/belljar",
  );
  assertStringIncludes(text, "mine\n600 5\n755 0\n644 65536\n");
  assertStringIncludes(text, "belljar.test=last\n");
  assert(!text.includes("secret"), "the secret is still in the guest");
});

Deno.test("a machine pauses, resumes and is reset with a new conversation", async () => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(host.spec({ cold: true }));
  const first = machine.client!;
  const began = performance.now();
  const before = (await first.request("clockGet", {}, { timeoutMs: LIMIT_MS })).monotonicNs;
  await machine.pause();
  const answer = first.request("clockGet", {}, { timeoutMs: LIMIT_MS });
  await pause(1_500);
  await machine.resume();
  const inGuest = Number((await answer).monotonicNs - before) / 1e6;
  const onHost = performance.now() - began;
  assert(onHost - inGuest > 1_400, `${inGuest} ms in the guest, ${onHost} ms on the host`);
  await shell(first, "touch /tmp/mark");
  const second = await machine.reset({ timeoutMs: LIMIT_MS });
  assertEquals(machine.client, second);
  assert(first.lost instanceof AgentLostError);
  assertEquals(await shell(second, "ls /tmp/mark 2>&1 | grep -c 'No such'"), "1\n");
});

Deno.test("a guest that powers off ends its machine in order", async () => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(host.spec({ cold: true }));
  await machine.client!.request("shutdown", { how: "poweroff" });
  const end = await machine.ended;
  assertEquals([end.reason, end.exitCode], ["guestPoweroff", 0]);
  await assertRejects(() => machine.client!.request("ping", {}), AgentLostError, "powered off");
});

Deno.test("a panic ends what is waited for, with the kernel's words", async () => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(host.spec({ cold: true }));
  const waiting = shell(machine.client!, "sleep 1; echo c > /proc/sysrq-trigger; sleep 300");
  const error = await assertRejects(() => waiting, AgentLostError, "sysrq triggered crash");
  assertEquals(error.code, "GUEST_PANIC");
  const end = await machine.ended;
  assertEquals(end.reason, "panic");
  assertStringIncludes(machine.console.text(), "Kernel panic - not syncing");
  assertStringIncludes(await Deno.readTextFile(machine.console.path), "Kernel panic");
});

Deno.test("a QEMU that is killed ends its machine, and everything that waits for it", async () => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(host.spec({ cold: true }));
  const waiting = shell(machine.client!, "sleep 300");
  Deno.kill(machine.info.pid, "SIGKILL");
  const end = await machine.ended;
  assertEquals([end.reason, end.signal], ["crashed", "SIGKILL"]);
  await assertRejects(() => waiting, AgentLostError, "SIGKILL");
});

Deno.test("an agent that crashes once comes back with a new conversation", async () => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(host.spec({ cold: true }));
  const again = Promise.withResolvers<void>();
  machine.onAgent(() => again.resolve());
  const first = machine.client!;
  await shell(first, `echo kept > /tmp/kept; kill -9 ${first.agent.pid}`).catch(() => {}); // lost with it
  machine.ended.then((end) => again.reject(end));
  await again.promise;
  assert(first.lost instanceof AgentLostError);
  assertEquals(await shell(machine.client!, "cat /tmp/kept"), "kept\n");
});

Deno.test("a boot that comes to nothing tells how far it came, and keeps the console", async () => {
  await using host = await openVmm();
  const error = await assertRejects(
    () =>
      host.vmm.launch(host.spec({
        cold: true,
        cmdline: "rdinit=/nowhere root=none loglevel=7",
        agentTimeoutMs: LIMIT_MS,
      })),
    BootError,
  );
  assertEquals([error.stage, error.code], ["kernel", "GUEST_PANIC"]);
  assertStringIncludes(error.consoleTail, "Kernel panic");
  assertStringIncludes(await Deno.readTextFile(error.consolePath!), "Kernel panic");
  await untilNoProcesses(host.run.token);
});

Deno.test("a boot without answer ends at its limit, at the stage that it is in", async () => {
  await using host = await openVmm();
  const spec = host.spec({ cold: true, cmdline: "rdinit=/bin/cat", agentTimeoutMs: 6_000 });
  const error = await assertRejects(() => host.vmm.launch(spec), BootError, "6 s");
  assert(["firmware", "kernel", "init"].includes(error.stage), error.stage);
});

Deno.test("a machine without agent can be typed at from the first prompt", async () => {
  await using host = await openVmm();
  await using machine = await host.vmm.launch(
    host.spec({ expect: "no-agent", cmdline: "rdinit=/bin/sh" }),
  );
  assertEquals([machine.client, machine.info.how], [undefined, "boot"]);
  const seen = (text: string) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (machine.console.text().includes(text)) resolve();
      };
      machine.console.onData(look);
      look();
    });
  await seen("# ");
  await machine.console.write(utf8("echo $((6 * 7))-typed\n"));
  await seen("42-typed");
  await machine.quit();
  assertEquals((await machine.ended).reason, "quit");
});

Deno.test("a start that is aborted rejects with the reason and leaves nothing", async () => {
  await using host = await openVmm();
  const stop = new AbortController();
  const starting = host.vmm.launch(host.spec({ cold: true, signal: stop.signal }));
  setTimeout(() => stop.abort(new Error("changed my mind")), 400);
  await assertRejects(() => starting, Error, "changed my mind");
  await untilNoProcesses(host.run.token);
});

Deno.test("what the host lacks is said with one thing to do", async (t) => {
  await using host = await openVmm();
  const broken = (changes: object) => host.spec({ cold: true, ...changes });
  const rows = [
    [
      "kernel is missing",
      broken({ image: { ...host.image, kernel: "/nowhere/kernel" } }),
      "IMAGE_UNREADABLE",
    ],
    ["too much memory", broken({ memoryBytes: 64 * 1024 ** 4 }), "NO_MEMORY"],
  ] as const;
  for (const [name, spec, code] of rows) {
    await t.step(name, async () => {
      const error = await assertRejects(() => host.vmm.launch(spec), HostError);
      assertEquals(error.code, code);
      assertStringIncludes(error.message, "next:");
    });
  }
});
