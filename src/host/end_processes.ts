import { pause } from "./file_lock.ts";
import { groupMembers, processesWithToken, type ProcStat, procStat } from "./proc.ts";

/** Which processes {@linkcode endProcesses} ends. */
export interface EndProcessesOptions {
  /** Run token that they carry in their environment. */
  token?: string;
  /** Process groups. */
  groups?: number[];
  /**
   * Time between SIGTERM and SIGKILL, in milliseconds.
   *
   * @default {2_000}
   */
  graceMs?: number;
  /** Longest wait after SIGKILL, in milliseconds. @default {2_000} */
  killMs?: number;
}

// Nothing tells when processes that are not our children end: /proc has to be read again.
const LOOK_MS = 10;

/**
 * Ends processes: SIGTERM, a grace, SIGKILL. Returns when none is left, or with those that even SIGKILL did not end in time
 * (in uninterruptible sleep).
 */
export async function endProcesses(options: EndProcessesOptions): Promise<ProcStat[]> {
  const { graceMs = 2_000, killMs = 2_000 } = options;
  let left = await find(options);
  if (left.length === 0) return left;
  await signalAll(left, "SIGTERM");
  const killAt = performance.now() + graceMs;
  while (left.length > 0 && performance.now() < killAt) {
    await pause(LOOK_MS);
    left = await find(options);
  }
  const giveUpAt = performance.now() + killMs;
  while (left.length > 0 && performance.now() < giveUpAt) {
    await signalAll(left, "SIGKILL"); // again each time: a member may fork until it is hit
    await pause(LOOK_MS);
    left = await find(options);
  }
  return left;
}

async function find({ token, groups = [] }: EndProcessesOptions): Promise<ProcStat[]> {
  const lists = await Promise.all([
    token ? processesWithToken(token) : [],
    ...groups.map(groupMembers),
  ]);
  return [...new Map(lists.flat().map((stat) => [stat.pid, stat])).values()];
}

async function signalAll(targets: ProcStat[], signal: Deno.Signal): Promise<void> {
  for (const target of targets) {
    // Looked up again: the pid could belong to another process by now.
    const now = await procStat(target.pid);
    if (now?.startTicks === target.startTicks) killQuietly(target.pid, signal);
  }
}

/** Sends a signal to a process, or to a group if `pid` is negative, that may be gone already. */
export function killQuietly(pid: number, signal: Deno.Signal): boolean {
  try {
    Deno.kill(pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    if (/ESRCH|os error 3\b/.test(String(error))) return false;
    throw error;
  }
}
