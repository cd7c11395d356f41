import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AgentLostError, BootError, StateError } from "../../src/errors.ts";
import {
  allowConsole,
  ConsoleRuleError,
  ExpectError,
  lab,
  onConsoleFinding,
} from "../../src/lab/mod.ts";
import { closeRunAfterwards, labTest } from "./_lab.ts";

closeRunAfterwards();

labTest(
  "the state of a machine decides what can be done, and errors say what to call",
  async () => {
    const vm = lab.vm("states", "tiny");
    assertEquals(vm.state, "created");
    const early = await assertRejects(() => vm.run("true"), StateError);
    assertEquals(
      early.message,
      'Cannot run on machine "states": it is created\n  next:     boot() it first',
    );
    await assertRejects(() => vm.pause(), StateError, "boot() it first");
    const booting = vm.boot();
    assertEquals(vm.state, "booting");
    await assertRejects(() => vm.run("true"), StateError, "await boot() first");
    await assertRejects(() => vm.boot(), StateError, "boot it once");
    assertEquals(await booting, vm);
    assertEquals(vm.state, "booted");
    await vm.pause();
    assertEquals(vm.state, "paused");
    await assertRejects(() => vm.readFile("/x"), StateError, "resume() it first");
    await vm.resume();
    assertEquals((await vm.run("echo on")).stdout, "on\n");
    await vm.shutdown();
    assertEquals(vm.state, "shutdown");
    await vm.shutdown();
    await vm.kill();
    await assertRejects(() => vm.run("true"), StateError, "create and boot another machine");
    await assertRejects(() => vm.boot(), StateError, "create another machine by lab.vm()");
    assertStringIncludes(vm.console.text(), "");
  },
);

labTest("kill() ends what is in flight with the reason", async () => {
  const vm = await lab.vm("killed", "tiny").boot();
  const running = vm.run("sleep 300").catch((error) => error);
  const reading = vm.readFile("/dev/zero").catch((error) => error);
  await vm.run("true");
  await vm.kill();
  assertEquals(vm.state, "dead");
  const [run, read] = await Promise.all([running, reading]);
  assertEquals(run.name, "JobLostError");
  assert(read instanceof AgentLostError, String(read));
});

labTest("17: files of boot() win over the image's, of any size and with their mode", async () => {
  const big = new Uint8Array(20 * 1024 * 1024);
  for (let at = 0; at < big.length; at += 65536) {
    crypto.getRandomValues(big.subarray(at, at + 65536));
  }
  const temp = await Deno.makeTempFile();
  await Deno.writeTextFile(temp, "from the host");
  const vm = await lab.vm("injected", "tiny").boot({
    files: [
      { path: "/etc/hosts", content: "1.2.3.4 mine\n", mode: 0o600 },
      { path: "/etc/empty", content: "" },
      { path: "/opt/deep/er/script", content: "#!/bin/sh\necho ran\n", mode: 0o755 },
      { path: "/opt/host", from: temp },
      { path: "/opt/big", content: big },
    ],
    cmdlineAppend: "belljar.test=last",
  });
  await Deno.remove(temp);
  assertEquals(await vm.readTextFile("/etc/hosts"), "1.2.3.4 mine\n");
  assertEquals((await vm.stat("/etc/hosts")).mode, 0o600);
  assertEquals((await vm.stat("/etc/empty")).size, 0);
  assertEquals((await vm.run("/opt/deep/er/script")).stdout, "ran\n");
  assertEquals(await vm.readTextFile("/opt/host"), "from the host");
  const copy = await vm.readFile("/opt/big");
  assertEquals(copy.length, big.length);
  assert(copy.every((byte, i) => byte === big[i]), "the content differs");
  const cmdline = (await vm.readTextFile("/proc/cmdline")).trim();
  assert(cmdline.endsWith("belljar.test=last"), cmdline);
});

