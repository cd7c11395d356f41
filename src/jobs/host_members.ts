import {
  groupMembers,
  isLive,
  killQuietly,
  pause,
  processesWithToken,
  type ProcStat,
  procStat,
} from "../host/mod.ts";
import { signalName } from "../values/mod.ts";
import { isStopped, type SignalTarget } from "./driver.ts";
import { SIGKILL } from "./kill_plan.ts";
import type { ProcInfo } from "./types.ts";

/** Environment variable that marks every process of a job. */
export const JOB_VARIABLE = "BELLJAR_JOB";

/** Nothing tells when processes that are not our children end: /proc has to be read again, less and less often. */
const LOOK_MS = { first: 5, longest: 50 };

/** What belongs to a job of this host: its groups, and what carries its token. */
export class HostMembers {
  readonly pid: number;
  #groups: Set<number>;
  #token: string | undefined;
  /** Start time of the leader, which tells it from a later process with its pid. */
  #startTicks: number | undefined;
  /** Members that were seen, by group: a group is ours as long as one of them has lived on in it. */
  #seen = new Map<number, Set<string>>();
  #killing = false;

  constructor(options: { pid: number; pgid: number; token?: string }) {
    this.pid = options.pid;
    this.#groups = new Set([options.pgid]);
    this.#token = options.token;
  }

  /** Adds a group. */
  addGroup(pgid: number): void {
    this.#groups.add(pgid);
  }

  /** The leader, while it lives. */
  async leader(): Promise<ProcStat | undefined> {
    const stat = await procStat(this.pid);
    if (!stat || !isLive(stat)) return undefined;
    this.#startTicks ??= stat.startTicks;
    return stat.startTicks === this.#startTicks ? stat : undefined;
  }

  /** Whether it runs; `undefined` when the leader has ended. */
  async state(): Promise<"running" | "stopped" | undefined> {
    const leader = await this.leader();
    if (!leader) return undefined;
    // In state D it may wait for a child that was stopped before its exec.
    const stopped = leader.state === "D" ? isStopped(await this.list()) : leader.state === "T";
    return stopped ? "stopped" : "running";
  }

  /** Everything that lives. */
  async list(): Promise<ProcStat[]> {
    const [leader, marked, ...groups] = await Promise.all([
      this.leader(),
      this.#token === undefined ? [] : processesWithToken(this.#token, JOB_VARIABLE),
      ...[...this.#groups].map((pgid) => this.#group(pgid)),
    ]);
    const all = [...leader ? [leader] : [], ...marked, ...groups.flat()];
    return [...new Map(all.map((stat) => [stat.pid, stat])).values()];
  }

  /** Sends a signal, and returns how many processes got it. */
  async signal(sig: number, target: SignalTarget): Promise<number> {
    const name = signalName(sig);
    if (target === "leader") {
      return await this.leader() && killQuietly(this.pid, name) ? 1 : 0;
    }
    if (sig === SIGKILL) this.#killing = true;
    const members = await this.list();
    // A group at once where possible: one by one, a member could fork behind the signal's back.
    const whole = new Set(
      members.filter(({ pgid }) => this.#groups.has(pgid)).map(({ pgid }) => pgid),
    );
    for (const pgid of whole) killQuietly(-pgid, name);
    for (const { pid, pgid } of members) if (!whole.has(pgid)) killQuietly(pid, name);
    return members.length;
  }

  /** Resolves when nothing lives any more; what forks away from SIGKILL is killed again. */
  async whenEmpty(signal: AbortSignal): Promise<void> {
    let delayMs = LOOK_MS.first;
    while (true) {
      const members = await this.list();
      if (members.length === 0) return;
      if (this.#killing) await this.signal(SIGKILL, "group");
      await pause(delayMs, signal);
      delayMs = Math.min(delayMs * 1.5, LOOK_MS.longest);
    }
  }

  /** Members of a group, unless the group has died out since it was seen and its number was used again. */
  async #group(pgid: number): Promise<ProcStat[]> {
    const members = await groupMembers(pgid);
    const known = this.#seen.get(pgid);
    const keys = members.map(({ pid, startTicks }) => `${pid}:${startTicks}`);
    if (known && !keys.some((key) => known.has(key))) return [];
    this.#seen.set(pgid, new Set(keys));
    return members;
  }
}

/** A process of this host as results show it. */
export function procInfo(stat: ProcInfo): ProcInfo {
  const { pid, ppid, pgid, state, command, startTicks } = stat;
  return { pid, ppid, pgid, state, command, startTicks };
}
