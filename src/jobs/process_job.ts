import { DeadlineError } from "../errors.ts";
import type { Registration } from "../scope/mod.ts";
import { milliseconds, registerOptions, type SignalLike, signalNumber } from "../values/mod.ts";
import { BaseJob, type JobSeed } from "./base_job.ts";
import { type DriverEvents, isStopped, type ProcessDriver, type ProcessExit } from "./driver.ts";
import { JobUnkillableError } from "./errors.ts";
import {
  DEFAULT_KILL_GRACE_MS,
  DEFAULT_KILL_MARGIN_MS,
  isTerminating,
  type KillPlan,
  killPlan,
  SIGCONT,
  SIGKILL,
  SIGSTOP,
} from "./kill_plan.ts";
import type { LogFile } from "./_log_file.ts";
import { exitOf } from "./result.ts";
import type { BackgroundOptions, JobResult, KillOptions, ProcInfo } from "./types.ts";

const DEFAULT_DRAIN_GRACE_MS = 500;
/** Longest wait for the end of output when no member is left that could write it. */
const MAX_DRAIN_MS = 10_000;
/** How long STOP and CONT may take to be seen. */
const CONFIRM_MS = 5_000;
/** How long an event about a stop is waited for before the members are looked at. */
const CONFIRM_LOOK_MS = 20;
/** How long a kill waits before it looks for members that are stopped. */
const STOPPED_LOOK_MS = 200;

/** The options of a job that concern what happens after its start. */
export type ProcessJobOptions = Pick<
  BackgroundOptions,
  "killSignal" | "killGrace" | "drainGrace" | "survivors" | "timeLimit" | "signal" | "keep"
>;

/** What a {@linkcode ProcessJob} is made of. */
export interface ProcessJobSeed extends JobSeed {
  driver: ProcessDriver;
  options: ProcessJobOptions;
  logFile?: LogFile;
}

const checkSignal = registerOptions<{ target?: "group" | "leader" }>("job.signal()", {
  target: ["group", "leader"],
});

/** A job that is a process, wherever it runs. */
export class ProcessJob extends BaseJob {
  readonly pid: number;
  readonly stdin?: WritableStream<Uint8Array>;
  #driver: ProcessDriver;
  #groups = new Set<number>();
  #defaults: { sig: number; graceMs: number };
  #drainMs: number;
  #policy: "kill" | "keep";
  #exit: ProcessExit | undefined;
  #survivors: ProcInfo[] = [];
  /** Whether it is known who outlived the leader. */
  #surveyed = false;
  #openStreams = new Set<"stdout" | "stderr">(["stdout", "stderr"]);
  #delivered = new Set<number>();
  #ending = false;
  #empty = false;
  /** Whether it is lost together with whoever could tell of it, or end what is left of it. */
  #unreachable = false;
  /** Whether its outcome is known; that may still have to be written before it is published. */
  #concluded = false;
  #forced = false;
  #released = false;
  #drainTimer: ReturnType<typeof setTimeout> | undefined;
  #limitTimer: ReturnType<typeof setTimeout> | undefined;
  #unlisten: (() => void) | undefined;
  #kills = new Set<Promise<unknown>>();
  #limits = new Set<AbortController>();
  #registration: Registration | undefined;
  #disposing: Promise<void> | undefined;
  #logFile: LogFile | undefined;