labTest("boot options are refused by name before anything starts", async ({ t }) => {
  const rows: [object, string][] = [
    [{ fils: [] }, 'did you mean "files"'],
    [{ files: {} }, "files of vm.boot() must be an array"],
    [{ files: [{ content: "" }] }, "files[0] needs the option path"],
    [{ files: [{ path: "etc/x", content: "" }] }, "must be an absolute path"],
    [{ files: [{ path: "/x" }] }, "files[0] takes exactly one of content, from; got none"],
    [{ files: [{ path: "/x", content: "", from: "y" }] }, "got content and from"],
    [{ files: [{ path: "/x", content: "", mod: 1 }] }, 'did you mean "mode"'],
    [{ disks: [{ id: "a" }] }, "exactly one of path, scratch, template; got none"],
    [{ disks: [{ id: "a b", scratch: "1M" }] }, "1 to 20 letters"],
    [{ disks: [{ id: "a", scratch: "1 M" }] }, '"1 M"'],
    [{ disks: [{ id: "a", scratch: 1 }, { id: "a", scratch: 1 }] }, "two disks"],
    [{ time: "now" }, "a valid Date or seconds since 1970"],
    [{ agentTimeout: "10" }, '"10"'],
    [{ expect: "nothing" }, '"agent" or "no-agent"'],
    [{ transport: "tcp" }, '"auto" or "vsock" or "serial"'],
    [{ cold: 1 }, "must be true or false"],
  ];
  const vm = lab.vm("refused", "tiny");
  for (const [options, message] of rows) {
    await t.step(JSON.stringify(options), async () => {
      const error = await vm.boot(options).then(() => undefined, (error) => error);
      assert(error instanceof TypeError || error instanceof RangeError, String(error));
      assertStringIncludes(error.message, message);
    });
  }
  assertEquals(vm.state, "created");
});

labTest("a boot that is aborted rejects with the reason, and can be tried again", async () => {
  const vm = lab.vm("aborted", "tiny");
  const controller = new AbortController();
  const reason = { why: "enough" };
  const booting = vm.boot({ cold: true, signal: controller.signal });
  setTimeout(() => controller.abort(reason), 300);
  assertEquals(await booting.catch((error) => error === reason), true);
  assertEquals(vm.state, "created");
  await vm.boot();
  assertEquals((await vm.run("true")).exitCode, 0);
});

