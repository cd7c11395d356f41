import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { JobFailedError, JobSpawnError } from "../../src/jobs/mod.ts";
import { SignalError } from "../../src/values/mod.ts";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("processes");

test("run() gives exit code, output and errors, and does not reject for a failure", async (vm) => {
  const result = await vm.run("echo out; echo err >&2; exit 3");
  assertEquals(
    [result.exitCode, result.stdout, result.stderr, result.status, result.timedOut, result.ok],
    [3, "out\n", "err\n", "failed:3", false, false],
  );
  const error = await assertRejects(
    () => vm.run("echo bad >&2; false", { check: true }),
    JobFailedError,
  );
  assert(error.message.includes("failed:1"), error.message);
});

test("run() with args calls the program itself", async (vm) => {
  const result = await vm.run("printf", { args: ["%s|", "a b", "$HOME", ""] });
  assertEquals(result.stdout, "a b|$HOME||");
  const error = await assertRejects(() => vm.run("/no/such/program", { args: [] }), JobSpawnError);
  assertEquals(error.reason, "notFound");
  assertEquals((await vm.run("/no/such/program")).exitCode, 127);
});

test("run() passes env, cwd, stdin, user and limits", async (vm) => {
  assertEquals((await vm.run('echo "$A-$B"', { env: { A: "1", B: "x y" } })).stdout, "1-x y\n");
  const cleared = await vm.run("/bin/busybox", {
    args: ["env"],
    env: { ONLY: "1" },
    clearEnv: true,
  });
  assert(!cleared.stdout.includes("PATH="), cleared.stdout);
  assert(cleared.stdout.includes("ONLY=1"), cleared.stdout);
  assertEquals((await vm.run("pwd", { cwd: "/proc" })).stdout, "/proc\n");
  assertEquals((await vm.run("cat", { stdin: "typed" })).stdout, "typed");
  assertEquals((await vm.run("cat")).stdout, "");
  const bytes = new Uint8Array([0, 255, 10, 13]);
  assertEquals((await vm.run("cat", { stdin: bytes })).stdoutBytes, bytes);
  assertEquals((await vm.run("id -u", { user: 1234 })).stdout, "1234\n");
  assertEquals((await vm.run("ulimit -n", { limits: { nofile: 77 } })).stdout, "77\n");
});

test("run() ends a group that takes too long, and says so", async (vm) => {
  const result = await vm.run("echo begun; sleep 300 & sleep 300", { timeout: "1s" });
  assertEquals([result.timedOut, result.status, result.stdout], [true, "killed:143", "begun\n"]);
  const left = (await vm.processes()).filter(({ command }) => command.includes("sleep 300"));
  assertEquals(left.filter(({ state }) => state !== "Z"), []);
});

test("run() is not held up by a daemon that keeps the pipes open", async (vm, { t }) => {
  const began = performance.now();
  const result = await vm.run("sleep 77 & echo started");
  assertEquals([result.stdout, result.outputComplete], ["started\n", false]);
  assertEquals(result.survivors.length, 1);
  assert(performance.now() - began < 60_000);
  await t.step("which lives until the scope of its caller ends", async () => {
    assert((await vm.processes()).some(({ command }) => command === "sleep 77"));
  });
});

test("run() in a terminal sees one of the size that was asked for", async (vm) => {
  const result = await vm.run("test -t 0 && test -t 1 && stty size", {
    pty: { cols: 111, rows: 22 },
  });
  assertEquals(result.stdout.trim(), "22 111");
});

test("json() reads the output, and says what it is when it is no JSON", async (vm) => {
  assertEquals(await vm.json<{ a: number }>(`echo '{"a": 1}'`), { a: 1 });
  await assertRejects(() => vm.json("echo nonsense"), SyntaxError, '"nonsense\\n"');
});

test("run() and runAsync() refuse wrong options by name", async (vm, { t }) => {
  const rows: [() => Promise<unknown>, string][] = [
    [() => vm.run("x", { timout: 3 } as object), 'did you mean "timeout"'],
    [() => vm.run("x", { timeout: "10 s" }), "10 s"],
    [() => vm.run("x", { args: "a" } as object), "must be an array of strings"],
    [() => vm.run("x", { env: { A: 1 } } as object), "an object whose values are strings"],
    [() => vm.run("x", { user: {} } as object), "a user's name or number"],
    [() => vm.run("x", { pty: { cols: 0, rows: 5 } }), "must be true or { cols, rows }"],
    [() => vm.run("x", { limits: { files: 5 } } as object), 'no resource "files"'],
    [() => vm.run(["a"] as unknown as string), "pass the program first"],
    [() => vm.run(""), "must not be empty"],
    [() => vm.runAsync("x", { timeout: 5 } as object), "proc.wait(timeout)"],
    [() => vm.runAsync("x", { check: true } as object), 'Unknown option "check"'],
  ];
  for (const [call, message] of rows) {
    await t.step(message, async () => {
      const error = await call().then(() => undefined, (error) => error);
      assert(error instanceof TypeError || error instanceof RangeError, String(error));
      assert(error.message.includes(message), error.message);
    });
  }
});

