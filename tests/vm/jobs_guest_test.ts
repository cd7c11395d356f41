import { assert, assertEquals, assertRejects } from "@std/assert";
import { closeCurrentRun } from "../../src/host/mod.ts";
import { JobLostError, jobs } from "../../src/jobs/mod.ts";
import { lab, type Vm } from "../../src/lab/mod.ts";
import { Scope } from "../../src/scope/mod.ts";
import { jobCases, type Place } from "../jobs/_cases.ts";

const file = new Scope("jobs in a guest", { kind: "file" });
let booted: Promise<Vm> | undefined;
let cases = 0;

Deno.test.afterAll(async () => {
  await file[Symbol.asyncDispose]();
  await closeCurrentRun();
});

async function machine(): Promise<Vm> {
  return await (booted ??= file.run(() => lab.vm("jobs", "tiny").boot()));
}

async function openMachine(): Promise<Place> {
  const vm = await machine();
  const scope = new Scope("case");
  const tmp = `/tmp/case${++cases}`;
  await vm.mkdir(tmp);
  return {
    tmp,
    background: (command, options) => scope.run(() => vm.background(command, options)),
    alive: async (pid) =>
      (await vm.processes()).some((one) => one.pid === pid && !["Z", "X"].includes(one.state)),
    exists: (path) => vm.stat(path).then(() => true, () => false),
    scope,
    async [Symbol.asyncDispose]() {
      await scope[Symbol.asyncDispose]();
      await vm.remove(tmp, { recursive: true });
    },
  };
}

jobCases("machine", openMachine, false);

function test(name: string, fn: (vm: Vm) => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: false, // The machine lives as long as the file.
    sanitizeResources: false,
    fn: async () => {
      const vm = await machine();
      await using scope = new Scope(name);
      await scope.run(() => fn(vm));
    },
  });
}

test("jobs #34 waits on a machine that is killed are told so", async () => {
  const vm = await lab.vm("doomed", "tiny").boot();
  const long = await Promise.all([1, 2, 3].map(() => vm.background("sleep 300")));
  const waits = long.map((job) => assertRejects(() => job.wait(), JobLostError));
  await vm.kill();
  await Promise.all(waits);
  assertEquals(long.map(({ status }) => status), ["lost", "lost", "lost"]);
  await Promise.all(long.map((job) => job[Symbol.asyncDispose]()));
});

test("jobs #35 short jobs that fork twice leave no zombie behind", async (vm) => {
  for (let round = 0; round < 10; round++) {
    const batch = await Promise.all(
      Array.from({ length: 50 }, () => vm.background("(sh -c 'exit 0' &) ; exit 0")),
    );
    for (const job of batch) assertEquals((await job.wait(120)).status, "done:0");
  }
  await vm.waitUntil(
    async () => (await vm.processes()).every(({ state }) => state !== "Z"),
    { timeout: 30, desc: "the last zombie" },
  );
});

test("jobs #19 a daemon in a session of its own has its job's cgroup", async (vm) => {
  const scope = new Scope("inner");
  const job = await scope.run(() =>
    vm.background("setsid sh -c 'echo $$ > /tmp/daemon; exec sleep 301' >/dev/null 2>&1 & exit 0")
  );
  await vm.waitUntil(() => vm.stat("/tmp/daemon").then(({ size }) => size > 0), {
    retryErrors: true,
    interval: 0.05,
  });
  const pid = Number(await vm.readTextFile("/tmp/daemon"));
  assertEquals((await job.wait(30)).status, "done:0");
  assert((await vm.processes()).some((one) => one.pid === pid));
  await scope[Symbol.asyncDispose]();
  assert(!(await vm.processes()).some((one) => one.pid === pid && one.state !== "Z"));
});

test("jobs #39 in a machine: much output needs little memory", async (vm) => {
  const other = await vm.background("exec sleep 3600");
  const before = Deno.memoryUsage().rss;
  let peak = before;
  const watch = setInterval(() => peak = Math.max(peak, Deno.memoryUsage().rss), 20);
  const job = await vm.background("head -c 268435456 /dev/zero");
  let slowest = 0;
  while (job.state === "running") {
    const started = performance.now();
    assertEquals((await other.wait(0)).running, true);
    slowest = Math.max(slowest, performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  clearInterval(watch);
  assertEquals((await job.wait(60)).status, "done:0");
  assertEquals(job.stdout.stats().totalWritten, 268_435_456);
  assert(slowest < 5_000, `a poll took ${slowest} ms`);
  assert(peak - before < 64 * 1024 * 1024, `RSS grew by ${peak - before}`);
});

test("the table has jobs of guest, host and tasks under one sequence", async (vm) => {
  const guest = await vm.background("sleep 300");
  const task = jobs.spawn(
    "task",
    (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  );
  const next = await vm.background("exit 3");
  assert(guest.id < task.id && task.id < next.id);
  assertEquals(vm.jobs.exists(guest.id), true);
  assertEquals(vm.jobs.exists(task.id), false);
  assertEquals((await jobs.wait(next.id, { timeout: 30 })).exitCode, 3);
  assertEquals((await jobs.kill(guest.id)).status, "killed:143");
  assertEquals((await jobs.kill(task.id)).status, "killed:130");
});
