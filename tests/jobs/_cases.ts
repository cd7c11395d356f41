/** Cases of jobs.md section 3 that hold wherever a process runs: on this host and in a guest. */
import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  type BackgroundOptions,
  type Job,
  JobFailedError,
  JobNotFoundError,
  jobs,
  JobSpawnError,
  JobStoppedError,
  waitUntil,
} from "../../src/jobs/mod.ts";
import { type Scope, ScopeError } from "../../src/scope/mod.ts";
import { SignalError } from "../../src/values/mod.ts";

/** Where the processes of a case run. */
export interface Place extends AsyncDisposable {
  background(command: string | string[], options?: BackgroundOptions): Promise<Job>;
  /** Whether a process lives; zombies do not. */
  alive(pid: number): Promise<boolean>;
  /** A folder there that this case may use. */
  readonly tmp: string;
  exists(path: string): Promise<boolean>;
  /** The scope in which jobs are started. */
  readonly scope: Scope;
}

/** Registers a test per case. Without `sanitize` the leak checks are off, for places that outlive a case. */
export function jobCases(place: string, open: () => Promise<Place>, sanitize = true): void {
  const test = (name: string, body: (place: Place) => Promise<void>) =>
    Deno.test({
      name: /^jobs #\d+/.test(name)
        ? name.replace(/^jobs #\d+/, (id) => `${id} on the ${place}:`)
        : `jobs on the ${place}: ${name}`,
      sanitizeOps: sanitize,
      sanitizeResources: sanitize,
      fn: async () => {
        await using at = await open();
        await body(at);
      },
    });

  test("jobs #1 a poll sees a running job, a wait its result", async ({ background, alive }) => {
    const job = await background("sleep 1; echo hi; exit 3");
    assert(job.pid! > 0 && await alive(job.pid!));
    const first = await jobs.wait(job.id, { timeout: 0 });
    assertEquals([first.running, first.exitCode, first.stdout], [true, -1, ""]);
    const second = await jobs.wait(job.id, { timeout: 30 });
    assertEquals(
      [second.running, second.exitCode, second.status, second.stdout],
      [false, 3, "failed:3", "hi\n"],
    );
  });

  test("jobs #2 a wait that is over leaves the job running", async ({ background, alive }) => {
    const job = await background("sleep 30");
    const started = performance.now();
    const result = await job.wait(1);
    assert(performance.now() - started >= 995);
    assertEquals([result.running, result.exitCode, result.status], [true, -1, "running"]);
    assert(await alive(job.pid!));
    const error = assertThrows(() => result.assertOk(), JobFailedError);
    assertStringIncludes(error.message, "is still running after 1");
  });

  test("jobs #3 a thousand polls are immediate", async ({ background }) => {
    const job = await background("sleep 30");
    const started = performance.now();
    for (let i = 0; i < 1000; i++) {
      const result = await (i % 2 ? job.wait(0) : jobs.wait(job.id, { timeout: 0 }));
      assertEquals(result.running, true);
    }
    assert(performance.now() - started < 5_000);
  });

  test("jobs #4 output is kept between waits", async ({ background }) => {
    const job = await background("echo a; sleep 3; echo b");
    await job.stdout.waitFor("a\n");
    assertEquals((await job.wait(1)).stdout, "a\n");
    assertEquals((await job.wait(30)).stdout, "a\nb\n");
  });

  test("jobs #5 a result can be had again and again", async ({ background }) => {
    const job = await background("echo x; exit 4");
    const first = await job.wait(30);
    assertEquals(await job.wait(30), first);
    assertEquals(job.result(), first);
  });

  test("jobs #6 kill() ends a job by SIGTERM", async ({ background, alive }) => {
    const job = await background("sleep 300");
    const killed = await jobs.kill(job.id);
    assertEquals([killed.exitCode, killed.signal, killed.status], [143, "SIGTERM", "killed:143"]);
    assertEquals(await job.wait(0), killed);
    assert(!await alive(job.pid!));
  });

  test("jobs #7 killing what has ended returns its result", async ({ background }) => {
    const job = await background("true");
    const result = await job.wait(30);
    assertEquals(result.status, "done:0");
    assertEquals(await job.kill(), result);
  });

  test("jobs #10 a kill reaches the children of the shell", async ({ background, tmp, exists }) => {
    const job = await background(`sleep 2 && echo done > ${tmp}/marker`);
    await job.kill();
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    assert(!await exists(`${tmp}/marker`));
  });

  test("jobs #11 a program that cannot be started is told at once", async ({ background }) => {
    const before = jobs.listIds();
    const missing = await assertRejects(() => background(["/nope"]), JobSpawnError);
    assertEquals([missing.reason, missing.command], ["notFound", "/nope"]);
    const folder = await assertRejects(() => background("true", { cwd: "/nope" }), JobSpawnError);
    assertEquals(folder.reason, "cwd");
    const denied = await assertRejects(() => background(["/proc/version"]), JobSpawnError);
    assertEquals(denied.reason, "permission");
    const merged = () => background(["no-such-program"], { mergeStderr: true });
    assertEquals((await assertRejects(merged, JobSpawnError)).reason, "notFound");
    assertEquals(jobs.listIds(), before);
    assertEquals((await (await background("/nope")).wait(30)).status, "failed:127");
  });

  test("jobs #12 waiters share the result, and abort alone", async ({ background }) => {
    const job = await background("sleep 1; exit 6");
    const controllers = Array.from({ length: 5 }, () => new AbortController());
    const aborted = controllers.map(({ signal }) => assertRejects(() => job.wait(30, { signal })));
    const waits = Promise.all(Array.from({ length: 15 }, () => job.wait(30)));
    controllers.forEach((controller, i) => controller.abort(new Error(`reason ${i}`)));
    const reasons = (await Promise.all(aborted)).map((error) => (error as Error).message);
    assertEquals(reasons, controllers.map((_, i) => `reason ${i}`));
    const results = await waits;
    for (const result of results) assertEquals(result, results[0]);
    assertEquals(results[0]!.status, "failed:6");
  });

  test("jobs #13 a wait after an abandoned one gets the real result", async ({ background }) => {
    const job = await background("sleep 0.5; exit 9");
    assertEquals((await job.wait(0.05)).running, true);
    assertEquals((await job.wait(30)).exitCode, 9);
  });

  test("jobs #14 timeLimit ends a job", async ({ background }) => {
    const started = performance.now();
    const result = await (await background("sleep 60", { timeLimit: 1 })).wait(30);
    assert(performance.now() - started >= 995);
    assertEquals(result.status, "killed:143");
  });

  test("jobs #15 what ignores SIGTERM is killed after the grace", async ({ background }) => {
    const job = await background("trap '' TERM; echo up; while :; do sleep 0.1; done");
    await job.stdout.waitFor("up");
    const started = performance.now();
    const result = await job.kill();
    assert(performance.now() - started >= 1_995);
    assertEquals([result.exitCode, result.signal, result.status], [137, "SIGKILL", "killed:137"]);
  });

  test("jobs #16 output of a handler is kept, and its code counts", async ({ background }) => {
    const job = await background(
      "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done",
    );
    await job.stdout.waitFor("up");
    const result = await job.kill();
    assertEquals([result.status, result.stdout], ["done:0", "up\nbye\n"]);
  });

  test("jobs #17 a handler that fails leaves killed with its code", async ({ background }) => {
    const job = await background("trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done");
    await job.stdout.waitFor("up");
    assertEquals((await job.kill()).status, "killed:3");
  });

  test("jobs #19 who leaves the session is a survivor and ends with the scope", async (place) => {
    const job = await place.background("setsid sleep 300 >/dev/null 2>&1 & sleep 0.3; exit 0");
    const result = await job.wait(30);
    assertEquals([result.status, result.survivors.length], ["done:0", 1]);
    const { pid } = result.survivors[0]!;
    assert(await place.alive(pid));
    await place.scope.close();
    assert(!await place.alive(pid));
  });

  test("jobs #20 a child that holds the pipe does not hold the result", async ({ background }) => {
    const job = await background("sleep 300 & echo hi; exit 7");
    const result = await job.wait(30);
    assertEquals(
      [result.exitCode, result.stdout, result.outputComplete, result.survivors.length],
      [7, "hi\n", false, 1],
    );
    await job.kill();
  });

  test("jobs #21 grace 0 kills at once", async ({ background }) => {
    const job = await background(
      "trap 'echo handler; exit 0' TERM; echo up; while :; do sleep 0.1; done",
    );
    await job.stdout.waitFor("up");
    const result = await job.kill({ grace: 0 });
    assertEquals([result.status, result.stdout], ["killed:137", "up\n"]);
  });

  test("jobs #23 a stopped job is continued to take its signal", async ({ background }) => {
    const job = await background("sleep 300");
    assertEquals([await job.stop(), job.status], [true, "stopped"]);
    const result = await job.kill();
    assertEquals(result.status, "killed:143");
    assert(jobs.exists(job.id));
  });

  test("jobs #25 stops by others are noticed", async ({ background }) => {
    const job = await background("sleep 300");
    const state = async (expected: string) =>
      await waitUntil(async () => (await job.poll()).status === expected, { interval: 0.05 });
    await (await background(`kill -STOP ${job.pid}`)).wait(30);
    await state("stopped");
    await (await background(`kill -CONT ${job.pid}`)).wait(30);
    await state("running");
  });

  test("jobs #26 what has ended is neither stopped nor resumed", async ({ background }) => {
    const job = await background("exit 2");
    await job.wait(30);
    assertEquals([await job.stop(), await job.resume(), job.status], [false, false, "failed:2"]);
  });

  test("jobs #28 an unlimited wait refuses a stopped job", async ({ background }) => {
    const job = await background("sleep 300");
    const waiting = assertRejects(() => job.wait(), JobStoppedError);
    await job.stop();
    assertEquals((await waiting).id, job.id);
    await assertRejects(() => job.wait(), JobStoppedError);
    const result = await job.wait(0.2);
    assertEquals([result.running, result.status], [true, "stopped"]);
    const through = job.wait(undefined, { throughStop: true });
    assert(await job.resume());
    await job.kill();
    assertEquals((await through).status, "killed:143");
  });

  test("jobs #30 a signal that others sent is a failure", async ({ background }) => {
    const result = await (await background("kill -TERM $$")).wait(30);
    assertEquals([result.status, result.signal], ["failed:143", "SIGTERM"]);
  });

  test("jobs #31 killAll() ends ten stubborn jobs at the same time", async ({ background, scope }) => {
    const stubborn = await Promise.all(Array.from({ length: 10 }, async () => {
      const job = await background("trap '' TERM; echo up; while :; do sleep 0.2; done");
      await job.stdout.waitFor("up", { timeout: 60 });
      return job;
    }));
    const started = performance.now();
    assertEquals((await jobs.viewOf(scope).killAll()).length, 10);
    assert(performance.now() - started < 18_000, "one after the other they take over 20 s");
    assertEquals(new Set(stubborn.map(({ status }) => status)), new Set(["killed:137"]));
  });

  test("jobs #32 signal() reaches a handler", async ({ background }) => {
    const job = await background("trap 'echo usr' USR1; echo up; while :; do sleep 0.1; done");
    await job.stdout.waitFor("up");
    assertEquals(await job.signal("USR1", { target: "leader" }), true);
    await job.stdout.waitFor("usr\n");
    assertEquals(job.status, "running");
    await job.kill();
    assertEquals(await job.signal("USR1"), false);
  });

  test("jobs #33 signals have names and numbers, and nothing else", async ({ background }) => {
    for (const signal of ["term", "SIGTERM", 15]) {
      const job = await background("sleep 300");
      assertEquals((await job.kill(signal)).status, "killed:143");
    }
    const job = await background("sleep 300");
    const unknown = await assertRejects(() => job.kill("BOGUS"), SignalError, "BOGUS");
    assert(unknown instanceof TypeError);
    await assertRejects(() => job.kill({} as never), SignalError, "object");
    await assertRejects(() => job.signal(0), SignalError, "0");
    assertEquals(job.status, "running");
  });

  test("jobs #38 every byte value arrives", async ({ background }) => {
    const escapes = Array.from({ length: 256 }, (_, i) => `\\${i.toString(8).padStart(3, "0")}`);
    const result = await (await background(["printf", escapes.join("")])).wait(30);
    assertEquals([...result.stdoutBytes], Array.from({ length: 256 }, (_, i) => i));
    assertEquals(typeof result.stdout, "string");
  });

  test("jobs #41 late output counts within the drain grace only", async ({ background }) => {
    const soon = await background("(sleep 0.2; echo late) & exit 0", { drainGrace: 30 });
    assertEquals((await soon.wait(30)).stdout, "late\n");
    const later = await background("(sleep 3; echo late) & exit 0");
    const result = await later.wait(30);
    assertEquals([result.stdout, result.outputComplete, result.survivors.length > 0], [
      "",
      false,
      true,
    ]);
    await later.kill();
  });

  test("jobs #50 the end of output is not the end of the job", async ({ background }) => {
    const job = await background("exec >&- 2>&-; sleep 1; exit 3");
    await job.stdout.changedSince(0);
    assertEquals([job.stdout.stats().closed, job.state], [true, "running"]);
    assertEquals((await job.wait(30)).status, "failed:3");
  });

  test("jobs #54 a job is in the table in the same tick", async ({ background }) => {
    const job = await background("sleep 300");
    assert(jobs.exists(job.id));
    assertEquals(jobs.get(job.id)!.status, "running");
    assertEquals(jobs.getProcessInfo(job.id), { pid: job.pid!, pgid: job.pgids[0]! });
  });

  test("jobs #59 a parked wait holds nobody up", async ({ background }) => {
    const job = await background("sleep 300");
    const parked = job.wait(60);
    const started = performance.now();
    jobs.list();
    jobs.get(job.id);
    jobs.cancel(999_999);
    assert(performance.now() - started < 2_000);
    await jobs.kill(job.id);
    assertEquals((await parked).status, "killed:143");
  });

  test("standard input is fed from text, bytes, a stream and by hand", async ({ background }) => {
    const encoder = new TextEncoder();
    const sources = [
      "text",
      encoder.encode("text"),
      ReadableStream.from([encoder.encode("te"), encoder.encode("xt")]),
    ];
    for (const stdin of sources) {
      assertEquals((await (await background("cat", { stdin })).wait(30)).stdout, "text");
    }
    const piped = await background("cat", { stdin: "piped" });
    const writer = piped.stdin!.getWriter();
    await writer.write(encoder.encode("by hand"));
    assertEquals(piped.state, "running");
    await piped.stdout.waitFor("by hand");
    await writer.close();
    assertEquals((await piped.wait(30)).stdout, "by hand");
    assertEquals((await (await background("cat")).wait(30)).stdout, "");
  });

  test("a source of input that goes on is cancelled when the process ends", async ({ background }) => {
    const cancelled = Promise.withResolvers<void>();
    const stdin = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(1000)),
      cancel: () => cancelled.resolve(),
    });
    assertEquals(
      (await (await background("head -c 5000 >/dev/null", { stdin })).wait(30)).ok,
      true,
    );
    await cancelled.promise;
  });

  test("environment, folder and merged outputs are as asked for", async ({ background, tmp }) => {
    const command = "echo $A; pwd; echo err >&2; echo out";
    const options = { env: { A: "b c" }, cwd: tmp, mergeStderr: true };
    const result = await (await background(command, options)).wait(30);
    assertEquals([result.stdout, result.stderr], [`b c\n${tmp}\nerr\nout\n`, ""]);
    const bare = await background(["/bin/sh", "-c", "env"], { env: { A: "1" }, clearEnv: true });
    const lines = (await bare.wait(30)).stdout.split("\n");
    assert(lines.includes("A=1") && !lines.some((line) => line.startsWith("HOME=")));
  });

  test("an aborted signal kills the job", async ({ background }) => {
    const controller = new AbortController();
    const job = await background("sleep 300", { signal: controller.signal });
    controller.abort();
    assertEquals((await job.wait(30)).status, "killed:143");
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    assertEquals(await assertRejects(() => background("true", { signal })), reason);
  });

  test("the end of a scope ends its jobs, and keeps what was kept", async (place) => {
    const job = await place.background("sleep 300");
    const kept = await place.background("sleep 300", { keep: true });
    await place.scope.close();
    assertEquals(job.status, "killed:143");
    assertNotEquals(kept.status, "killed:143");
    await kept.kill();
  });

  test("what starts when its scope has begun to close is ended at once", async (place) => {
    const starting = assertRejects(() => place.background("sleep 300"), ScopeError, "has ended");
    await place.scope.close();
    await starting;
    assertEquals(jobs.viewOf(place.scope).list({ state: "running" }), []);
  });

  test("unknown options of wait() and kill() are named", async ({ background }) => {
    const job = await background("sleep 300");
    await assertRejects(() => job.wait(1, { killl: true } as never), TypeError, '"kill"');
    await assertRejects(() => job.kill({ grace: 1, sig: 9 } as never), TypeError, '"signal"');
    await assertRejects(() => job.wait("10"), RangeError, '"10"');
    await assertRejects(() => jobs.wait(999_999), JobNotFoundError);
  });

  test("a log file takes everything that the ring gives up", async ({ background }) => {
    const path = await Deno.makeTempFile();
    const options = { logFile: path, buffer: { stdout: 1000 } };
    const result = await (await background("seq 1 20000", options)).wait(60);
    assertEquals([result.stdoutBytes.length, result.status], [1000, "done:0"]);
    const whole = await Deno.readTextFile(path);
    assertEquals(whole.length - 1000, result.truncated.stdout);
    assert(whole.startsWith("1\n2\n3\n") && whole.endsWith("19999\n20000\n"));
    await Deno.remove(path);
  });
}
