import { processesWithToken } from "../../src/host/mod.ts";

/** Waits until something is written to a path that `wanted` takes. */
export async function untilWritten(
  events: Deno.FsWatcher,
  wanted: (path: string) => boolean,
): Promise<void> {
  const deadline = setTimeout(() => events.close(), 120_000);
  try {
    for await (const { paths } of events) {
      if (paths.some(wanted)) return;
    }
    throw new Error("nothing was written where it was expected");
  } finally {
    clearTimeout(deadline);
  }
}

/** Pids whose arguments name a run's token: its guard. */
async function pidsNaming(text: string): Promise<number[]> {
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === Deno.pid) continue;
    const args = await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => ""); // it has ended
    if (args.includes(text)) found.push(pid);
  }
  return found;
}

/** As a power loss: the guard before what it would clean up, then machines, then the harness. */
export async function killAll(child: Deno.ChildProcess, tokens: readonly string[]): Promise<void> {
  const pids = new Set<number>();
  for (const token of tokens) {
    for (const pid of await pidsNaming(token)) pids.add(pid); // the guard first
  }
  for (const token of tokens) {
    for (const { pid } of await processesWithToken(token)) pids.add(pid);
  }
  for (const pid of pids) {
    try {
      Deno.kill(pid, "SIGKILL");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // killed by its watcher
    }
  }
  try {
    child.kill("SIGKILL");
  } catch {
    // It was over before.
  }
  await child.status;
}
