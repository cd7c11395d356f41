import { assertEquals } from "@std/assert";
import {
  openRun,
  pause,
  processes,
  processesWithToken,
  type ProcStat,
} from "../../src/host/mod.ts";
import { agentBinary } from "../../src/image/mod.ts";
import { QemuVmm } from "../../src/vmm/mod.ts";
import { makeTempDir } from "../host/_temp.ts";
import { LIMIT_MS, openVmm, shell } from "./_vmm.ts";

const AGENT = await agentBinary();
const PHASES = ["template", "run", "save", "settle", "restore", "cold", "cleanup"] as const;

interface Told {
  phase: string;
  dir: string;
  token: string;
}

/** Starts a harness and kills it `delayMs` after it has entered a phase. Returns what it had told of itself. */
async function killIn(
  phase: string,
  { root, cache, delayMs, signal }: {
    root: string;
    cache: string;
    delayMs: number;
    signal: Deno.Signal;
  },
): Promise<Told> {
  const repo = new URL("../../", import.meta.url).pathname;
  const fallback = `${repo}scripts/fallback`;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-check", "-q"],
      ...[`--import-map=${fallback}/import_map.json`, `--lock=${fallback}/deno.lock`],
      ...[`${repo}tests/vm/_doomed.ts`, root, cache],
    ],
    env: { BELLJAR_AGENT: AGENT },
    stdin: "null",
    stdout: "piped",
  }).spawn();
  let opened: Told | undefined;
  let text = "";
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const lines = text.split("\n");
    text = lines.pop()!;
    const told = lines.map((line) => JSON.parse(line) as Told);
    opened ??= told.find((each) => each.phase === "opened");
    if (!told.some((each) => each.phase === phase)) continue;
    await pause(delayMs);
    child.kill(signal);
    break;
  }
  await child.status;
  if (!opened) throw new Error(`the harness ended before "${phase}"`);
  return opened;
}

async function untilEmpty(token: string): Promise<void> {
  const giveUpAt = performance.now() + LIMIT_MS;
  for (;;) {
    const left = [...await processesWithToken(token), ...await guardsOf(token)];
    if (left.length === 0) return;
    if (performance.now() > giveUpAt) {
      throw new Error(`still there: ${left.map(({ pid, command }) => `${pid} ${command}`)}`);
    }
    await pause(20);
  }
}

/** The guard has the token among its arguments, not in its environment. */
async function guardsOf(token: string): Promise<ProcStat[]> {
  const found = await Promise.all((await processes()).map(async (stat) => {
    const words = await Deno.readTextFile(`/proc/${stat.pid}/cmdline`).catch(() => ""); // gone
    return words.includes(token) ? stat : undefined;
  }));
  return found.filter((stat) => stat !== undefined);
}

async function names(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name).toSorted();
}

Deno.test("a harness that is killed in any phase leaves nothing, and the next one goes on", async (t) => {
  await using root = await makeTempDir();
  await using cache = await makeTempDir();
  await using beside = await openVmm();
  const other = await beside.vmm.launch(beside.spec({ name: "beside" }));
  for (const phase of PHASES) {
    for (
      const signal of phase === "run"
        ? ["SIGKILL", "SIGTERM", "SIGINT"] as const
        : ["SIGKILL"] as const
    ) {
      const delayMs = Math.round(Math.random() * 300);
      await t.step(`${signal} ${delayMs} ms into ${phase}`, async () => {
        const { token } = await killIn(phase, {
          root: root.path,
          cache: cache.path,
          delayMs,
          signal,
        });
        await untilEmpty(token);
        await (await openRun({ root: root.path, agentBinary: AGENT })).close();
        assertEquals(await names(root.path), []);
        const snapshots = `${cache.path}/snapshots`;
        assertEquals(await names(snapshots).catch(() => []), []);
        const templates = await names(`${cache.path}/templates`).catch(() => []);
        assertEquals(templates.filter((name) => name.startsWith(".new")), []);
      });
    }
  }
  await t.step("what was half built is not used", async () => {
    const vmm = new QemuVmm({ run: () => Promise.resolve(beside.run), cache: cache.path });
    await using machine = await vmm.launch(beside.spec());
    assertEquals(await shell(machine.client!, "echo up"), "up\n");
    const left = (await names(`${cache.path}/templates`)).filter((name) => name.startsWith(".new"));
    assertEquals(left, []);
  });
  assertEquals(await shell(other.client!, "echo undisturbed"), "undisturbed\n");
  await other[Symbol.asyncDispose]();
});
