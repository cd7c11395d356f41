import { currentScope, type Scope } from "../scope/mod.ts";
import { type Duration, milliseconds, registerOptions, seconds } from "../values/mod.ts";
import type { BaseJob, JobKeeper } from "./base_job.ts";
import { JobNotFoundError, JobStateError, JobUnkillableError } from "./errors.ts";
import { type JobStore, type JobView, View } from "./job_view.ts";
import { adoptProcess } from "./adopt_process.ts";
import { OutputStore } from "./output_store.ts";
import { registerJob } from "./register_job.ts";
import { isTerminal } from "./result.ts";
import { type JobIo, TaskJob, type TaskResult } from "./task_job.ts";
import type { BufferSizes, Job, JobId, JobInfo, JobResult, JobState, ProcInfo } from "./types.ts";

/** Options for jobs that a {@linkcode JobTable} is given. */
export interface JobOptions {
  /** Name for reports. */
  name?: string;
  /** Cancels it. */
  signal?: AbortSignal;
  /** Sizes of its buffers. */
  buffer?: BufferSizes;
  /** How listings call the scope that started it. @default {the name of the current scope} */
  scope?: string;
  /** Whether it outlives the current scope. @default {false} */
  keep?: boolean;
}

/** Options for {@linkcode createJobTable}. */
export interface JobTableOptions {
  /** Whether outputs are written to files. @default {true} */
  persistOutputFiles?: boolean;
  /** Folder for those files. */
  outputDir?: string;
  /** Seconds between the first signal and SIGKILL. @default {2} */
  killGrace?: Duration;
  /** How many finished jobs are remembered. @default {1000} */
  finishedRetention?: number;
  /** Bytes that the buffers of all finished jobs may hold. @default {67_108_864} */
  bufferBudget?: number;
}

/** A process that is taken over. */
export interface AdoptedProcess {
  pid: number;
  pgid: number;
  /** Whether it is stopped now. */
  stopped?: boolean;
  /** How it ends, if the caller is its parent; nobody else can know. */
  exit?: Promise<{ code: number; signal?: Deno.Signal | null }>;
}

/** What happened when a table was shut down. */
export interface ShutdownReport {
  results: JobResult[];
  /** What could not be ended. */
  unkillable: { id: JobId; survivors: ProcInfo[] }[];
  /** Seconds. */
  elapsed: number;
}

/** Jobs under one sequence of numbers: processes of guests and host, and tasks in this process. */
export interface JobTable extends JobView, AsyncDisposable {
  /** Number of the table in this process. */
  readonly sessionId: number;
  /** Runs `fn` as a job; it ends with what `fn` returns, and `signal` aborts when it is cancelled. */
  spawn(
    command: string,
    fn: (signal: AbortSignal, io: JobIo) => Promise<TaskResult>,
    options?: JobOptions,
  ): Job;
  /** Makes a promise a job; if it rejects the job is lost. */
  register(command: string, result: Promise<TaskResult>, options?: JobOptions): Job;
  /** As {@linkcode JobTable.register}, with output. */
  registerWithStreams(
    command: string,
    result: Promise<TaskResult>,
    stdout: ReadableStream<Uint8Array>,
    stderr: ReadableStream<Uint8Array>,
    options?: JobOptions,
  ): Job;
  /** Takes over a process of this host that somebody else started. */
  registerProcess(command: string, process: AdoptedProcess, options?: JobOptions): Job;
  /** Notes that a job is stopped; false if it has ended or is unknown. */
  stopJob(id: JobId, process?: { pid: number; pgid: number }): boolean;
  /** Notes that a job goes on. */
  resumeJob(id: JobId): boolean;
  /** Sets what cancels a registered job. */
  setCancel(id: JobId, controller: AbortController): boolean;
  /** Begins to end a job; true only for the call that began it. */
  cancel(id: JobId, reason?: unknown): boolean;
  /** Begins to end all; returns how many. */
  cancelAll(reason?: unknown): number;
  /** Adds a process group to a job. */
  addPgid(id: JobId, pgid: number): boolean;
  /**
   * Forgets a job.
   *
   * @throws {JobStateError} If it runs and `kill` is not set.
   */
  remove(id: JobId, options?: { kill?: boolean; keepFiles?: boolean }): Promise<boolean>;
  /** Forgets all finished jobs, and returns them. */
  cleanup(options?: { keepFiles?: boolean }): JobInfo[];
  /** Whether the outputs of jobs that are added from now on are written to files. */
  persistOutputFiles: boolean;
  /** Seconds between the first signal and SIGKILL. */
  killGrace: number;
  /** How many finished jobs are remembered. */
  finishedRetention: number;
  /** Ends everything at once. */
  shutdown(options?: { grace?: Duration }): Promise<ShutdownReport>;
  /** The jobs that `scope`, or a scope inside it, started. */
  viewOf(scope: Scope): JobView;
  /** The jobs of one machine. */
  viewOfMachine(vm: string): JobView;
}