test("6: waits that are too short neither kill nor reject, and the result stays", async (vm) => {
  await using proc = await vm.runAsync("sleep 2; echo x");
  assertEquals(await proc.status(), { running: true, stopped: false });
  const early = await proc.wait("200ms");
  assertEquals([early.running, early.exitCode, early.stdout], [true, -1, ""]);
  assertThrows(() => early.assertOk(), JobFailedError, "still running after");
  assertEquals((await proc.status()).running, true);
  const [late, same] = await Promise.all([proc.wait("30s"), proc.wait("30s")]);
  assertEquals([late.exitCode, late.stdout, late.running], [0, "x\n", false]);
  assertEquals([same.exitCode, same.stdout], [0, "x\n"]);
  const again = await proc.wait();
  assertEquals([again.exitCode, again.stdout, again.elapsed >= 1.8], [0, "x\n", true]);
  assertEquals(await proc.status(), { running: false, stopped: false, exitCode: 0 });
});

test("6: wait() with kill ends the group at expiry", async (vm) => {
  await using proc = await vm.runAsync("sleep 300");
  const result = await proc.wait("100ms", { kill: true });
  assertEquals([result.status, result.signal, result.timedOut], ["killed:143", "SIGTERM", true]);
});

test(
  "7: kill() takes names, numbers and nothing, and refuses an object by its type",
  async (vm, { t }) => {
    const rows = [
      [undefined, "SIGTERM", 143],
      ["TERM", "SIGTERM", 143],
      ["sigint", "SIGINT", 130],
      [9, "SIGKILL", 137],
    ] as const;
    for (const [signal, name, code] of rows) {
      await t.step(`${signal}`, async () => {
        await using proc = await vm.runAsync("sleep", { args: ["300"] });
        assertEquals(await proc.kill(signal), true);
        const result = await proc.wait("20s");
        assertEquals([result.signal, result.exitCode], [name, code]);
        assertEquals(await proc.kill(signal), false);
        assertEquals(await proc.kill(9), false);
      });
    }
    await using proc = await vm.runAsync("sleep", { args: ["300"] });
    for (const wrong of [{}, null, [9]]) {
      const error = await assertRejects(() => proc.kill(wrong as unknown as number), SignalError);
      assert(/got (object|null|array)/.test(error.message), error.message);
    }
    await assertRejects(() => proc.kill("BOGUS"), SignalError, "BOGUS");
    assertEquals((await proc.status()).running, true);
  },
);

test("7: a group kill reaches grandchildren, one without the group only the leader", async (vm) => {
  await using proc = await vm.runAsync("sh -c 'sleep 301 & sleep 302' & echo up; wait");
  await proc.stdout.expect("up\n", 20);
  const alive = async () =>
    (await vm.processes()).filter(({ command, state }) =>
      /^sleep 30[12]$/.test(command) && state !== "Z"
    ).length;
  await vm.waitUntil(async () => await alive() === 2, { timeout: 20, interval: 0.05 });
  await proc.kill("KILL", { group: false });
  assertEquals(await alive(), 2);
  await using other = await vm.runAsync("sh -c 'sleep 303 & sleep 303' & echo up; wait");
  await other.stdout.expect("up\n", 20);
  await other.kill("KILL");
  await other.wait("20s");
  await vm.waitUntil(
    async () =>
      !(await vm.processes()).some(({ command, state }) =>
        command === "sleep 303" && state !== "Z"
      ),
    { timeout: 20, interval: 0.05 },
  );
});

test("a process can be written to and read from while it runs", async (vm) => {
  await using proc = await vm.runAsync("while read line; do echo got $line; done; echo end >&2");
  await proc.write("one\n");
  assertEquals((await proc.stdout.expect(/got (\w+)\n/, 20)).groups, ["one"]);
  await proc.write("two\n");
  assertEquals(await proc.stdout.readUntil("two\n", 20), "got two\n");
  await proc.closeStdin();
  const result = await proc.wait("20s");
  assertEquals([result.stdout, result.stderr], ["got one\ngot two\n", "end\n"]);
  assertEquals(await proc.stderr.text(), "end\n");
  assert(proc.stdout.eof || await proc.stdout.next(5) === undefined);
});

test("signal() reaches a handler, and stop shows in the status", async (vm) => {
  await using proc = await vm.runAsync(
    "trap 'echo caught' USR1; echo up; while :; do sleep 0.05; done",
  );
  await proc.stdout.expect("up\n", 20);
  await proc.signal("USR1");
  await proc.stdout.expect("caught\n", 20);
  await proc.kill("STOP");
  await vm.waitUntil(async () => (await proc.status()).stopped, { timeout: 20, interval: 0.05 });
  await proc.kill("CONT");
  await vm.waitUntil(async () => !(await proc.status()).stopped, { timeout: 20, interval: 0.05 });
});

test("background(), jobWait() and jobKill() drive a daemon", async (vm) => {
  const job = await vm.background("echo up; exec sleep 400");
  await job.stdout.waitFor("up", { timeout: 20 });
  assertEquals((await vm.jobWait(job)).status, "running");
  assertEquals(vm.jobs.listIds().includes(job.id), true);
  const result = await vm.jobKill(job.id, "KILL");
  assertEquals([result.status, result.signal], ["killed:137", "SIGKILL"]);
  assertEquals((await vm.jobWait(job, 5)).status, "killed:137");
});
