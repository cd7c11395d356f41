import { endProcesses } from "./end_processes.ts";
import { tryLockFile } from "./file_lock.ts";
import { removeTree } from "./owned_dir.ts";
import { readRunToken, runRoot } from "./run_dir.ts";

/** Options for {@linkcode sweepRuns}. */
export interface SweepOptions {
  /** Folder with the run folders; this user's by default. */
  root?: string;
  /** Time between SIGTERM and SIGKILL for what dead runs left running, in milliseconds. @default {500} */
  graceMs?: number;
}

/** What {@linkcode sweepRuns} found of one dead run. */
export interface SweptRun {
  dir: string;
  /** Pids of processes that did not even end by SIGKILL in time. */
  stuck: number[];
}

/**
 * Removes what dead runs left: their processes and their folders. A run is dead when its lock is free; pids prove nothing,
 * since they are given out again.
 */
export async function sweepRuns(options: SweepOptions = {}): Promise<SweptRun[]> {
  const root = options.root ?? await runRoot();
  const swept: SweptRun[] = [];
  for await (const { name, isDirectory } of Deno.readDir(root)) {
    if (!isDirectory) continue;
    const dir = `${root}/${name}`;
    using lock = await tryLockFile(`${dir}/lock`);
    // Held: alive. Missing: somebody is removing it, or was killed while doing so.
    if (!lock && await exists(`${dir}/lock`)) continue;
    const token = await readRunToken(dir);
    const stuck = token ? await endProcesses({ token, graceMs: options.graceMs ?? 500 }) : [];
    await removeTree(dir);
    swept.push({ dir, stuck: stuck.map(({ pid }) => pid) });
  }
  return swept;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