const DEFAULT_RETENTION = 1_000;
const DEFAULT_BUDGET = 64 * 1024 * 1024;
const DRAIN_GRACE_MS = 500;

const checkTable = registerOptions<JobTableOptions>("createJobTable()", {
  persistOutputFiles: "boolean",
  outputDir: "string",
  killGrace: "duration",
  finishedRetention: "integer",
  bufferBudget: "integer",
});
const checkJob = registerOptions<JobOptions>("jobs.spawn()", {
  name: "string",
  signal: "abortSignal",
  buffer: "object",
  scope: "string",
  keep: "boolean",
});
const checkRemove = registerOptions<{ kill?: boolean; keepFiles?: boolean }>("jobs.remove()", {
  kill: "boolean",
  keepFiles: "boolean",
});
const checkCleanup = registerOptions<{ keepFiles?: boolean }>("jobs.cleanup()", {
  keepFiles: "boolean",
});
const checkShutdown = registerOptions<{ grace?: Duration }>("jobs.shutdown()", {
  grace: "durationOrInfinity",
});

let lastSession = 0;

/** The table itself; {@linkcode JobTable} is what the outside sees of it. */
export class Table extends View implements JobTable {
  readonly sessionId: number = ++lastSession;
  killGrace: number;
  finishedRetention: number;
  #budget: number;
  #lastId = 0;
  #entries: Entries;
  #output: OutputStore;
  #persisted = new WeakSet<BaseJob>();

