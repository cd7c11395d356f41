import { currentScope, type Scope } from "../scope/mod.ts";
import { type Duration, milliseconds, registerOptions, seconds } from "../values/mod.ts";
import type { BaseJob, JobKeeper } from "./base_job.ts";
import { JobStateError, JobUnkillableError } from "./errors.ts";
import { type JobStore, type JobView, View } from "./job_view.ts";
import { adoptProcess } from "./adopt_process.ts";
import { OutputStore } from "./output_store.ts";
import { registerJob } from "./register_job.ts";
import { isTerminal } from "./result.ts";
import { type JobIo, TaskJob, type TaskResult } from "./task_job.ts";
import type {
  AdoptedProcess,
  JobOptions,
  JobTable,
  JobTableOptions,
  ShutdownReport,
} from "./job_table_types.ts";
import type { Job, JobId, JobInfo, JobState } from "./types.ts";

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
  /** Finished jobs in the order of their ends, with the bytes that their buffers hold. */
  #finished = new Map<BaseJob, number>();

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
        if (changed.isOver) this.#ended(changed);
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
    this.#finished.delete(job);
    if (removed && !options.keepFiles) this.#output.remove(job.info().outputFile);
    return removed;
  }

  cleanup(options: { keepFiles?: boolean } = {}): JobInfo[] {
    checkCleanup(options);
    const removed: JobInfo[] = [];
    for (const job of [...this.#entries.all()].filter(({ isOver }) => isOver)) {
      this.#entries.jobs.delete(job.id);
      this.#finished.delete(job);
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
    // First of all: a scope that has ended refuses it before anything runs.
    const limitMs = (this.killGrace + 4) * 1_000;
    const registration = keep ? undefined : registerJob(job, "job", scope, limitMs);
    this.enter(job);
    if (registration) job.adopt(registration);
    return job;
  }

  /** Keeps the number of finished jobs, and the bytes of their buffers, within their limits. */
  #ended(job: BaseJob): void {
    const finished = this.#finished;
    finished.set(job, retained(job));
    for (const oldest of finished.keys()) {
      if (finished.size <= this.finishedRetention) break;
      finished.delete(oldest);
      this.#entries.jobs.delete(oldest.id);
    }
    let over = -this.#budget;
    for (const bytes of finished.values()) over += bytes;
    if (over <= 0) return;
    for (const oldest of finished.keys()) {
      for (const buffer of [oldest.stdout, oldest.stderr]) {
        const { currentSize } = buffer.stats();
        buffer.trim(Math.max(0, currentSize - over));
        over -= currentSize;
        if (over <= 0) break;
      }
      finished.set(oldest, retained(oldest));
      if (over <= 0) break;
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
    for (const listener of [...this.#listeners]) {
      try {
        listener(job, previous);
      } catch (error) {
        // It may not stop what goes on here, and may not go unseen either.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
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

/**
 * Creates a table of its own, with numbers from 1. Dispose it: that ends its jobs.
 *
 * @example Run a task as a job
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { createJobTable } from "./job_table.ts";
 *
 * await using table = createJobTable({ persistOutputFiles: false });
 * const job = table.spawn("greet", (_signal, io) => Promise.resolve(io.log("hello")));
 * const result = await job.wait("10s");
 * assertEquals([result.status, result.stdout], ["done:0", "hello\n"]);
 * ```
 */
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
