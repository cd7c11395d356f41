/**
 * Kills whole runs at seeded moments of announced phases, beside a run that nobody kills, and looks for leftovers by a mark
 * in the environment that belljar knows nothing of. `BELLJAR_KILLS` says how often (100 by default,
 * 1,000 by `deno task kills`), `BELLJAR_SEED` where.
 */
import { assert, assertEquals } from "@std/assert";
import { deadline, delay } from "@std/async";
import { makeProject, type Project } from "../runner/_belljar.ts";

const KILLS = Number(Deno.env.get("BELLJAR_KILLS") ?? 100);
const SEED = Number(Deno.env.get("BELLJAR_SEED") ?? 20_26);
const MARK = "BELLJAR_KILL_SUITE";
/** Nothing of a killed run may live longer. */
const LIMIT_MS = 5_000;
/** One kill must not take longer, however busy the host is. */
const PATIENCE_MS = 120_000;
const SIGNALS: Deno.Signal[] = ["SIGKILL", "SIGKILL", "SIGKILL", "SIGINT", "SIGTERM", "SIGHUP"];

const VICTIM = `
import { lab, test } from "belljar";

test("is killed somewhere", async (t) => {
  const vm = await lab.vm("victim", "tiny").boot();
  const worker = await vm.spawnWorker();
  await worker.runAsync("sleep 600");
  await vm.background("setsid sleep 601 & sleep 602");
  t.assertEquals((await vm.run("echo here")).stdout, "here\\n");
  await vm.openFile("/etc/hosts");
});
test("and a second machine", async () => {
  const vm = await lab.vm("again", "tiny").boot();
  await vm.run("true");
});
`;

const BYSTANDER = `
import { lab, test } from "belljar";

test("nobody disturbs this one", { timeout: "1h" }, async (t) => {
  let rounds = 0;
  for (let stop = false; !stop; rounds++) {
    const vm = await lab.vm("bystander" + rounds, "tiny").boot();
    t.assertEquals((await vm.run("echo alive")).stdout, "alive\\n");
    await vm.kill();
    stop = await Deno.stat(STOP_FILE).then(() => true, () => false);
  }
  t.log(rounds + " rounds");
});
`;

/** Numbers from 0 below 1, the same for the same seed (xorshift32). */
function seeded(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Live processes whose environment holds `mark`: pid and command. */
async function marked(mark: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const environment = await Deno.readTextFile(`/proc/${name}/environ`);
      if (!environment.split("\0").includes(mark)) continue;
      const stat = await Deno.readTextFile(`/proc/${name}/stat`);
      if (!/\) [ZX] /.test(stat)) found.push(`${name} ${/\(.*\)/.exec(stat)?.[0]}`);
    } catch {
      // It ended while it was looked at.
    }
  }
  return found;
}

/** Starts a run and calls `onEvent` with each event that it announces. */
function start(
  project: Project,
  file: string,
  env: Record<string, string>,
  onEvent: (count: number) => void,
): { child: Deno.ChildProcess; ended: Promise<{ code: number; text: string }> } {
  const child = project.start(["run", "--quiet", "--events", "/dev/stdout", file], env);
  const read = async () => {
    let text = "";
    let count = 0;
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const lines = text.split("\n").length - 1;
      while (count < lines) onEvent(++count);
    }
    return text;
  };
  const errors = new Response(child.stderr).text();
  const ended = Promise.all([read(), errors, child.status]).then(([out, err, { code }]) => ({
    code,
    text: out + err,
  }));
  return { child, ended };
}

/** Waits until no process holds the mark; returns how long that took. */
async function untilGone(mark: string): Promise<number> {
  const started = performance.now();
  for (;;) {
    const left = await marked(mark);
    const elapsed = performance.now() - started;
    if (left.length === 0) return elapsed;
    assert(
      elapsed < LIMIT_MS,
      `after ${Math.round(elapsed)} ms these are left: ${left.join(", ")}`,
    );
    await delay(20);
  }
}

Deno.test(`${KILLS} seeded kills leave no process, and no folder after the next start`, async () => {
  await using project = await makeProject({ "victim.test.ts": VICTIM });
  const root = await Deno.makeTempDir({ dir: "/tmp", prefix: "bjk" });
  const shared = {
    XDG_RUNTIME_DIR: root,
    BELLJAR_CACHE_DIR: Deno.env.get("BELLJAR_CACHE_DIR") ??
      `${Deno.env.get("HOME")}/.cache/belljar`,
  };
  const stop = project.path("stop");
  await project.write({
    "bystander.test.ts": BYSTANDER.replace("STOP_FILE", JSON.stringify(stop)),
  });
  try {
    const whole = await start(project, "victim.test.ts", shared, (count) => events = count).ended;
    assertEquals(whole.code, 0, whole.text);
    const bystander = start(project, "bystander.test.ts", shared, () => {});
    const random = seeded(SEED);
    const waits: number[] = [];
    let early = 0;
    for (let round = 0; round < KILLS; round++) {
      const mark = `${round}-${SEED}-${Deno.pid}`;
      const at = Math.floor(random() * (events + 1));
      const afterMs = random() * 60;
      const signal = SIGNALS[Math.floor(random() * SIGNALS.length)]!;
      const due = Promise.withResolvers<void>();
      const reached = (count: number) => count >= at && due.resolve();
      const victim = start(project, "victim.test.ts", { ...shared, [MARK]: mark }, reached);
      reached(0);
      try {
        await deadline(Promise.race([due.promise, victim.ended]), PATIENCE_MS);
        await delay(afterMs);
        try {
          victim.child.kill(signal);
        } catch {
          early++; // It was over before its moment came.
        }
        await deadline(victim.child.status, PATIENCE_MS);
        waits.push(await untilGone(`${MARK}=${mark}`));
        await victim.ended;
      } catch (cause) {
        const what = `round ${round}: ${signal} ${
          Math.round(afterMs)
        } ms after event ${at} of ${events}`;
        throw new Error(`${what} (BELLJAR_SEED=${SEED})`, { cause });
      }
    }
    await Deno.writeTextFile(stop, "");
    const beside = await deadline(bystander.ended, PATIENCE_MS);
    assertEquals(beside.code, 0, beside.text);
    const last = await start(project, "victim.test.ts", shared, () => {}).ended;
    assertEquals(last.code, 0, last.text);
    const left = await Array.fromAsync(Deno.readDir(`${root}/belljar`), ({ name }) => name);
    assertEquals(left, [], "folders are left after the next start");
    assert(early < KILLS, "no kill found its run alive");
    const longest = Math.round(Math.max(...waits));
    // deno-lint-ignore no-console -- the figure is part of what this test is for
    console.log(
      `${KILLS} kills, ${early} of them late: 0 leftovers, all gone within ${longest} ms`,
    );
  } finally {
    await Deno.writeTextFile(stop, "");
    await Deno.remove(root, { recursive: true });
  }
});

/** Events of a whole run. */
let events = 0;
