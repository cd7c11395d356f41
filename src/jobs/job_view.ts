import type { Duration, SignalLike } from "../values/mod.ts";
import { milliseconds, registerOptions } from "../values/mod.ts";
import { BelljarError } from "../errors.ts";
import { bindToScope, ownOrCurrentSignal } from "../scope/mod.ts";
import type { BaseJob } from "./base_job.ts";
import { JobNotFoundError, JobStoppedError } from "./errors.ts";
import type { OutputBuffer } from "./output_buffer.ts";
import { isTerminal } from "./result.ts";
import type {
  Job,
  JobId,
  JobInfo,
  JobOrigin,
  JobResult,
  JobState,
  JobStatus,
  KillOptions,
} from "./types.ts";

/** Which jobs {@linkcode JobView.list} lists. */
export interface JobFilter {
  state?: JobState | JobState[];
  origin?: JobOrigin["kind"];
  vm?: string;
  scope?: string;
}

/** Options for waits on jobs of a view. */
export interface ViewWaitOptions {
  timeout?: Duration;
  signal?: AbortSignal;
}

/** What {@linkcode JobView.waitAll} found. */
export interface WaitAllResult {
  /** Finished jobs, in the order in which they ended. */
  results: JobResult[];
  /** Stopped jobs: they were not waited for. */
  stopped: JobId[];
  /** Jobs that were still running when the time was over. */
  pending: JobId[];
}

/** Told of every change: the job as it is now, and its state before (`undefined` for a new job). */
export type JobListener = (info: JobInfo, previous: JobState | undefined) => void;

/** The jobs of a table, or a part of them. Everything that needs no process is synchronous. */
export interface JobView extends Iterable<JobInfo> {
  /** Facts about its jobs, by ascending number. */
  list(filter?: JobFilter): JobInfo[];
  listIds(): JobId[];
  exists(id: JobId): boolean;
  get(id: JobId): JobInfo | undefined;
  /** @throws {JobNotFoundError} If there is no such job. */
  job(id: JobId): Job;
  getCommand(id: JobId): string | undefined;
  getStatus(id: JobId): JobStatus | undefined;
  runningCount(): number;
  stoppedCount(): number;
  /** The job that was stopped last and still is. */
  lastStopped(): JobId | undefined;
  /** Retained output; `undefined` only if there is no such job. */
  readStdout(id: JobId): Uint8Array | undefined;
  readStderr(id: JobId): Uint8Array | undefined;
  streams(id: JobId): { stdout: OutputBuffer; stderr: OutputBuffer } | undefined;
  /** The outcome; `undefined` until there is one. */
  tryResult(id: JobId): JobResult | undefined;
  /** Process and group of a job that is a process. */
  getProcessInfo(id: JobId): { pid: number; pgid: number } | undefined;
  jobPgids(id: JobId): number[];
  /**
   * Waits for one job; when the time is over the result says `running: true`.
   *
   * @throws {JobNotFoundError} If there is no such job.
   * @throws {JobLostError} If it was lost.
   */
  wait(id: JobId, options?: ViewWaitOptions): Promise<JobResult>;
  /** Waits until no job runs; stopped ones are not waited for. */
  waitAll(options?: ViewWaitOptions): Promise<WaitAllResult>;
  /** Waits for whichever ends first; when the time is over, the first that still runs is returned with `running: true`. */
  waitAny(ids?: JobId[], options?: ViewWaitOptions): Promise<JobResult>;
  /** Every outcome in the order of the ends, also of jobs that are added later, until none is running. */
  completions(options?: { signal?: AbortSignal }): AsyncIterable<JobResult>;
  kill(id: JobId, options?: SignalLike | KillOptions): Promise<JobResult>;
  /** Kills everything that runs, all at once. */
  killAll(options?: KillOptions): Promise<JobResult[]>;
  /** The view as a tree of files: `""` lists numbers, `"3"` its files, `"3/stdout"` reads one. */
  node(path: string): Uint8Array | string[] | undefined;
  /** Calls `fn` after every change, until the returned object is disposed. */
  onChange(fn: JobListener): Disposable;
}

/** What a view looks at. */
export interface JobStore {
  /** Its jobs by ascending number. */
  all(): Iterable<BaseJob>;
  find(id: JobId): BaseJob | undefined;
  listen(fn: (job: BaseJob, previous: JobState | undefined) => void): Disposable;
}

const checkFilter = registerOptions<JobFilter>("jobs.list()", {
  state: stateOption,
  origin: ["guest", "host", "task"],
  vm: "string",
  scope: "string",
});
const checkWait = registerOptions<ViewWaitOptions>("jobs.wait()", {
  timeout: "durationOrInfinity",
  signal: "abortSignal",
});
const checkCompletions = registerOptions<{ signal?: AbortSignal }>("jobs.completions()", {
  signal: "abortSignal",
});

