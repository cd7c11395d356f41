import { groupMembers, killQuietly, type ProcStat, procStat } from "../host/mod.ts";
import { isLive, pause } from "../host/mod.ts";
import type { Scope } from "../scope/mod.ts";
import { checkValue, signalName, signalNumber } from "../values/mod.ts";
import type { BaseJob, JobSeed } from "./base_job.ts";
import type { DriverEvents, ProcessDriver, SignalTarget } from "./driver.ts";
import { ProcessJob, type ProcessJobOptions } from "./process_job.ts";
import { registerJob } from "./register_job.ts";
import type { Job, ProcInfo } from "./types.ts";
import type { AdoptedProcess } from "./job_table.ts";

/** Nobody tells when a process that is not our child ends: /proc has to be read again and again. */
const LOOK_MS = 100;

/** Makes a process of this host that somebody else started a job. */
export function adoptProcess(process: AdoptedProcess, options: {
  seed: JobSeed;
  options: ProcessJobOptions;
  registerIn: Scope | undefined;
  enter: (job: BaseJob) => void;
}): Job {
  checkId(process?.pid, "pid");
  checkId(process?.pgid, "pgid");
  const driver = new AdoptedDriver(process);
  const job = new ProcessJob({ ...options.seed, driver, options: options.options });
  options.enter(job);
  job.begin(options.options);
  if (process.stopped) job.noteStopped(true);
  if (options.registerIn) {
    job.adopt(registerJob(job, "job", options.registerIn, job.closeLimitMs));
  }
  return job;
}

function checkId(value: unknown, name: string): void {
  checkValue("integer", value, `${name} of jobs.registerProcess()`);
  if ((value as number) > 1) return;
  throw new RangeError(`Cannot adopt process with ${name} ${value}: expected a number above 1`);
}

/** A process of this host that was started by somebody else. */
class AdoptedDriver implements ProcessDriver {
  readonly mustLookForStops = true;
  readonly pid: number;
  readonly pgid: number;
  #exit: AdoptedProcess["exit"];
  #groups: Set<number>;
  #events: DriverEvents | undefined;
  #released = new AbortController();
  /** Which process it is, once it was seen: pids are used again. */
  #startTicks: number | undefined;

  constructor(process: AdoptedProcess) {
    this.pid = process.pid;
    this.pgid = process.pgid;
    this.#exit = process.exit;
    this.#groups = new Set([process.pgid]);
  }

  start(events: DriverEvents): void {
    this.#events = events;
    events.outputEnded("stdout");
    events.outputEnded("stderr");
    if (this.#exit) {
      this.#exit.then(
        async ({ code, signal }) =>
          await this.#exited(signal ? { sig: signalNumber(signal) } : { code }),
        (error) => events.lost(error),
      );
    } else this.#look();
  }

  addGroup(pgid: number): void {
    this.#groups.add(pgid);
  }

  async signal(sig: number, target: SignalTarget): Promise<number> {
    const members = target === "leader" ? await this.#leader() : await this.#members();
    let reached = 0;
    for (const { pid } of members) if (killQuietly(pid, signalName(sig))) reached++;
    return reached;
  }

  async members(): Promise<ProcInfo[]> {
    return (await this.#members()).map((stat) => ({ ...stat }));
  }

  async whenEmpty(signal: AbortSignal): Promise<void> {
    while ((await this.#members()).length > 0) await pause(10, signal);
  }

  async refresh(): Promise<void> {
    const [leader] = await this.#leader();
    if (leader?.state === "T") this.#events?.stopped();
    else if (leader) this.#events?.continued();
  }

  discardOutput(): void {}

  release(): void {
    this.#released.abort();
  }

  async #look(): Promise<void> {
    const { signal } = this.#released;
    try {
      while ((await this.#leader()).length > 0) await pause(LOOK_MS, signal);
      this.#events!.lost(new Error(`Process ${this.pid} ended, and only its parent knows how`));
    } catch (error) {
      if (!signal.aborted) this.#events!.lost(error);
    }
  }

  async #exited(exit: { code?: number; sig?: number }): Promise<void> {
    const alive = (await this.#members()).length;
    this.#events!.exited({ ...exit, alive });
  }

  async #leader(): Promise<ProcStat[]> {
    const stat = await procStat(this.pid);
    if (!stat || !isLive(stat)) return [];
    this.#startTicks ??= stat.startTicks;
    return stat.startTicks === this.#startTicks ? [stat] : [];
  }

  async #members(): Promise<ProcStat[]> {
    const leader = await this.#leader();
    const lists = await Promise.all([...this.#groups].map(groupMembers));
    return [...new Map([...leader, ...lists.flat()].map((stat) => [stat.pid, stat])).values()];
  }
}
