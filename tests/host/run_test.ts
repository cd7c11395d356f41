import { assert, assertEquals, assertRejects } from "@std/assert";
import { HostError, StateError } from "../../src/errors.ts";
import {
  groupMembers,
  MAX_RUN_DIR,
  openRun,
  pause,
  processesWithToken,
  procStat,
  sweepRuns,
} from "../../src/host/mod.ts";
import { agentBinary } from "../../src/image/mod.ts";
import { makeTempDir } from "./_temp.ts";

const AGENT = await agentBinary();

async function names(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name).toSorted();
}

Deno.test("openRun() makes a private folder with a short path, and close() removes it", async () => {
  await using root = await makeTempDir();
  const run = await openRun({ root: root.path, agentBinary: AGENT });
  assert(run.dir.length <= MAX_RUN_DIR);
  assertEquals((await Deno.stat(run.dir)).mode! & 0o777, 0o700);
  assertEquals(await run.machineDir(), `${run.dir}/m1`);
  await Promise.all([run.close(), run.close()]);
  assertEquals(await names(root.path), []);
  await assertRejects(() => run.machineDir(), StateError, "closed");
});

Deno.test("Run.spawn() starts a group of its own with the run's token; close() ends all of it", async () => {
  await using root = await makeTempDir();
  const run = await openRun({ root: root.path, agentBinary: AGENT });
  const child = await run.spawn("sh", {
    args: ["-c", "setsid sleep 300 & sleep 300 & echo; wait"],
    stdin: "null",
    stdout: "piped",
  });
  const reader = child.stdout.getReader();
  await reader.read();
  assertEquals((await procStat(child.pid))?.pgid, child.pid);
  assert((await processesWithToken(run.token)).length >= 2);
  const guard = run.guardPid!;
  await run.close();
  await child.status;
  await reader.cancel();
  assertEquals(await processesWithToken(run.token), []);
  assertEquals(await groupMembers(child.pid), []);
  assertEquals(await procStat(guard), undefined);
  assertEquals(await names(root.path), []);
});

Deno.test("Run.spawnGuarded() keeps the pid, the status and the output of the command", async () => {
  await using root = await makeTempDir();
  await using run = await openRun({ root: root.path, agentBinary: AGENT });
  await using child = await run.spawnGuarded("sh", {
    args: ["-c", "echo $$ $BELLJAR_TOKEN; cat; exit 7"],
    stdout: "piped",
    stderr: "null",
  });
  const text = await new Response(child.stdout).text();
  assertEquals(text, `${child.pid} ${run.token}\n`);
  assertEquals((await child.status).code, 7);
  assertEquals(child.kill(), false);
});

Deno.test("Run.spawnGuarded() puts the command out of reach of the terminal, and kills its whole group", async () => {
  await using root = await makeTempDir();
  await using run = await openRun({ root: root.path, agentBinary: AGENT });
  await using child = await run.spawnGuarded("sh", {
    args: ["-c", "sleep 300 & cut -d' ' -f5,6 /proc/$$/stat; wait"],
    stdout: "piped",
    stderr: "null",
  });
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  // Its group and its session bear its number: a terminal's signals go to another one's.
  assertEquals((await reader.read()).value, `${child.pid} ${child.pid}\n`);
  assert(child.kill());
  await reader.cancel();
  assertEquals((await child.status).signal, "SIGKILL");
  while ((await groupMembers(child.pid)).length > 0) await pause(10);
});

Deno.test("Run.spawnGuarded() kills a command that has hardly begun", async () => {
  await using root = await makeTempDir();
  await using run = await openRun({ root: root.path, agentBinary: AGENT });
  for (let i = 0; i < 20; i++) {
    const child = await run.spawnGuarded("sleep", {
      args: ["300"],
      stdout: "null",
      stderr: "null",
    });
    assert(child.kill());
    assertEquals((await child.status).signal, "SIGKILL");
  }
  assertEquals(await processesWithToken(run.token), []);
});

Deno.test("Run.spawnGuarded() says what cannot be started", async () => {
  await using root = await makeTempDir();
  await using run = await openRun({ root: root.path, agentBinary: AGENT });
  await using child = await run.spawnGuarded("/nothing/here", { stdout: "null", stderr: "piped" });
  assert((await new Response(child.stderr).text()).includes("/nothing/here"));
  assertEquals((await child.status).code, 127);
});

Deno.test("Run.spawn() checks its signal first", async () => {
  await using root = await makeTempDir();
  await using run = await openRun({ root: root.path, agentBinary: AGENT });
  const signal = AbortSignal.abort(new Error("too late"));
  await assertRejects(() => run.spawn("sleep", { args: ["300"], signal }), Error, "too late");
  assertEquals(await processesWithToken(run.token), []);
});

Deno.test("openRun() reports a guard that cannot be started when it is needed", async () => {
  await using root = await makeTempDir();
  await using run = await openRun({ root: root.path, agentBinary: `${root.path}/none` });
  await assertRejects(() => run.spawn("true"), HostError, `${root.path}/none`);
});

Deno.test("a guard that was killed is replaced and told everything", async () => {
  await using root = await makeTempDir();
  const run = await openRun({ root: root.path, agentBinary: AGENT });
  const child = await run.spawn("sleep", { args: ["300"], stdin: "null" });
  const first = run.guardPid!;
  Deno.kill(first, "SIGKILL");
  while (run.guardPid === first || run.guardPid === undefined) await pause(5);
  const second = await run.spawn("sleep", { args: ["300"], stdin: "null" });
  await run.close();
  await Promise.all([child.status, second.status]);
});

Deno.test("sweepRuns() ends what a dead run left, and leaves a live one alone", async () => {
  await using root = await makeTempDir();
  await using alive = await openRun({ root: root.path, agentBinary: AGENT });
  const kept = await alive.spawn("sleep", { args: ["300"], stdin: "null" });
  // A run whose guard died with it: only its folder and its token are left.
  const dir = `${root.path}/dead00`;
  const token = "0123456789abcdef0123456789abcdef";
  await Deno.mkdir(dir);
  await Deno.writeTextFile(`${dir}/lock`, `${token}\n`);
  await Deno.mkdir(`${root.path}/nolock`);
  const orphan = new Deno.Command("sleep", {
    args: ["300"],
    env: { BELLJAR_TOKEN: token },
    detached: true,
  }).spawn();
  const swept = await sweepRuns({ root: root.path });
  assertEquals(swept.map((run) => run.dir).toSorted(), [dir, `${root.path}/nolock`]);
  assertEquals((await orphan.status).signal, "SIGTERM");
  assertEquals(await names(root.path), [alive.dir.slice(root.path.length + 1)]);
  assertEquals((await procStat(kept.pid))?.command, "sleep");
  await alive.close();
  await kept.status;
});
