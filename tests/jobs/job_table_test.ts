import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import {
  createJobTable,
  JobLostError,
  JobNotFoundError,
  JobStateError,
  type JobTable,
  JobUnkillableError,
} from "../../src/jobs/mod.ts";
import { closeCurrentRun, groupMembers, procStat } from "../../src/host/mod.ts";
import { Scope, ScopeError } from "../../src/scope/mod.ts";
import { SignalError } from "../../src/values/mod.ts";

const encoder = new TextEncoder();

function table(options: Parameters<typeof createJobTable>[0] = {}): JobTable {
  return createJobTable({ persistOutputFiles: false, ...options });
}

/** A task that runs until it is cancelled. */
function forever(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  );
}

/** A child of this process that sleeps, outside of any table. */
function sleeper(): Deno.ChildProcess {
  return new Deno.Command("sleep", { args: ["300"], detached: true, stdin: "null" }).spawn();
}

Deno.test("jobs #9 JobTable answers for numbers that it does not know", async () => {
  await using jobs = table();
  assertEquals((await assertRejects(() => jobs.wait(999), JobNotFoundError)).id, 999);
  assertEquals((await assertRejects(() => jobs.kill(999), JobNotFoundError)).id, 999);
  assertEquals(jobs.get(999), undefined);
  assertEquals([jobs.exists(999), jobs.cancel(999)], [false, false]);
  assertEquals(jobs.jobPgids(999), []);
  assertEquals(jobs.readStdout(999), undefined);
});

Deno.test("jobs #43 JobTable tells of an end when both buffers are closed", async () => {
  await using jobs = table({ finishedRetention: 2000 });
  let ends = 0;
  using _listening = jobs.onChange((info, previous) => {
    if (info.state === "running") return assertEquals(previous, undefined);
    assertEquals([previous, info.stdout.closed, info.stderr.closed], ["running", true, true]);
    ends++;
  });
  for (let i = 0; i < 1000; i++) jobs.spawn(`task ${i}`, (_, io) => Promise.resolve(io.log("x")));
  await jobs.waitAll();
  assertEquals(ends, 1000);
});

Deno.test("a listener that throws is heard of, and changes nothing", async () => {
  await using jobs = table();
  const uncaught = Promise.withResolvers<ErrorEvent>();
  const heard = (event: ErrorEvent) => {
    event.preventDefault();
    uncaught.resolve(event);
  };
  globalThis.addEventListener("error", heard, { once: true });
  using _listening = jobs.onChange((info) => {
    if (info.state === "done") throw new Error("the listener's own");
  });
  assertEquals((await jobs.register("task", Promise.resolve(0)).wait()).status, "done:0");
  assertEquals((await uncaught.promise).error.message, "the listener's own");
});

Deno.test("jobs #51 JobTable tells a silent job from an unknown one", async () => {
  await using jobs = table();
  const job = jobs.register("silent", Promise.resolve(0));
  await job.wait();
  assertEquals(jobs.readStdout(job.id), new Uint8Array(0));
  assertEquals(jobs.readStdout(job.id + 1), undefined);
});

Deno.test("jobs #52 JobTable keeps the buffers of finished jobs within its budget", async () => {
  const MIB = 1024 * 1024;
  await using jobs = table({ bufferBudget: 16 * MIB });
  const chunk = new Uint8Array(MIB).fill(120);
  for (let i = 0; i < 100; i++) {
    const job = jobs.spawn(`writer ${i}`, async (_, io) => {
      const writer = io.stdout.getWriter();
      await writer.write(chunk);
    });
    await job.wait();
  }
  const sizes = jobs.list().map(({ stdout }) => stdout.currentSize);
  assert(sizes.reduce((sum, size) => sum + size) <= 16 * MIB);
  assertEquals(sizes.slice(-15), new Array(15).fill(MIB));
  assertEquals(jobs.list()[0]!.stdout.bytesEvicted, MIB);
  assertEquals((await jobs.wait(1)).truncated.stdout, MIB);
});

Deno.test("jobs #53 JobTable never uses a number again", async () => {
  await using jobs = table();
  const ids: number[] = [];
  for (let round = 0; round < 5; round++) {
    const task = jobs.register("task", Promise.resolve(0));
    const other = jobs.spawn("other", () => Promise.resolve(1));
    ids.push(task.id, other.id);
    await jobs.waitAll();
    await jobs.remove(task.id);
  }
  assertEquals(ids, Array.from({ length: 10 }, (_, i) => i + 1));
});

Deno.test("jobs #54 JobTable shows a job in the same tick", async () => {
  await using jobs = table();
  const job = jobs.spawn("task", forever);
  assertEquals([jobs.exists(job.id), jobs.get(job.id)?.status], [true, "running"]);
});

