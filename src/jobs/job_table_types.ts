import type { Scope } from "../scope/mod.ts";
import type { Duration } from "../values/mod.ts";
import type { JobView } from "./job_view.ts";
import type { JobIo, TaskResult } from "./task_job.ts";
import type { BufferSizes, Job, JobId, JobInfo, JobResult, ProcInfo } from "./types.ts";

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