const STATES: JobState[] = ["running", "stopped", "done", "failed", "killed", "lost"];

function stateOption(value: unknown, name: string): void {
  for (const state of [value].flat()) {
    if (STATES.includes(state as JobState)) continue;
    throw new TypeError(`Option ${name} must be one of ${STATES.join(", ")}, got ${String(state)}`);
  }
}

const NODE_NAMES = ["status", "command", "stdout", "stderr"];

/** A view of the jobs of a store that pass a test. */
export class View implements JobView {
  #store: JobStore;
  #includes: (job: BaseJob) => boolean;

  constructor(store: JobStore, includes: (job: BaseJob) => boolean = () => true) {
    this.#store = store;
    this.#includes = includes;
  }

  *[Symbol.iterator](): Iterator<JobInfo> {
    yield* this.list();
  }

  list(filter: JobFilter = {}): JobInfo[] {
    checkFilter(filter);
    const { state, origin, vm, scope } = filter;
    return this.#jobs().filter((job) =>
      (state === undefined || [state].flat().includes(job.state)) &&
      (origin === undefined || job.origin.kind === origin) &&
      (vm === undefined || (job.origin.kind === "guest" && job.origin.vm === vm)) &&
      (scope === undefined || job.scopeName === scope)
    ).map((job) => job.info());
  }

  listIds(): JobId[] {
    return this.#jobs().map(({ id }) => id);
  }

  exists(id: JobId): boolean {
    return this.#find(id) !== undefined;
  }

  get(id: JobId): JobInfo | undefined {
    return this.#find(id)?.info();
  }

  job(id: JobId): BaseJob {
    const job = this.#find(id);
    if (!job) throw new JobNotFoundError(id);
    return job;
  }

  getCommand(id: JobId): string | undefined {
    return this.#find(id)?.command;
  }

  getStatus(id: JobId): JobStatus | undefined {
    return this.#find(id)?.status;
  }

  runningCount(): number {
    return this.#jobs().filter(({ state }) => state === "running").length;
  }

  stoppedCount(): number {
    return this.#jobs().filter(({ state }) => state === "stopped").length;
  }

  lastStopped(): JobId | undefined {
    const stopped = this.#jobs().filter(({ state }) => state === "stopped");
    return stopped.sort((a, b) => a.stoppedAtMs - b.stoppedAtMs || a.id - b.id).at(-1)?.id;
  }

  readStdout(id: JobId): Uint8Array | undefined {
    return this.#find(id)?.stdout.bytes();
  }

  readStderr(id: JobId): Uint8Array | undefined {
    return this.#find(id)?.stderr.bytes();
  }

  streams(id: JobId): { stdout: OutputBuffer; stderr: OutputBuffer } | undefined {
    const job = this.#find(id);
    return job && { stdout: job.stdout, stderr: job.stderr };
  }

  tryResult(id: JobId): JobResult | undefined {
    return this.#find(id)?.result();
  }

  getProcessInfo(id: JobId): { pid: number; pgid: number } | undefined {
    return this.#find(id)?.processInfo();
  }

  jobPgids(id: JobId): number[] {
    return [...this.#find(id)?.pgids ?? []];
  }

  async wait(id: JobId, options: ViewWaitOptions = {}): Promise<JobResult> {
    checkWait(options);
    const { timeout, signal } = options;
    return await this.job(id).wait(timeout, { signal });
  }

  async waitAll(options: ViewWaitOptions = {}): Promise<WaitAllResult> {
    checkWait(options);
    // Kept from here on, so that what a table forgets meanwhile is still returned.
    const jobs = this.#jobs();
    await waitFor(jobs, () => !jobs.some(({ state }) => state === "running"), options);
    const ended = jobs.filter((job) => job.isOver);
    return {
      results: ended.sort((a, b) => a.endMs - b.endMs || a.id - b.id).map((job) => job.snapshot()),
      stopped: jobs.filter(({ state }) => state === "stopped").map(({ id }) => id),
      pending: jobs.filter(({ state }) => state === "running").map(({ id }) => id),
    };
  }

  async waitAny(ids?: JobId[], options: ViewWaitOptions = {}): Promise<JobResult> {
    checkWait(options);
    const jobs = ids ? ids.map((id) => this.job(id)) : this.#jobs();
    if (jobs.length === 0) {
      throw new BelljarError("Cannot wait for any job: there is none", { code: "NO_JOBS" });
    }
    const stuck = () => jobs.every(({ state }) => state === "stopped");
    const unlimited = options.timeout === undefined;
    await waitFor(jobs, () => jobs.some((job) => job.isOver) || (unlimited && stuck()), options);
    if (unlimited && stuck()) throw new JobStoppedError(jobs[0]!.id, jobs[0]!.command);
    const ended = jobs.filter((job) => job.isOver);
    const first = ended.sort((a, b) => a.endMs - b.endMs || a.id - b.id)[0];
    if (first?.state === "lost") throw first.lostError();
    return (first ?? jobs.find(isLive)!).snapshot();
  }

  async *completions(options: { signal?: AbortSignal } = {}): AsyncGenerator<JobResult> {
    checkCompletions(options);
    const signal = ownOrCurrentSignal(options.signal);
    signal?.throwIfAborted();
    const ready = this.#jobs().filter((job) => job.isOver).sort((a, b) => a.endMs - b.endMs);
    let wake = () => {};
    using _listening = this.#store.listen((job, previous) => {
      if (!this.#includes(job)) return;
      if (job.isOver && previous !== undefined) ready.push(job);
      wake();
    });
    const aborted = () => wake();
    signal?.addEventListener("abort", aborted, { once: true });
    try {
      while (true) {
        while (ready.length > 0) yield ready.shift()!.snapshot();
        signal?.throwIfAborted();
        if (!this.#jobs().some(({ state }) => state === "running")) return;
        await new Promise<void>((resolve) => wake = resolve);
      }
    } finally {
      signal?.removeEventListener("abort", aborted);
    }
  }

  async kill(id: JobId, options?: SignalLike | KillOptions): Promise<JobResult> {
    return await this.job(id).kill(options);
  }

  async killAll(options?: KillOptions): Promise<JobResult[]> {
    const running = this.#jobs().filter(isLive);
    return await allOrThrow(running.map((job) => job.kill(options)));
  }

  node(path: string): Uint8Array | string[] | undefined {
    if (path === "") return this.listIds().map(String);
    const [number, name, ...rest] = path.split("/");
    if (!/^[1-9]\d*$/.test(number!) || rest.length > 0) return undefined;
    const job = this.#find(Number(number));
    if (!job) return undefined;
    const encode = (text: string) => new TextEncoder().encode(`${text}\n`);
    switch (name) {
      case undefined:
        return [...NODE_NAMES];
      case "status":
        return encode(job.status);
      case "command":
        return encode(job.command);
      case "stdout":
        return job.stdout.bytes();
      case "stderr":
        return job.stderr.bytes();
      default:
        return undefined;
    }
  }

  onChange(fn: JobListener): Disposable {
    if (typeof fn !== "function") {
      throw new TypeError(
        `jobs.onChange() takes a function, got ${fn === null ? "null" : typeof fn}`,
      );
    }
    const bound = bindToScope(fn);
    return this.#store.listen((job, previous) => {
      if (this.#includes(job)) bound(job.info(), previous);
    });
  }

  #jobs(): BaseJob[] {
    return [...this.#store.all()].filter(this.#includes);
  }

  #find(id: JobId): BaseJob | undefined {
    const job = this.#store.find(id);
    return job && this.#includes(job) ? job : undefined;
  }
}

