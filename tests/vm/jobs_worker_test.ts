/** Section H of the cases of jobs: workers. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { BelljarError } from "../../src/errors.ts";
import type { Job } from "../../src/jobs/mod.ts";
import { SignalError } from "../../src/values/mod.ts";
import { inScope, sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("worker-jobs");

test("jobs #113 spawnWorker({ thread }) takes false alone, and points to what to use instead", async (vm) => {
  const error = await assertRejects(() => vm.spawnWorker({ thread: true as never }));
  assert(error instanceof TypeError || error instanceof BelljarError);
  assert(/syscallAsync/.test((error as Error).message), (error as Error).message);
  assert((await vm.spawnWorker({ thread: false })).pid > 0);
  assert((await vm.spawnWorker()).pid > 0);
});

test("jobs #114 runAsync() refuses a timeout and points to wait", async (vm) => {
  const worker = await vm.spawnWorker();
  await assertRejects(() => worker.runAsync("true", { timeout: 5 } as never), TypeError, "wait");
});

test("jobs #115 kill() reaches every live child of its worker alone", async (vm) => {
  const worker = await vm.spawnWorker();
  const other = await vm.spawnWorker();
  const bystander = await other.runAsync("sleep 300");
  const rows: [() => Promise<number>, number][] = [
    [() => worker.kill(), 143],
    [() => worker.kill(9), 137],
    [() => worker.kill("INT"), 130],
  ];
  for (const [kill, code] of rows) {
    const children = [
      await worker.runAsync("sleep", { args: ["300"] }),
      await worker.runAsync("sleep", { args: ["301"] }),
    ];
    assertEquals(await kill(), 2);
    const results = await Promise.all(children.map((child) => child.wait()));
    assertEquals(results.map(({ exitCode }) => exitCode), [code, code]);
  }
  await assertRejects(() => worker.kill({} as never), SignalError, "object");
  assert((await bystander.status()).running);
});

test("jobs #116 two writers of 8 MiB, then close twice", async (vm) => {
  const workers = [await vm.spawnWorker(), await vm.spawnWorker()];
  const writers = await Promise.all(
    workers.map((worker, i) =>
      worker.runAsync("dd", { args: ["if=/dev/zero", `of=/tmp/w${i}`, "bs=1M", "count=8"] })
    ),
  );
  for (const writer of writers) (await writer.wait("60s")).assertOk();
  for (const i of [0, 1]) assertEquals((await vm.stat(`/tmp/w${i}`)).size, 8_388_608);
  for (const worker of workers) {
    await worker.close();
    await worker.close();
  }
});

test("jobs #117 a child and a file left open at scope end are ended, and both are named", async (vm) => {
  let job: Job | undefined;
  const report = await inScope("leaves things open", async () => {
    const worker = await vm.spawnWorker();
    await worker.openFile("/etc/hosts");
    job = (await worker.runAsync("sleep 300")).job;
  });
  assertEquals(report.failures, []);
  const forgotten = report.closed.filter(({ leaked }) => leaked).map(({ kind }) => kind);
  assertEquals(forgotten, ["process", "file"]);
  assertEquals((await job!.wait()).status, "killed:143");
  assertEquals((await vm.run(`test -d /proc/${job!.pid}`)).exitCode, 1);
});
