import { assert, assertEquals, assertRejects } from "@std/assert";
import { AgentLostError, DeadlineError } from "../../src/errors.ts";
import { cstr, lab } from "../../src/lab/mod.ts";
import { operationsOf, Scope, setScopeSignal } from "../../src/scope/mod.ts";
import { closeRunAfterwards, labTest, sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("sturdy");
closeRunAfterwards();

const ROUNDS = 20;

/** Longest of a few rounds of ordinary operations, in milliseconds. */
async function slowest(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  for (let i = 0; i < ROUNDS; i++) {
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

test("a blocked call, a stopped process and a full pipe hold up nobody else", async (vm, { t }) => {
  await vm.mknod("/tmp/gate2", 0o010600);
  await using worker = await vm.spawnWorker();
  const others = () =>
    slowest(async () => {
      await vm.stat("/tmp");
      await vm.syscall("getppid");
      await worker.syscall("getpid");
      await vm.readTextFile("/proc/uptime");
    });
  const quiet = await others();
  const soon = { timeout: 30, interval: 0.02 };
  // What is in the way must still be so afterwards: then nobody has waited for its end. Times are shown, and not judged.
  const shown = (what: string, ms: number) =>
    t.step(
      `${what}: four operations ${ms.toFixed(0)} ms at most, ${quiet.toFixed(0)} without`,
      () => {},
    );

  const blocked = worker.syscallAsync("open", cstr("/tmp/gate2"), 0);
  await vm.waitUntil(async () => await blocked.state() === "blocked", soon);
  const besidesBlocked = await others();
  assertEquals(await blocked.state(), "blocked");
  await shown("a blocked call", besidesBlocked);

  await using stopped = await vm.runAsync("kill -STOP $$; echo went on");
  await vm.waitUntil(async () => (await stopped.status()).stopped, soon);
  const besidesStopped = await others();
  assert((await stopped.status()).stopped);
  await shown("a stopped process", besidesStopped);

  await using full = await vm.runAsync("cat /dev/zero | { echo $$; exec sleep 300; }");
  await full.stdout.expect(/\d+/, 30);
  const writer = async () => {
    const cat = (await vm.processes()).find(({ command }) => command === "cat /dev/zero");
    return cat && await vm.readTextFile(`/proc/${cat.pid}/wchan`);
  };
  await vm.waitUntil(async () => (await writer())?.includes("pipe_write"), soon);
  const besidesFull = await others();
  assert((await writer())?.includes("pipe_write"));
  await shown("a full pipe", besidesFull);

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

labTest("an agent that dies is reported, and started again once by process 1", async ({ t }) => {
  const vm = await lab.vm("reborn", "tiny").boot();
  const sleeping = await vm.runAsync("sleep 300");
  const running = sleeping.wait().catch((error) => error);
  const blocked = vm.syscallAsync("pause").wait().catch((error) => error);
  // QEMU tells one change of the port per second, and the boot was one.
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const began = performance.now();
  const since = () => `${(performance.now() - began).toFixed(0)} ms`;
  const error = await vm.syscall("exit_group", 3).catch((error) => error);
  assert(error instanceof AgentLostError, String(error));
  assertEquals((await running).name, "JobLostError");
  assert(await blocked instanceof AgentLostError);
  // Whoever asks a dead agent is told so, and does not wait for its successor.
  const [told, first] = await Promise.all([since(), vm.stat("/").catch((error) => error)]);
  assert(!(first instanceof Error) || first instanceof AgentLostError, String(first));
  const answered = since();
  await vm.waitUntil(async () => (await vm.run("echo again")).stdout === "again\n", {
    retryErrors: true,
    timeout: 60,
    interval: 0.05,
  });
  assertEquals(vm.state, "booted");
  const text = `all that waited were told in ${told}, the next operation in ${answered}`;
  await t.step(`${text}, commands run again after ${since()}`, () => {});
});

labTest("a guest that powers off by itself ends as a shutdown, and says so", async () => {
  const vm = await lab.vm("tired", "tiny").boot();
  const sleeping = await vm.runAsync("sleep 300");
  const running = sleeping.wait().catch((error) => error);
  await vm.run("poweroff -f").catch(() => {});
  assertEquals((await running).name, "JobLostError");
  await vm.waitUntil(() => vm.state === "shutdown", { timeout: 30, interval: 0.02 });
  const error = await vm.stat("/").catch((error) => error);
  assert(error.message.includes("it is shutdown"), error.message);
});