function isLive(job: BaseJob): boolean {
  return !isTerminal(job.state);
}

/** Waits until `done` holds, which is looked at after every change of one of the jobs; or until the time is over. */
function waitFor(
  jobs: readonly BaseJob[],
  done: () => boolean,
  options: ViewWaitOptions,
): Promise<void> {
  const { timeout } = options;
  const signal = ownOrCurrentSignal(options.signal);
  if (signal?.aborted) return Promise.reject(signal.reason);
  const limitMs = timeout === undefined ? Infinity : milliseconds(timeout, { infinite: true });
  if (limitMs === 0 || done()) return Promise.resolve();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const end = (action: () => void) => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    for (const stop of stops) stop();
    action();
  };
  const abort = () => end(() => reject(signal!.reason));
  const stops = jobs.map((job) => job.watch(() => done() && end(resolve)));
  if (limitMs !== Infinity) {
    timer = setTimeout(() => end(resolve), Math.min(limitMs, 2 ** 31 - 1));
  }
  signal?.addEventListener("abort", abort, { once: true });
  return promise;
}

/** All results, or the first error once every one has settled. */
export async function allOrThrow<T>(promises: Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(promises);
  const errors = settled.flatMap((one) => one.status === "rejected" ? [one.reason] : []);
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) {
    throw new AggregateError(errors, `${errors.length} of ${settled.length} failed`);
  }
  return settled.map((one) => (one as PromiseFulfilledResult<T>).value);
}