  constructor(options: JobTableOptions = {}) {
    const entries = new Entries();
    super(entries);
    checkTable(options);
    this.#entries = entries;
    this.killGrace = seconds(options.killGrace ?? 2);
    this.finishedRetention = options.finishedRetention ?? DEFAULT_RETENTION;
    this.#budget = options.bufferBudget ?? DEFAULT_BUDGET;
    this.#output = new OutputStore({
      session: this.sessionId,
      dir: options.outputDir,
      enabled: options.persistOutputFiles ?? true,
    });
  }

  get persistOutputFiles(): boolean {
    return this.#output.enabled;
  }

  set persistOutputFiles(enabled: boolean) {
    this.#output.enabled = enabled;
  }

  /** Gives a job the next number. */
  enter(job: BaseJob): void {
    const id = ++this.#lastId;
    if (this.#output.enabled) this.#persisted.add(job);
    this.#entries.jobs.set(id, job);
    const keeper: JobKeeper = {
      persist: (ended, result) =>
        this.#persisted.has(ended) ? this.#output.write(result) : undefined,
      changed: (changed, previous) => {
        this.#entries.tell(changed, previous);
        if (changed.isOver) this.#forgetOldest();
      },
    };
    job.attach(id, keeper);
  }

  spawn(
    command: string,
    fn: (signal: AbortSignal, io: JobIo) => Promise<TaskResult>,
    options: JobOptions = {},
  ): Job {
    if (typeof fn !== "function") {
      throw new TypeError(`jobs.spawn() takes a function, got ${fn === null ? "null" : typeof fn}`);
    }
    const controller = new AbortController();
    const job = this.#task(command, options, controller);
    // A throw before the first await is a rejection like any other.
    job.follow((async () => await fn(controller.signal, job.io))());
    return job;
  }

  register(command: string, result: Promise<TaskResult>, options: JobOptions = {}): Job {
    const job = this.#task(command, options);
    job.follow(Promise.resolve(result));
    return job;
  }

  registerWithStreams(
    command: string,
    result: Promise<TaskResult>,
    stdout: ReadableStream<Uint8Array>,
    stderr: ReadableStream<Uint8Array>,
    options: JobOptions = {},
  ): Job {
    const job = this.#task(command, options);
    job.follow(Promise.resolve(result), drainInto(job, result, stdout, stderr));
    return job;
  }

  registerProcess(command: string, process: AdoptedProcess, options: JobOptions = {}): Job {
    checkJob(options);
    const { name, buffer, scope: scopeName, keep } = options;
    const scope = currentScope();
    return adoptProcess(process, {
      seed: { command, name, buffer, scope, scopeName, origin: { kind: "host" } },
      options: { signal: options.signal, killGrace: this.killGrace },
      registerIn: keep ? undefined : scope,
      enter: (job) => this.enter(job),
    });
  }

  stopJob(id: JobId, process?: { pid: number; pgid: number }): boolean {
    const job = this.#entries.find(id);
    if (!job || job.isOver) return false;
    if (process) job.noteProcess(process);
    return job.noteStopped(true);
  }

  resumeJob(id: JobId): boolean {
    return this.#entries.find(id)?.noteStopped(false) ?? false;
  }

  setCancel(id: JobId, controller: AbortController): boolean {
    if (!(controller instanceof AbortController)) {
      throw new TypeError(`jobs.setCancel() takes an AbortController, got ${typeof controller}`);
    }
    return this.#entries.find(id)?.setCancel(controller) ?? false;
  }

  cancel(id: JobId, reason?: unknown): boolean {
    return this.#entries.find(id)?.cancel(reason) ?? false;
  }

  cancelAll(reason?: unknown): number {
    return [...this.#entries.all()].filter((job) => job.cancel(reason)).length;
  }

  addPgid(id: JobId, pgid: number): boolean {
    const job = this.#entries.find(id);
    if (!job || job.isOver) return false;
    job.addPgid(pgid);
    return true;
  }

  async remove(
    id: JobId,
    options: { kill?: boolean; keepFiles?: boolean } = {},
  ): Promise<boolean> {
    checkRemove(options);
    const job = this.#entries.find(id);
    if (!job) return false;
    if (!job.isOver) {
      if (!options.kill) {
        const next = "kill() it first, or pass kill: true";
        throw new JobStateError("remove", id, job.state, next);
      }
      await job[Symbol.asyncDispose]();
    }
    const removed = this.#entries.jobs.delete(id);
    if (removed && !options.keepFiles) this.#output.remove(job.info().outputFile);
    return removed;
  }

  cleanup(options: { keepFiles?: boolean } = {}): JobInfo[] {
    checkCleanup(options);
    const removed: JobInfo[] = [];
    for (const job of [...this.#entries.all()].filter(({ isOver }) => isOver)) {
      this.#entries.jobs.delete(job.id);
      const info = job.info();
      if (!options.keepFiles) this.#output.remove(info.outputFile);
      removed.push(info);
    }
    return removed;
  }

  async shutdown(options: { grace?: Duration } = {}): Promise<ShutdownReport> {
    checkShutdown(options);
    const started = performance.now();
    const grace = options.grace ?? this.killGrace;
    milliseconds(grace, { infinite: true });
    const report: ShutdownReport = { results: [], unkillable: [], elapsed: 0 };
    const live = [...this.#entries.all()].filter(({ state }) => !isTerminal(state));
    await Promise.all(live.map(async (job) => {
      try {
        report.results.push(await job.kill({ grace }));
      } catch (error) {
        if (job.state === "lost") report.results.push(job.snapshot());
        else if (error instanceof JobUnkillableError) {
          report.unkillable.push({ id: job.id, survivors: error.survivors });
        } else throw error;
      }
    }));
    await this.#output.close();
    report.elapsed = Math.round(performance.now() - started) / 1000;
    return report;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { unkillable } = await this.shutdown();
    const [first] = unkillable;
    if (!first) return;
    const command = this.getCommand(first.id) ?? "";
    throw new JobUnkillableError(first.id, command, unkillable.flatMap((one) => one.survivors));
  }

  viewOf(scope: Scope): JobView {
    return new View(this.#entries, (job) => {
      for (let at: Scope | undefined = job.scope; at; at = at.parent) {
        if (at === scope) return true;
      }
      return false;
    });
  }

  viewOfMachine(vm: string): JobView {
    return new View(this.#entries, ({ origin }) => origin.kind === "guest" && origin.vm === vm);
  }

  #task(command: string, options: JobOptions, controller?: AbortController): TaskJob {
    checkJob(options);
    const { name, buffer, signal, scope: scopeName, keep } = options;
    const scope = currentScope();
    const job = new TaskJob({
      command,
      name,
      buffer,
      signal,
      scope,
      scopeName,
      controller,
      origin: { kind: "task" },
      grace: () => this.killGrace,
    });
    this.enter(job);
    if (!keep) {
      job.adopt(registerJob(job, "job", scope, (this.killGrace + 4) * 1_000));
    }
    return job;
  }

  /** Keeps the number of finished jobs, and the bytes of their buffers, within their limits. */
  #forgetOldest(): void {
    const finished = [...this.#entries.all()].filter(({ isOver }) => isOver)
      .sort((a, b) => a.endMs - b.endMs || a.id - b.id);
    for (const job of finished.splice(0, Math.max(0, finished.length - this.finishedRetention))) {
      this.#entries.jobs.delete(job.id);
    }
    let over = finished.reduce((sum, job) => sum + retained(job), 0) - this.#budget;
    for (const job of finished) {
      for (const buffer of [job.stdout, job.stderr]) {
        if (over <= 0) return;
        const { currentSize } = buffer.stats();
        buffer.trim(Math.max(0, currentSize - over));
        over -= currentSize;
      }
    }
  }
}

/** The jobs of a table, by number. */
class Entries implements JobStore {
  readonly jobs = new Map<JobId, BaseJob>();
  #listeners = new Set<(job: BaseJob, previous: JobState | undefined) => void>();

  all(): Iterable<BaseJob> {
    return this.jobs.values();
  }

  find(id: JobId): BaseJob | undefined {
    return this.jobs.get(id);
  }

  listen(fn: (job: BaseJob, previous: JobState | undefined) => void): Disposable {
    const listener = (job: BaseJob, previous: JobState | undefined) => fn(job, previous);
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  tell(job: BaseJob, previous: JobState | undefined): void {
    for (const listener of [...this.#listeners]) listener(job, previous);
  }
}

function retained(job: BaseJob): number {
  return job.stdout.stats().currentSize + job.stderr.stats().currentSize;
}

/** Reads both streams into the job's buffers; false if that did not end soon after the result. */
async function drainInto(
  job: TaskJob,
  result: Promise<unknown>,
  stdout: ReadableStream<Uint8Array>,
  stderr: ReadableStream<Uint8Array>,
): Promise<boolean> {
  const late = new AbortController();
  const read = async (name: "stdout" | "stderr", source: ReadableStream<Uint8Array>) => {
    const sink = new WritableStream<Uint8Array>({ write: (chunk) => job[name].write(chunk) });
    await source.pipeTo(sink, { signal: late.signal });
    job[name].close();
  };
  const reading = Promise.allSettled([read("stdout", stdout), read("stderr", stderr)]);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const settled = () => void (timer = setTimeout(() => late.abort(), DRAIN_GRACE_MS));
  result.then(settled, settled);
  const ends = await reading;
  await Promise.resolve(result).catch(() => {}); // Its rejection is the job's, not the output's.
  clearTimeout(timer);
  return ends.every(({ status }) => status === "fulfilled");
}

/** Creates a table of its own, with numbers from 1. */
export function createJobTable(options: JobTableOptions = {}): JobTable {
  return new Table(options);
}

/** The table of this process, as belljar itself uses it. */
export const processTable: Table = new Table({ persistOutputFiles: false });

/** The jobs of this process: of every machine, of the host, and tasks. */
export const jobs: JobTable = processTable;

/** The number of a job, or of what is one already. */
export function jobOf(view: JobView, job: Job | JobId): Job {
  if (typeof job === "number") return view.job(job);
  if (typeof job === "object" && job !== null && typeof job.id === "number") return job;
  throw new TypeError(`Cannot find a job by ${job === null ? "null" : typeof job}`);
}

export { JobNotFoundError };