labTest("14: a machine without an agent can be read and typed at", async () => {
  const vm = await lab.vm("silent", "tiny").boot({
    expect: "no-agent",
    cold: true,
    cmdlineAppend: "rdinit=/bin/sh",
  });
  await assertRejects(() => vm.run("true"), StateError, "booted without its agent");
  await vm.console.expect(/[#$] /, 60);
  await vm.console.write("echo $((6*7))-answer");
  await vm.console.press("enter");
  await vm.console.expect("42-answer", 30);
});

labTest("14: a boot that fails says how far it came and keeps the console", async () => {
  const vm = lab.vm("failing", "tiny");
  const began = performance.now();
  const error = await assertRejects(
    () => vm.boot({ cold: true, agentTimeout: "6s", cmdlineAppend: "rdinit=/bin/busybox" }),
    BootError,
  );
  assert(performance.now() - began < 60_000);
  assert(error.consolePath, "no console was kept");
  assertStringIncludes(await Deno.readTextFile(error.consolePath), "");
  assert(["kernel", "init"].includes(error.stage), error.stage);
  assertEquals(vm.state, "created");
});

labTest("15: the console's cursor only moves forward, over a reset", async () => {
  const vm = await lab.vm("cursor", "tiny").boot();
  await vm.run("echo the-mark > /dev/console", { check: true });
  await vm.console.expect("the-mark", 30);
  await assertRejects(() => vm.console.expect("the-mark", 0.3), ExpectError);
  await vm.reset();
  await vm.run("printf the-; sleep 0.2; echo mark", { check: true });
  await vm.run("(printf the-; sleep 0.3; echo mark) > /dev/console", { check: true });
  await vm.console.expect("the-mark", 30);
  assertEquals(vm.console.text().split("the-mark").length, 3);
  await vm.shutdown();
  assertEquals(vm.console.text().split("the-mark").length, 3);
  assert(vm.console.lines().includes("the-mark"));
});

labTest("15: a burst of 1 MiB on the console loses nothing", async () => {
  const vm = await lab.vm("burst", "tiny").boot();
  const stream = vm.console.stream();
  const script =
    "i=0; while [ $i -lt 16384 ]; do printf '%063d\\n' $i; i=$((i+1)); done > /dev/console";
  await vm.run(`${script}; echo burst-end > /dev/console`, { check: true, timeout: "5m" });
  let next = 0;
  for await (const line of stream.lines()) {
    if (line.includes("burst-end")) break;
    if (!/^\d{63}\r?$/.test(line)) continue;
    assertEquals(Number(line), next++);
  }
  assertEquals(next, 16384);
});

labTest("16: a panic ends every wait as a fault of the guest, with its text", async () => {
  const found: ConsoleRuleError[] = [];
  const off = onConsoleFinding((error) => found.push(error));
  const vm = await lab.vm("panicking", "tiny").boot();
  const waits = [
    vm.run("sleep 1; echo c > /proc/sysrq-trigger; sleep 300"),
    vm.run("sleep 300"),
    vm.console.expect("never", 300),
    vm.waitUntil(() => false, { timeout: 300 }),
  ].map((wait) => wait.then(() => undefined, (error) => error));
  const errors = await Promise.all(waits);
  for (const error of errors) {
    assert(error instanceof ConsoleRuleError, String(error));
    assertEquals([error.kind, error.vm, error.code], ["panic", "panicking", "CONSOLE_RULE"]);
    assertStringIncludes(error.message, "Kernel panic - not syncing: sysrq triggered crash");
  }
  await vm.waitUntil(() => vm.state === "dead", { timeout: 30, interval: 0.05 });
  assertEquals(found.length, 1);
  off();
  assertStringIncludes(vm.console.text(), "Kernel panic");
});

labTest("16: a complaint that is allowed ends no wait", async () => {
  const vm = await lab.vm("allowed", "tiny").boot();
  allowConsole(/Out of memory/, "the test writes it itself");
  await vm.run("echo '[  1.0] Out of memory: Killed process 41 (x)' > /dev/console; sleep 0.3", {
    check: true,
  });
  await vm.console.expect("Out of memory", 30);
  const waiting = vm.run("echo 'BUG: KASAN: use-after-free in x' > /dev/console; sleep 300");
  const error = await assertRejects(() => waiting, ConsoleRuleError);
  assertEquals(error.kind, "kasan");
  assertEquals((await vm.run("echo goes on")).stdout, "goes on\n");
});

labTest(
  "16: warnings of the kernel's log count although the console does not show them",
  async () => {
    const vm = await lab.vm("warned", "tiny").boot();
    const line = "WARNING: possible circular locking dependency detected";
    const waiting = vm.run(`echo '<4>${line}' > /dev/kmsg; sleep 300`);
    const error = await assertRejects(() => waiting, ConsoleRuleError);
    assertEquals(error.kind, "lockdep");
    assertStringIncludes(error.line, line);
    assertEquals((await vm.run("sleep 0.3; echo goes on")).stdout, "goes on\n");
  },
);

labTest("16: a process that the kernel kills for its memory ends every wait", async () => {
  const vm = await lab.vm("small", "tiny", { memory: "128M" }).boot();
  const error = await assertRejects(() => vm.run("tail /dev/zero; sleep 300"), ConsoleRuleError);
  assertEquals(error.kind, "oom");
  assertEquals((await vm.run("echo the agent lives")).stdout, "the agent lives\n");
});

labTest("the clock can be read, set, moved and slept by", async () => {
  const vm = await lab.vm("clock", "tiny").boot({ time: new Date("2030-01-01T00:00:00Z") });
  const start = Date.UTC(2030, 0, 1) / 1000;
  const now = await vm.clock.get();
  assert(now >= start && now < start + 300, String(now));
  const before = await vm.clock.read();
  await vm.clock.advance("-1h");
  const after = await vm.clock.read();
  assert(after.realtimeNs < before.realtimeNs - 3_500_000_000_000n);
  assert(after.monotonicNs >= before.monotonicNs);
  await vm.clock.set(new Date("2031-05-05T00:00:00Z"));
  assertStringIncludes((await vm.run("date -u +%Y-%m-%d")).stdout, "2031-05-05");
  const slept = await vm.clock.read();
  await vm.clock.sleep("300ms");
  assert((await vm.clock.read()).monotonicNs - slept.monotonicNs >= 300_000_000n);
  await assertRejects(() => vm.clock.advance(NaN), RangeError);
  await assertRejects(() => vm.clock.set(NaN), RangeError);
});

labTest("a lab boots, pauses and ends its members together, all or nothing", async () => {
  const group = lab.lab("pair");
  group.vm("a", "tiny");
  group.vm("b", "tiny");
  await group.boot();
  assertEquals(group.members().map(({ state }) => state), ["booted", "booted"]);
  await group.pause();
  await group.resume();
  const [a, b] = group.members();
  assertEquals((await Promise.all([a!.run("hostname"), b!.run("hostname")])).map((r) => r.stdout), [
    "a\n",
    "b\n",
  ]);
  await group.shutdown();
  assertEquals([a!.state, b!.state], ["shutdown", "shutdown"]);
  const bad = lab.lab("bad");
  bad.vm("good", "tiny");
  bad.vm("broken", "no-such-image");
  const error = await assertRejects(() => bad.boot());
  assertStringIncludes((error as Error).message, 'Cannot boot lab "bad": 1 of 2 machines failed');
  assertStringIncludes((error as Error).message, '"broken"');
  assert(bad.vm("good").state !== "booted");
});