Deno.test("jobs #55 JobTable lists by number, whatever ended first", async () => {
  await using jobs = table();
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<number>());
  for (const gate of gates) jobs.register("task", gate.promise);
  jobs.setCancel(4, new AbortController());
  jobs.cancel(4);
  gates[2]!.reject(new Error("gone"));
  gates[3]!.reject(new Error("cancelled"));
  gates[1]!.resolve(5);
  gates[0]!.resolve(0);
  jobs.stopJob(5);
  const running = jobs.spawn("runs", forever);
  await jobs.waitAll({ timeout: 0.05 });
  assertEquals(jobs.list().map(({ id, state, status }) => [id, state, status]), [
    [1, "done", "done:0"],
    [2, "failed", "failed:5"],
    [3, "lost", "lost"],
    [4, "killed", "killed:130"],
    [5, "stopped", "stopped"],
    [running.id, "running", "running"],
  ]);
  assertEquals(jobs.list({ state: ["done", "lost"] }).map(({ id }) => id), [1, 3]);
  assertThrows(() => jobs.list({ state: "runing" as never }), TypeError, "runing");
  assertEquals([jobs.runningCount(), jobs.stoppedCount(), jobs.lastStopped()], [1, 1, 5]);
  gates[4]!.resolve(0);
  await jobs.wait(5, { timeout: 30 });
});

Deno.test("jobs #57 JobTable.waitAll() reports who is stopped or still runs", async () => {
  await using jobs = table();
  const gate = Promise.withResolvers<number>();
  const stopped = jobs.register("stopped", gate.promise);
  jobs.stopJob(stopped.id);
  const long = jobs.spawn("long", forever);
  const quick = jobs.register("quick", Promise.resolve(3));
  const started = performance.now();
  const { results, ...rest } = await jobs.waitAll({ timeout: 0.2 });
  assert(performance.now() - started >= 195);
  assertEquals(results.map(({ id, status }) => [id, status]), [[quick.id, "failed:3"]]);
  assertEquals(rest, { stopped: [stopped.id], pending: [long.id] });
  gate.resolve(0);
  await stopped.wait(30);
});

Deno.test("jobs #58 JobTable.waitAll() owes every result, also of jobs that it forgot", async () => {
  await using jobs = table({ finishedRetention: 100 });
  for (let i = 0; i < 150; i++) jobs.spawn(`task ${i}`, () => Promise.resolve(i));
  const { results } = await jobs.waitAll();
  assertEquals(results.length, 150);
  assertEquals(jobs.list().length, 100);
});

Deno.test("jobs #60 a task that is cancelled and rejects is killed:130", async () => {
  await using jobs = table();
  const job = jobs.spawn("task", forever);
  assertEquals([job.cancel(), job.cancel()], [true, false]);
  assertEquals((await job.wait()).status, "killed:130");
});

Deno.test("jobs #61 a registered job without controller cannot be cancelled", async () => {
  await using jobs = table();
  const gate = Promise.withResolvers<number>();
  const job = jobs.register("task", gate.promise);
  assertEquals(jobs.cancel(job.id), false);
  const error = await assertRejects(() => job.kill(), JobUnkillableError);
  assertEquals([error.id, error.survivors], [job.id, []]);
  gate.resolve(7);
  assertEquals((await job.wait()).status, "failed:7");
});

Deno.test("jobs #62 a registered promise that rejects is lost, with its error", async () => {
  await using jobs = table();
  const cause = new Error("the disk is gone");
  const job = jobs.register("task", Promise.reject(cause));
  const error = await assertRejects(() => job.wait(), JobLostError, "the disk is gone");
  assertEquals([error.cause, job.status, job.result()?.exitCode], [cause, "lost", -1]);
});

Deno.test("jobs #63 JobTable.addPgid() adds each group once", async () => {
  await using jobs = table();
  const child = sleeper();
  const exit = child.status;
  const job = jobs.registerProcess("adopted", { pid: child.pid, pgid: 9, exit });
  for (const pgid of [4242, 4243, 4242]) assert(jobs.addPgid(job.id, pgid));
  assertEquals(jobs.jobPgids(job.id), [4242, 4243, 9]);
  assertEquals(jobs.getProcessInfo(job.id), { pid: child.pid, pgid: 9 });
  child.kill("SIGKILL");
  assertEquals((await job.wait()).status, "failed:137");
});

