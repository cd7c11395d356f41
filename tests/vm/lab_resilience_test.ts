import { assert, assertEquals, assertRejects } from "@std/assert";
import { AgentLostError, DeadlineError } from "../../src/errors.ts";
import { cstr, lab } from "../../src/lab/mod.ts";
import { operationsOf, Scope, setScopeSignal } from "../../src/scope/mod.ts";
import { closeRunAfterwards, labTest, sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("sturdy");
closeRunAfterwards();

/** Longest of a few rounds of ordinary operations, in milliseconds. */
async function slowest(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  for (let i = 0; i < 20; i++) {
    const began = performance.now();
    await work();
    longest = Math.max(longest, performance.now() - began);
  }
  return longest;
}

test(
  "24: the end of a test's time ends its operations, and the machine goes on",
  async (vm, { scope }) => {
    await vm.mknod("/tmp/never", 0o010600);
    const inner = new Scope("test with a limit", { parent: scope });
    const limit = new AbortController();
    setScopeSignal(inner, limit.signal);
    const reason = new Error("the time is over");
    const errors = await inner.run(async () => {
      const waits = [
        vm.syscall("open", cstr("/tmp/never"), 0),
        vm.readFile("/tmp/never"),
        vm.run("sleep 300"),
        vm.runAsync("sleep", { args: ["301"] }).then((proc) => proc.wait()),
        vm.console.expect("never", 300),
        lab.barrier("never", 2, 300),
        vm.waitUntil(() => false, { timeout: 300 }),
      ].map((wait) => wait.then(() => undefined, (error) => error));
      await vm.run("true");
      const busy = operationsOf(inner).inProgress.map(({ op }) => op);
      assert(busy.includes('run("sleep 300")'), busy.join(", "));
      assert(busy.includes("syscall(open)"), busy.join(", "));
      limit.abort(reason);
      return await Promise.all(waits);
    });
    for (const error of errors) assertEquals(error, reason);
    await inner.close();
    assertEquals((await vm.syscall("getpid")).errno, 0);
    assertEquals((await vm.run("echo on")).stdout, "on\n");
    await vm.waitUntil(
      async () =>
        !(await vm.processes()).some(({ command, state }) =>
          /^sleep 30[01]$/.test(command) && state !== "Z"
        ),
      { timeout: 30, interval: 0.05 },
    );
  },
);

test("a blocked call, a stopped process and a full pipe hold up nobody else", async (vm) => {
  await vm.mknod("/tmp/gate2", 0o010600);
  await using worker = await vm.spawnWorker();
  const blocked = worker.syscallAsync("open", cstr("/tmp/gate2"), 0);
  await using stopped = await vm.runAsync("kill -STOP $$; echo went on");
  await using full = await vm.runAsync("cat > /dev/null & cat /dev/zero | sleep 300");
  await vm.waitUntil(async () => (await stopped.status()).stopped, { timeout: 30, interval: 0.02 });
  await vm.waitUntil(async () => await blocked.state() === "blocked", {
    timeout: 30,
    interval: 0.02,
  });
  // The bound is generous: both cores may be busy with other work.
  const ms = await slowest(async () => {
    await vm.stat("/tmp");
    await worker.syscall("getpid");
    await vm.readTextFile("/proc/uptime");
  });
  assert(ms < 1000, `an operation took ${ms} ms`);
  await stopped.kill("CONT");
  assertEquals((await stopped.wait("30s")).stdout, "went on\n");
  await full.close();
  await blocked.cancel();
});

test("a syscall that takes too long is cancelled at its deadline", async (vm) => {
  const began = performance.now();
  const error = await assertRejects(
    () => vm.syscall("pause", { timeout: "300ms" }),
    DeadlineError,
  );
  assert(performance.now() - began >= 300);
  assert(error.message.includes("syscall"), error.message);
  assertEquals((await vm.syscall("getpid")).errno, 0);
});

labTest("an agent that dies is reported, and started again once by process 1", async () => {
  const vm = await lab.vm("reborn", "tiny").boot();
  const running = vm.run("sleep 300").catch((error) => error);
  await vm.run("true");
  const error = await vm.syscall("exit_group", 3).catch((error) => error);
  assert(error instanceof AgentLostError, String(error));
  assertEquals((await running).name, "JobLostError");
  await vm.waitUntil(async () => (await vm.run("echo again")).stdout === "again\n", {
    retryErrors: true,
    timeout: 60,
    interval: 0.05,
  });
  assertEquals(vm.state, "booted");
});

labTest("a guest that powers off by itself ends as a shutdown, and says so", async () => {
  const vm = await lab.vm("tired", "tiny").boot();
  const running = vm.run("sleep 300").catch((error) => error);
  await vm.run("poweroff -f").catch(() => {});
  assertEquals((await running).name, "JobLostError");
  await vm.waitUntil(() => vm.state === "shutdown", { timeout: 30, interval: 0.02 });
  const error = await vm.stat("/").catch((error) => error);
  assert(error.message.includes("it is shutdown"), error.message);
});
