/** The end of a test's time ends what waits in it, on jobs that live on. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { closeCurrentRun } from "../../src/host/mod.ts";
import {
  background,
  createJobTable,
  probe,
  service,
  services,
  waitUntil,
} from "../../src/jobs/mod.ts";
import { currentSignal, Scope, setScopeSignal } from "../../src/scope/mod.ts";

/** The run's guard is started by the first process, and ends with the run. */
const closingRun = (): AsyncDisposable => ({ [Symbol.asyncDispose]: closeCurrentRun });

Deno.test("the end of a test's time ends its waits, and what it waits for lives on", async () => {
  await using _run = closingRun();
  await using file = new Scope("file", { kind: "file" });
  const job = await file.run(() => background("echo up; exec sleep 300"));
  await using table = createJobTable({ persistOutputFiles: false });
  const work = Promise.withResolvers<number>();
  const task = table.register("task", work.promise);
  const test = new Scope("test", { kind: "test", parent: file });
  const limit = new AbortController();
  setScopeSignal(test, limit.signal);
  const reason = new Error("the time is over");
  const never = { name: "never", command: "exec sleep 300", ready: probe.log("never") };
  const errors = await test.run(async () => {
    assertEquals(currentSignal(), limit.signal);
    const completions = async () => {
      for await (const _result of table.completions());
    };
    const waits = [
      waitUntil(() => false, { timeout: 300 }),
      waitUntil(() => new Promise(() => {}), {
        timeout: 300,
        signal: new AbortController().signal,
      }),
      job.wait(),
      job.wait(300, { signal: new AbortController().signal }),
      job.stdout.waitFor("never", { timeout: 300 }),
      table.wait(task.id),
      table.waitAll(),
      table.waitAny(),
      completions(),
      service(never),
      services([{ ...never, name: "other" }]),
    ].map((wait) => wait.then(() => undefined, (error: unknown) => error));
    await job.stdout.waitFor("up");
    limit.abort(reason);
    return await Promise.all(waits);
  });
  for (const error of errors) assertEquals(error, reason);
  await test.close();
  assertEquals([job.state, task.state], ["running", "running"]);
  work.resolve(0);
  await task.wait();
  assertEquals((await job.kill()).status, "killed:143");
});

Deno.test("a service goes on, and can be stopped, after the time of the test that restarted it", async () => {
  await using _run = closingRun();
  await using file = new Scope("file", { kind: "file" });
  const checks: number[] = [];
  const web = await file.run(() =>
    service({
      name: "web",
      command: "echo up; exec sleep 300",
      ready: probe.log("up"),
      healthy: probe.fn("it is looked at", () => checks.push(1), { interval: 0.02 }),
      stop: { command: ["true"], grace: 0.1 },
    })
  );
  const test = new Scope("test", { kind: "test", parent: file });
  const limit = new AbortController();
  setScopeSignal(test, limit.signal);
  await test.run(async () => {
    await web.restart();
    limit.abort(new Error("the time is over"));
    await assertRejects(() => web.restart(), Error, "the time is over");
  });
  assertEquals(web.state, "failed");
  await file.run(() => web.restart());
  await test.close();
  const before = checks.length;
  await waitUntil(() => checks.length > before, { interval: 0.01 });
  assert(web.signal.aborted === false);
  assertEquals((await web.stop()).service, "web");
});