  constructor(seed: ProcessJobSeed) {
    super(seed);
    const { driver, options } = seed;
    this.#driver = driver;
    this.pid = driver.pid;
    this.noteProcess(driver);
    if (driver.stdin) this.stdin = driver.stdin;
    this.#defaults = {
      sig: options.killSignal === undefined ? 15 : signalNumber(options.killSignal),
      graceMs: milliseconds(options.killGrace ?? DEFAULT_KILL_GRACE_MS / 1000, { infinite: true }),
    };
    this.#drainMs = milliseconds(options.drainGrace ?? DEFAULT_DRAIN_GRACE_MS / 1000);
    this.#policy = options.survivors ?? "kill";
    this.#logFile = seed.logFile;
  }

  get pgids(): readonly number[] {
    return [...this.#groups, this.#driver.pgid];
  }

  /** Time that closing it may take, in milliseconds. */
  get closeLimitMs(): number {
    return this.#defaults.graceMs + DEFAULT_KILL_MARGIN_MS + 1_000;
  }

  /** Whether SIGKILL was needed, or asked for, to end it. */
  get forced(): boolean {
    return this.#forced;
  }

  /** Its live members. */
  members(): Promise<ProcInfo[]> {
    return this.#released ? Promise.resolve([]) : this.#driver.members();
  }

  /** Tells its terminal another size; harmless when it has ended. */
  async resize(size: { cols: number; rows: number }): Promise<void> {
    if (this.#released || this.isOver) return;
    await this.#driver.resize?.(size);
  }

  /** Takes the entry of its scope, to release it when nothing is left to close. */
  adopt(registration: Registration): void {
    this.#registration = registration;
    if (this.#released) registration.release();
  }

  /** Begins: from here on it reports, and its limits count. Only after it was attached to a table. */
  begin(options: ProcessJobOptions): void {
    this.#logFile?.follow(this.stdout, this.stderr);
    const events: DriverEvents = {
      output: (stream, chunk) => this[stream].write(chunk),
      outputEnded: (stream) => this.#streamEnded(stream),
      exited: (exit) => this.#exited(exit),
      emptied: () => this.#emptied(),
      stopped: () => this.markStopped(true),
      continued: () => this.markStopped(false),
      lost: (error, { reachable = false } = {}) => {
        if (!this.#concluded) this.#unreachable = !reachable;
        this.#conclude({ error });
      },
    };
    this.#driver.start(events);
    if (this.isOver) return;
    if (options.timeLimit !== undefined) {
      const limitMs = milliseconds(options.timeLimit);
      this.#limitTimer = setTimeout(() => this.#killQuietly(), limitMs);
    }
    const { signal } = options;
    if (signal) {
      const aborted = () => this.#killQuietly();
      this.#unlisten = () => signal.removeEventListener("abort", aborted);
      if (signal.aborted) aborted();
      else signal.addEventListener("abort", aborted, { once: true });
    }
  }

  async kill(options?: SignalLike | KillOptions): Promise<JobResult> {
    const plan = killPlan(options, this.#defaults);
    if (this.#unreachable && this.isOver) throw this.lostError();
    if (this.isOver) {
      if (!this.#released) await this.#endMembers(plan);
      return this.snapshot();
    }
    this.#ending = true;
    const work = this.#endMembers(plan);
    this.#kills.add(work);
    work.finally(() => this.#kills.delete(work)).catch(() => {}); // The caller gets the error below.
    if (!plan.wait) return await this.poll();
    await work;
    // An adopted process is gone now, although nobody can tell its exit code: that is no failure of the kill.
    await this.#untilOver();
    return this.snapshot();
  }

  async signal(
    signal: SignalLike,
    options: { target?: "group" | "leader" } = {},
  ): Promise<boolean> {
    checkSignal(options);
    const sig = signalNumber(signal);
    if (this.isOver) return false;
    await this.#send(sig, options.target ?? "group");
    return true;
  }

  stop(): Promise<boolean> {
    return this.#confirm(SIGSTOP, "stopped");
  }

  resume(): Promise<boolean> {
    return this.#confirm(SIGCONT, "running");
  }

  cancel(_reason?: unknown): boolean {
    if (this.isOver || this.#ending) return false;
    this.#killQuietly();
    return true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposing ??= this.#dispose();
  }

  override addPgid(pgid: number): void {
    if (pgid === this.#driver.pgid) return;
    this.#groups.add(pgid);
    this.#driver.addGroup?.(pgid);
  }

  protected override refresh(): Promise<void> {
    return this.isOver ? Promise.resolve() : this.#driver.refresh();
  }

  protected override watchStops(): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let ended = false;
    const look = async () => {
      await this.refresh();
      if (!ended && !this.isOver) timer = setTimeout(look, 250);
    };
    if (this.#driver.mustLookForStops) look();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }

  async #dispose(): Promise<void> {
    if (!this.isOver) {
      this.#ending = true;
      await this.#endMembers(killPlan(undefined, this.#defaults));
      await this.#untilOver();
    } else if (!this.#released && this.#policy === "kill") {
      await this.#endMembers(killPlan(undefined, this.#defaults));
    }
    this.#release();
    await Promise.allSettled(this.#kills);
  }

  /** The kill sequence: signal, continue what is stopped, grace, SIGKILL, and nobody may be left. */
  async #endMembers(plan: KillPlan): Promise<void> {
    try {
      const first = plan.graceMs === 0 ? SIGKILL : plan.sig;
      await this.#send(first, plan.target);
      if (this.state === "stopped" && first !== SIGKILL) await this.#send(SIGCONT, plan.target);
      if (first !== SIGKILL) {
        const lookMs = Math.min(plan.graceMs, STOPPED_LOOK_MS);
        if (await this.#emptyWithin(lookMs)) return;
        const members = await this.#driver.members();
        if (members.some(({ state }) => state === "T")) await this.#send(SIGCONT, "group");
        if (await this.#emptyWithin(plan.graceMs - lookMs)) return;
        await this.#send(SIGKILL, "group");
      }
      if (await this.#emptyWithin(plan.marginMs)) return;
      const survivors = await this.#driver.members();
      // On a busy machine they may have ended without being looked at in time.
      if (survivors.length === 0) return this.#emptied();
      throw new JobUnkillableError(this.id, this.command, survivors, {
        expected: `no process ${plan.marginMs} ms after SIGKILL`,
      });
    } catch (error) {
      if (error instanceof JobUnkillableError || !this.#unreachable) throw error;
      throw this.lostError();
    }
  }

  async #emptyWithin(ms: number): Promise<boolean> {
    if (this.#empty) return true;
    if (this.#unreachable) throw this.lostError();
    const limit = new AbortController();
    const timer = ms === Infinity ? undefined : setTimeout(() => limit.abort(limit), ms);
    const stopWatch = this.watch(() => this.#unreachable && limit.abort(this.lostError()));
    this.#limits.add(limit);
    try {
      await this.#driver.whenEmpty(limit.signal);
      this.#emptied();
      return true;
    } catch (error) {
      if (error === limit) return this.#empty;
      throw error;
    } finally {
      clearTimeout(timer);
      stopWatch();
      this.#limits.delete(limit);
    }
  }

  /** Sends a signal, and remembers it if it reached a leader that had not ended. */
  async #send(sig: number, target: "group" | "leader"): Promise<void> {
    if (this.#released) return;
    if (sig === SIGKILL) this.#forced = true;
    const before = this.#exit === undefined;
    // Remembered before the answer: the exit that it causes may overtake that.
    if (before) this.#delivered.add(sig);
    const reached = await this.#driver.signal(sig, target);
    if (before && reached === 0) this.#delivered.delete(sig);
  }

  async #confirm(sig: number, wanted: "stopped" | "running"): Promise<boolean> {
    if (this.isOver) return false;
    if (this.state === wanted && wanted === "running") await this.refresh();
    await this.#send(sig, "group");
    const seen = await this.#changedTo(wanted);
    if (!seen) {
      throw new DeadlineError(`Cannot see job ${this.id} ${wanted}`, {
        expected: `state "${wanted}" within ${CONFIRM_MS / 1000} s`,
        actual: `state "${this.state}"`,
      });
    }
    return !this.isOver;
  }

  async #changedTo(wanted: "stopped" | "running"): Promise<boolean> {
    const deadline = performance.now() + CONFIRM_MS;
    while (!this.isOver && this.state !== wanted) {
      if (performance.now() >= deadline) return false;
      const { promise, resolve } = Promise.withResolvers<void>();
      const stopWatch = this.watch(resolve);
      const timer = setTimeout(resolve, CONFIRM_LOOK_MS);
      await promise;
      clearTimeout(timer);
      stopWatch();
      if (this.isOver || this.state === wanted) break;
      const members = await this.#driver.members();
      if (members.length > 0) this.markStopped(isStopped(members));
    }
    return true;
  }

  #streamEnded(stream: "stdout" | "stderr"): void {
    this[stream].close();
    this.#openStreams.delete(stream);
    if (this.#exit && this.#openStreams.size === 0) this.#conclude();
  }

  #exited(exit: ProcessExit): void {
    this.#exit = exit;
    if (exit.alive === 0 && !this.#empty) this.#emptied();
    const looking = exit.alive > 0 ? this.#driver.members() : Promise.resolve([]);
    looking.then((members) => this.#survivors = members, () => {}).then(() => {
      this.#surveyed = true;
      if (this.#openStreams.size === 0) return this.#conclude();
      this.#drain();
    });
  }

  /** Waits for the end of output: as long as it takes if nobody is left to hold the pipe, else for the grace. */
  #drain(): void {
    clearTimeout(this.#drainTimer);
    const limitMs = this.#empty ? MAX_DRAIN_MS : this.#drainMs;
    this.#drainTimer = setTimeout(() => this.#conclude(), limitMs);
  }

  #emptied(): void {
    if (this.#empty) return;
    this.#empty = true;
    for (const limit of this.#limits) limit.abort(limit); // One of several kills saw it: the others need not look.
    if (this.#surveyed && !this.isOver && this.#openStreams.size > 0) this.#drain();
    if (this.#concluded) this.#release();
  }

  #conclude(lost?: { error: unknown }): void {
    if (this.#concluded || (!lost && !this.#surveyed)) return;
    this.#concluded = true;
    clearTimeout(this.#drainTimer);
    clearTimeout(this.#limitTimer);
    this.#unlisten?.();
    const outputComplete = this.#openStreams.size === 0;
    if (!outputComplete) this.#driver.discardOutput();
    const survivors = this.#survivors;
    if (this.#exit) {
      const { exitCode, signal } = exitOf(this.#exit);
      const state = exitCode === 0 ? "done" : this.#wasKilled() ? "killed" : "failed";
      this.finish({ state, exitCode, signal, outputComplete, survivors });
    } else {
      this.finish({ state: "lost", exitCode: -1, outputComplete, error: lost?.error });
    }
    this.#logFile?.close();
    if (this.#empty || this.#unreachable) this.#release();
  }

  #wasKilled(): boolean {
    const { sig } = this.#exit!;
    if (sig && this.#delivered.has(sig)) return true;
    return this.#ending && this.#delivered.size > 0 || [...this.#delivered].some(isTerminating);
  }

  async #untilOver(): Promise<void> {
    if (this.isOver) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const stopWatch = this.watch(() => this.isOver && resolve());
    await promise;
    stopWatch();
  }

  #killQuietly(): void {
    this.kill().catch(() => {}); // Whoever waits for the job learns how it ended; disposal reports survivors.
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#driver.release();
    // Until the last kill has ended, the scope has something to wait for.
    if (this.#kills.size === 0) this.#registration?.release();
    else Promise.allSettled(this.#kills).then(() => this.#registration?.release());
  }
}