Deno.test("an adopted process ends with its code if its parent tells, else it is lost", async () => {
  await using jobs = table();
  const child = sleeper();
  const job = jobs.registerProcess("sleep 300", {
    pid: child.pid,
    pgid: child.pid,
    exit: child.status,
  });
  assertEquals((await job.kill()).status, "killed:143");
  const other = sleeper();
  const foreign = jobs.registerProcess("sleep 300", { pid: other.pid, pgid: other.pid });
  assertEquals(await foreign.stop(), true);
  assertEquals(foreign.status, "stopped");
  assertEquals((await foreign.kill()).status, "lost");
  await other.status;
  await assertRejects(() => foreign.wait(), JobLostError, "only its parent knows");
});

Deno.test("killing an adopted process ends its whole group, whichever member ends first", async () => {
  await using jobs = table();
  const script = `sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done' & wait`;
  const child = new Deno.Command("sh", {
    args: ["-c", script],
    detached: true,
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const output = child.stdout.getReader();
  await output.read();
  const job = jobs.registerProcess(script, { pid: child.pid, pgid: child.pid });
  const killed = job.kill({ grace: 0.5 });
  await child.status;
  await assertRejects(() => job.wait(), JobLostError);
  assertEquals((await killed).status, "lost");
  assertEquals(await groupMembers(child.pid), []);
  assertEquals((await job.kill()).status, "lost");
  await output.cancel();
});

Deno.test("jobs #65 JobTable.remove() refuses what runs, unless it may kill", async () => {
  await using jobs = table();
  const child = sleeper();
  const { pid } = child;
  const job = jobs.registerProcess("sleep 300", { pid, pgid: pid, exit: child.status });
  const error = await assertRejects(() => jobs.remove(job.id), JobStateError);
  assertEquals([error.id, error.state], [job.id, "running"]);
  assertEquals(await jobs.remove(job.id, { kill: true }), true);
  assertEquals([jobs.exists(job.id), await procStat(pid)], [false, undefined]);
  assertEquals(await jobs.remove(job.id), false);
});

Deno.test("jobs #66 JobTable.cleanup() forgets what has ended", async () => {
  await using jobs = table();
  jobs.register("done", Promise.resolve(0));
  jobs.register("failed", Promise.resolve(1));
  jobs.spawn("running", forever);
  const gate = Promise.withResolvers<number>();
  jobs.register("stopped", gate.promise);
  jobs.stopJob(4);
  await jobs.waitAll({ timeout: 0.05 });
  assertEquals(jobs.cleanup().map(({ status }) => status), ["done:0", "failed:1"]);
  assertEquals(jobs.listIds(), [3, 4]);
  gate.resolve(0);
  await jobs.wait(4, { timeout: 30 });
});

Deno.test("jobs #67 JobTable remembers the newest finished jobs", async () => {
  await using jobs = table({ finishedRetention: 2 });
  const running = jobs.spawn("runs", forever);
  for (let i = 0; i < 4; i++) await jobs.register(`task ${i}`, Promise.resolve(0)).wait();
  assertEquals(jobs.listIds(), [running.id, 4, 5]);
});

Deno.test("jobs #68 JobTable.node() shows the table as files", async () => {
  await using jobs = table();
  const job = jobs.spawn("echo x", async (signal, io) => {
    io.log("x");
    return await forever(signal);
  });
  await job.stdout.waitFor("x");
  assertEquals(jobs.node(""), ["1"]);
  assertEquals(jobs.node("1"), ["status", "command", "stdout", "stderr"]);
  assertEquals(jobs.node("1/status"), encoder.encode("running\n"));
  assertEquals(jobs.node("1/stdout"), encoder.encode("x\n"));
  assertEquals([jobs.node("1/x"), jobs.node("9/status"), jobs.node("x")], [
    undefined,
    undefined,
    undefined,
  ]);
});

Deno.test("jobs #69 two tables have numbers of their own", async () => {
  await using one = table();
  await using two = table();
  assertEquals(one.register("a", Promise.resolve(0)).id, 1);
  assertEquals(two.register("b", Promise.resolve(0)).id, 1);
  assertNotEquals(one.sessionId, two.sessionId);
  await Promise.all([one.waitAll(), two.waitAll()]);
});

Deno.test("a task has no signals, only cancel", async () => {
  await using jobs = table();
  const job = jobs.spawn("task", forever);
  await assertRejects(() => job.signal("TERM"), SignalError, "in-process task; only cancel");
  await assertRejects(() => job.stop(), SignalError);
  assertEquals((await job.kill()).status, "killed:130");
});

Deno.test("a task that ignores its cancellation is unkillable", async () => {
  await using jobs = table();
  const gate = Promise.withResolvers<number>();
  const job = jobs.spawn("deaf", () => gate.promise);
  await assertRejects(() => job.kill({ grace: 0.01, killMargin: 0.01 }), JobUnkillableError);
  assertEquals(job.state, "running");
  gate.resolve(0);
  assertEquals((await job.wait()).status, "done:0");
});

Deno.test("JobTable.registerWithStreams() reads both streams to their end", async () => {
  await using jobs = table();
  const job = jobs.registerWithStreams(
    "external",
    Promise.resolve({ exitCode: 2 }),
    ReadableStream.from([encoder.encode("out")]),
    ReadableStream.from([encoder.encode("err")]),
  );
  const { status, stdout, stderr, outputComplete } = await job.wait();
  assertEquals([status, stdout, stderr, outputComplete], ["failed:2", "out", "err", true]);
  const held = jobs.registerWithStreams(
    "holds its pipe",
    Promise.resolve(0),
    new ReadableStream(),
    ReadableStream.from([]),
  );
  assertEquals((await held.wait()).outputComplete, false);
});

Deno.test("a result's own output counts if nothing was streamed", async () => {
  await using jobs = table();
  const job = jobs.register("task", Promise.resolve({ exitCode: 0, stdout: "late" }));
  assertEquals((await job.wait()).stdout, "late");
});

Deno.test("JobTable.waitAny() returns the first end, completions() all of them in order", async () => {
  await using jobs = table();
  const gates = Array.from({ length: 3 }, () => Promise.withResolvers<number>());
  for (const gate of gates) jobs.register("task", gate.promise);
  const any = jobs.waitAny();
  const order: number[] = [];
  const all = (async () => {
    for await (const { id } of jobs.completions()) order.push(id);
  })();
  gates[1]!.resolve(0);
  assertEquals((await any).id, 2);
  assertEquals((await jobs.waitAny([1, 3], { timeout: 0.01 })).running, true);
  gates[2]!.resolve(0);
  await jobs.wait(3);
  jobs.register("added later", Promise.resolve(0));
  gates[0]!.resolve(0);
  await all;
  assertEquals(order.sort(), [1, 2, 3, 4]);
});

Deno.test("JobTable.viewOf() shows the jobs of a scope and of those inside it", async () => {
  await using jobs = table();
  await using test = new Scope("test");
  await using step = new Scope("step", { parent: test, kind: "step" });
  const inTest = test.run(() => jobs.spawn("a", forever));
  const inStep = step.run(() => jobs.spawn("b", forever));
  jobs.spawn("c", forever, { keep: true });
  assertEquals(jobs.viewOf(test).listIds(), [inTest.id, inStep.id]);
  assertEquals(jobs.viewOf(step).listIds(), [inStep.id]);
  assertEquals(jobs.viewOf(step).get(inTest.id), undefined);
  assertEquals(jobs.list({ scope: "step" }).map(({ id }) => id), [inStep.id]);
});

Deno.test("a scope cancels the tasks that it started", async () => {
  await using jobs = table();
  const scope = new Scope("test");
  const job = scope.run(() => jobs.spawn("task", forever));
  const { closed, error } = await scope.close();
  assertEquals(error, undefined);
  assertEquals(closed.map(({ kind, leaked }) => [kind, leaked]), [["job", true]]);
  assertEquals(job.status, "killed:130");
});

Deno.test("a scope that has ended takes no task, and none is started", async () => {
  await using jobs = table();
  const scope = new Scope("test");
  await scope.close();
  let ran = false;
  const start = () =>
    scope.run(() => jobs.spawn("late", () => Promise.resolve(ran = true).then(() => 0)));
  assertThrows(start, ScopeError, "has ended");
  assertEquals([ran, jobs.listIds()], [false, []]);
});

Deno.test("JobTable.shutdown() ends everything at once and names what it cannot end", async () => {
  const jobs = table({ killGrace: 0.01 });
  jobs.spawn("task", forever);
  const gate = Promise.withResolvers<number>();
  const stuck = jobs.register("stuck", gate.promise, { keep: true });
  const report = await jobs.shutdown();
  assertEquals(report.results.map(({ status }) => status), ["killed:130"]);
  assertEquals(report.unkillable, [{ id: stuck.id, survivors: [] }]);
  gate.resolve(0);
  await stuck.wait();
});

Deno.test("info() is JSON without unset keys", async () => {
  await using jobs = table();
  const job = jobs.register("task", Promise.resolve(0), { name: "mine" });
  await job.wait();
  const json = JSON.parse(JSON.stringify(job.info()));
  assertEquals(Object.keys(json).sort(), [
    "command",
    "exitCode",
    "finishedAt",
    "id",
    "name",
    "origin",
    "pgids",
    "scope",
    "startedAt",
    "state",
    "status",
    "stderr",
    "stdout",
  ]);
  assert(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(json.startedAt));
  await closeCurrentRun();
});
