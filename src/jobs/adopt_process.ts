import { pause } from "../host/mod.ts";
import type { Scope } from "../scope/mod.ts";
import { checkValue, signalNumber } from "../values/mod.ts";
import type { BaseJob, JobSeed } from "./base_job.ts";
import type { DriverEvents, ProcessDriver, SignalTarget } from "./driver.ts";
import { HostMembers, procInfo } from "./host_members.ts";
import { ProcessJob, type ProcessJobOptions } from "./process_job.ts";
import { registerJob } from "./register_job.ts";
import type { Job, ProcInfo } from "./types.ts";
import type { AdoptedProcess } from "./job_table_types.ts";

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
  #members: HostMembers;
  #events: DriverEvents | undefined;
  #released = new AbortController();

  constructor(process: AdoptedProcess) {
    this.pid = process.pid;
    this.pgid = process.pgid;
    this.#exit = process.exit;
    this.#members = new HostMembers({ pid: process.pid, pgid: process.pgid });
  }

  start(events: DriverEvents): void {
    this.#events = events;
    events.outputEnded("stdout");
    events.outputEnded("stderr");
    if (this.#exit) this.#follow(this.#exit);
    else this.#look();
  }

  addGroup(pgid: number): void {
    this.#members.addGroup(pgid);
  }

  signal(sig: number, target: SignalTarget): Promise<number> {
    return this.#members.signal(sig, target);
  }

  async members(): Promise<ProcInfo[]> {
    return (await this.#members.list()).map(procInfo);
  }

  whenEmpty(signal: AbortSignal): Promise<void> {
    return this.#members.whenEmpty(signal);
  }

  async refresh(): Promise<void> {
    const state = await this.#members.state();
    if (state === "stopped") this.#events?.stopped();
    else if (state === "running") this.#events?.continued();
  }

  discardOutput(): void {}

  release(): void {
    this.#released.abort();
  }

  async #follow(exit: NonNullable<AdoptedProcess["exit"]>): Promise<void> {
    try {
      const { code, signal } = await exit;
      const alive = (await this.#members.list()).length;
      this.#events!.exited({ ...signal ? { sig: signalNumber(signal) } : { code }, alive });
    } catch (error) {
      this.#events!.lost(error);
    }
  }

  async #look(): Promise<void> {
    const { signal } = this.#released;
    try {
      while (await this.#members.leader()) await pause(LOOK_MS, signal);
      const isLast = (await this.#members.list()).length === 0;
      if (isLast) this.#events!.emptied();
      const why = new Error(`Process ${this.pid} ended, and only its parent knows how`);
      // Reachable: a kill that is in progress goes on until the whole group is gone.
      this.#events!.lost(why, { reachable: true });
    } catch (error) {
      if (!signal.aborted) this.#events!.lost(error);
    }
  }
}
