import { assertEquals } from "@std/assert";
import { groupMembers, openRun, pause, processesWithToken, procStat } from "../../src/host/mod.ts";
import { agentBinary } from "../../src/image/mod.ts";
import { makeTempDir } from "./_temp.ts";

const AGENT = await agentBinary();
const LIMIT_MS = 20_000;

interface Told {
  event: string;
  dir: string;
  token: string;
  guarded: number;
  tree: number;
  guard: number;
}

interface Harness extends AsyncDisposable {
  child: Deno.ChildProcess;
  next(event: string): Promise<Told>;
}

function startHarness(root: string, kind: string): Harness {
  const module = new URL("_harness.ts", import.meta.url).pathname;
  const repo = new URL("../../", import.meta.url).pathname;
  const own = ["--import-map", "--lock"].flatMap((flag) => {
    const name = flag === "--lock" ? "deno.lock" : "import_map.json";
    return `${flag}=${repo}scripts/fallback/${name}`;
  });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "-q", ...own, module, root, kind],
    env: { BELLJAR_AGENT: AGENT },
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const told: Told[] = [];
  return {
    child,
    async next(event) {
      for (;;) {
        const found = told.find((each) => each.event === event);
        if (found) return found;
        const { value, done } = await reader.read();
        if (done) throw new Error(`the harness ended before "${event}"`);
        text += value;
        const lines = text.split("\n");
        text = lines.pop()!;
        told.push(...lines.map((line) => JSON.parse(line) as Told));
      }
    },
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await child.status;
      await reader.cancel();
    },
  };
}

async function until(what: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + LIMIT_MS;
  while (!await what()) {
    if (performance.now() > giveUpAt) throw new Error("not in time");
    await pause(20);
  }
}

async function isGone(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => false, () => true);
}

for (const signal of ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"] as const) {
  Deno.test(`${signal} of the harness leaves no process and no folder`, async () => {
    await using root = await makeTempDir();
    await using beside = await openRun({ root: root.path, agentBinary: AGENT });
    const other = await beside.spawn("sleep", { args: ["300"], stdin: "null" });
    await using harness = startHarness(root.path, "runs");
    const { dir, token } = await harness.next("opened");
    const { guarded, tree, guard } = await harness.next("started");
    harness.child.kill(signal);
    await harness.child.status;
    await until(async () => (await procStat(guarded)) === undefined);
    await until(async () => (await processesWithToken(token)).length === 0);
    await until(async () => (await procStat(guard)) === undefined);
    assertEquals(await groupMembers(tree), []);
    assertEquals(await isGone(dir), true);
    assertEquals((await procStat(other.pid))?.command, "sleep"); // a run beside is not disturbed
    await beside.close();
    await other.status;
  });
}

Deno.test("the next start sweeps a run that was killed before it had a guard", async () => {
  await using root = await makeTempDir();
  await using harness = startHarness(root.path, "idle");
  const { dir } = await harness.next("opened");
  harness.child.kill("SIGKILL");
  await harness.child.status;
  assertEquals(await isGone(dir), false);
  await using _next = await openRun({ root: root.path, agentBinary: AGENT });
  assertEquals(await isGone(dir), true);
});

Deno.test("a run that was closed leaves nothing while its harness lives on", async () => {
  await using root = await makeTempDir();
  await using harness = startHarness(root.path, "closes");
  const { dir, token } = await harness.next("opened");
  const { guard } = await harness.next("started");
  await harness.next("closed");
  assertEquals(await processesWithToken(token), []);
  assertEquals(await procStat(guard), undefined);
  assertEquals(await isGone(dir), true);
});
