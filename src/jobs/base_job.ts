import { milliseconds, registerOptions, type SignalLike } from "../values/mod.ts";
import type { Duration } from "../values/mod.ts";
import { ownOrCurrentSignal, type Scope } from "../scope/mod.ts";
import { JobLostError, JobStoppedError } from "./errors.ts";
import { OutputBuffer } from "./output_buffer.ts";
import { isTerminal, Result, statusOf } from "./result.ts";
import type {
  BufferSizes,
  Job,
  JobId,
  JobInfo,
  JobOrigin,
  JobResult,
  JobState,
  JobStatus,
  JobWaitOptions,
  KillOptions,
  ProcInfo,
} from "./types.ts";

/** What a job is made of. */
export interface JobSeed {
  command: string;
  name?: string;
  origin: JobOrigin;
  /** The scope that started it. */
  scope: Scope;
  /** How listings call that scope; its name when missing. */
  scopeName?: string;
  buffer?: BufferSizes;
}

/** What a table does for its jobs. */
export interface JobKeeper {
  /** Called after every change of state. */
  changed(job: BaseJob, previous: JobState | undefined): void;
  /** Writes the output to a file before the end is published, if that is wanted. */
  persist(job: BaseJob, final: JobResult): Promise<string | undefined> | undefined;
}

/** How a job ended. */
export interface JobEnd {
  state: "done" | "failed" | "killed" | "lost";
  exitCode: number;
  signal?: Deno.Signal | null;
  outputComplete?: boolean;
  survivors?: ProcInfo[];
  /** Why it was lost. */
  error?: unknown;
}

const checkWait = registerOptions<JobWaitOptions>("job.wait()", {
  kill: "boolean",
  signal: "abortSignal",
  throughStop: "boolean",
});

/** State, waits and results, which are the same for every kind of job. */
export abstract class BaseJob implements Job {
  readonly command: string;
  readonly name?: string;
  readonly origin: JobOrigin;
  readonly stdout: OutputBuffer;
  readonly stderr: OutputBuffer;
  readonly startedAt: Date = new Date();
  /** The scope that started it. */
  readonly scope: Scope;
  readonly scopeName: string;
  #id = 0;
  #keeper: JobKeeper | undefined;
  #startMs = performance.now();
  #state: JobState = "running";
  #stoppedAtMs = 0;
  #end: JobEnd | undefined;
  #finishing = false;
  #finishedAt: Date | undefined;
  #endMs = 0;
  #outputFile: string | undefined;
  #process: { pid: number; pgid: number } | undefined;
  #watchers = new Set<() => void>();

  constructor(seed: JobSeed) {
    this.command = seed.command;
    if (seed.name !== undefined) this.name = seed.name;
    this.origin = seed.origin;
    this.scope = seed.scope;
    this.scopeName = seed.scopeName ?? seed.scope.name;
    const { stdout, stderr, headBytes } = seed.buffer ?? {};
    this.stdout = new OutputBuffer({ maxSize: stdout, headBytes, name: "stdout" });
    this.stderr = new OutputBuffer({ maxSize: stderr, headBytes, name: "stderr" });
  }

  get id(): JobId {
    return this.#id;
  }

  get state(): JobState {
    return this.#state;
  }

  get status(): JobStatus {
    return statusOf(this.#state, this.#end?.exitCode ?? -1);
  }

  /** Whether it has an outcome. */
  get isOver(): boolean {
    return isTerminal(this.#state);
  }

  /** Process and group, if it is a process. */
  processInfo(): { pid: number; pgid: number } | undefined {
    return this.#process;
  }

  /** Keeps book of a process that stands for it. */
  noteProcess(process: { pid: number; pgid: number }): void {
    this.#process = { pid: process.pid, pgid: process.pgid };
  }

  /** Keeps book of a stop or of its end; the real process is somebody else's business. */
  noteStopped(stopped: boolean): boolean {
    if (this.isOver) return false;
    this.markStopped(stopped);
    return true;
  }

  /** Adds a process group that belongs to it. */
  abstract addPgid(pgid: number): void;

  /** Says which controller ends it; only tasks take one. */
  setCancel(_controller: AbortController): boolean {
    return false;
  }

  /** Why it was lost. */
  get error(): unknown {
    return this.#end?.error;
  }

  /** Clock of `performance.now()` at its last stop. */
  get stoppedAtMs(): number {
    return this.#stoppedAtMs;
  }

  /** Clock of `performance.now()` at its end. */
  get endMs(): number {
    return this.#endMs;
  }

  abstract readonly pid: number | undefined;
  abstract readonly pgids: readonly number[];
  abstract kill(options?: SignalLike | KillOptions): Promise<JobResult>;
  abstract signal(
    signal: SignalLike,
    options?: { target?: "group" | "leader" },
  ): Promise<boolean>;
  abstract stop(): Promise<boolean>;
  abstract resume(): Promise<boolean>;
  abstract cancel(reason?: unknown): boolean;
  abstract [Symbol.asyncDispose](): Promise<void>;

  /** Enters a table under a number. */
  attach(id: JobId, keeper: JobKeeper): void {
    this.#id = id;
    this.#keeper = keeper;
    keeper.changed(this, undefined);
  }

  async wait(timeout?: Duration, options: JobWaitOptions = {}): Promise<JobResult> {
    checkWait(options);
    const limitMs = timeout === undefined
      ? Infinity
      : milliseconds(timeout, { infinite: true, name: "timeout of job.wait()" });
    const { throughStop } = options;
    const signal = ownOrCurrentSignal(options.signal);
    signal?.throwIfAborted();
    const refuseStop = limitMs === Infinity && !throughStop;
    const { promise, resolve, reject } = Promise.withResolvers<JobResult>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let endWatch: (() => void) | undefined;
    const settle = (action: () => void) => {
      this.#watchers.delete(look);
      clearTimeout(timer);
      endWatch?.();
      signal?.removeEventListener("abort", abort);
      action();
    };
    const abort = () => settle(() => reject(signal!.reason));
    const look = () => {
      if (this.isOver) return settle(() => this.#settleOver(resolve, reject));
      if (refuseStop && this.#state === "stopped") {
        settle(() => reject(new JobStoppedError(this.#id, this.command)));
      }
    };
    if (limitMs !== Infinity) {
      const expire = () => settle(() => this.#expire(options).then(resolve, reject));
      if (limitMs === 0 && !this.isOver) return await this.#expire(options);
      timer = setTimeout(expire, Math.min(limitMs, 2 ** 31 - 1));
    }
    this.#watchers.add(look);
    signal?.addEventListener("abort", abort, { once: true });
    if (refuseStop && !this.isOver) endWatch = this.watchStops();
    look();
    return await promise;
  }

  async poll(): Promise<JobResult> {
    await this.refresh();
    return this.snapshot();
  }

  /** How it stands now, without its output: looking at it costs nothing, whatever it has printed. */
  async look(): Promise<Pick<JobResult, "state" | "exitCode" | "signal">> {
    await this.refresh();
    const { exitCode = -1, signal = null } = this.isOver ? this.#end! : {};
    return { state: this.#state, exitCode, signal };
  }

  result(): JobResult | undefined {
    return this.isOver ? this.snapshot() : undefined;
  }

  /** How it stands now, with the retained output. */
  snapshot(): JobResult {
    const out = this.stdout.retained();
    const err = this.stderr.retained();
    const endMs = this.#finishedAt ? this.#endMs : performance.now();
    return new Result({
      id: this.#id,
      command: this.command,
      state: this.#state,
      exitCode: this.isOver ? this.#end!.exitCode : -1,
      signal: this.isOver ? this.#end!.signal ?? null : null,
      stdout: out.text,
      stderr: err.text,
      stdoutBytes: out.bytes,
      stderrBytes: err.bytes,
      truncated: { stdout: out.evicted, stderr: err.evicted },
      outputComplete: this.#end?.outputComplete ?? this.isOver,
      survivors: [...this.#end?.survivors ?? []],
      startedAt: this.startedAt,
      finishedAt: this.#finishedAt,
      elapsed: Math.round(endMs - this.#startMs) / 1000,
      outputFile: this.#outputFile,
    });
  }

  info(): JobInfo {
    const info: JobInfo = {
      id: this.#id,
      command: this.command,
      state: this.#state,
      status: this.status,
      origin: this.origin,
      scope: this.scopeName,
      pgids: [...this.pgids],
      startedAt: this.startedAt,
      stdout: this.stdout.stats(),
      stderr: this.stderr.stats(),
    };
    if (this.name !== undefined) info.name = this.name;
    if (this.pid !== undefined) info.pid = this.pid;
    if (this.isOver && this.#state !== "lost") info.exitCode = this.#end!.exitCode;
    if (this.isOver && this.#end!.signal) info.signal = this.#end!.signal;
    if (this.#finishedAt) info.finishedAt = this.#finishedAt;
    if (this.#outputFile !== undefined) info.outputFile = this.#outputFile;
    return info;
  }

  /** The error that waits on a lost job reject with. */
  lostError(): JobLostError {
    return new JobLostError(this.#id, this.command, this.#end?.error);
  }

  /** Calls `look` after every change of state, until the returned function is called. */
  watch(look: () => void): () => void {
    this.#watchers.add(look);
    return () => this.#watchers.delete(look);
  }

  /** Looks at the real state, where nobody reports it. */
  protected refresh(): Promise<void> {
    return Promise.resolve();
  }

  /** Sees to it that a stop is noticed, where nobody reports it, until the returned function is called. */
  protected watchStops(): () => void {
    return () => {};
  }

  /** Changes between running and stopped; ignored when it is over. */
  protected markStopped(stopped: boolean): void {
    const next = stopped ? "stopped" : "running";
    if (this.isOver || this.#finishing || this.#state === next) return;
    const previous = this.#state;
    this.#state = next;
    if (stopped) this.#stoppedAtMs = performance.now();
    this.#announce(previous);
  }

  /** Ends it: closes the buffers, writes the file if that is wanted, and only then publishes the outcome. */
  protected finish(end: JobEnd): void {
    if (this.isOver || this.#finishing) return;
    this.#finishing = true;
    this.#end = end;
    this.stdout.close();
    this.stderr.close();
    this.#finishedAt = new Date();
    this.#endMs = performance.now();
    const writing = this.#keeper?.persist(this, this.#final(end));
    if (!writing) return this.#publish(end, undefined);
    writing.then((file) => this.#publish(end, file));
  }

  #final(end: JobEnd): JobResult {
    const now = this.snapshot();
    const { state, exitCode, signal = null } = end;
    return new Result({ ...now, state, exitCode, signal });
  }

  #publish(end: JobEnd, file: string | undefined): void {
    const previous = this.#state;
    this.#outputFile = file;
    this.#state = end.state;
    this.#announce(previous);
    this.#watchers.clear();
  }

  #announce(previous: JobState): void {
    for (const look of [...this.#watchers]) look();
    this.#keeper?.changed(this, previous);
  }

  #settleOver(resolve: (result: JobResult) => void, reject: (error: unknown) => void): void {
    if (this.#state === "lost") reject(this.lostError());
    else resolve(this.snapshot());
  }

  async #expire(options: JobWaitOptions): Promise<JobResult> {
    if (options.kill) return await this.kill();
    return this.snapshot();
  }
}
