/** Types that jobs of guest, host and in-process tasks share. */
import type { Duration, SignalLike } from "../values/mod.ts";
import type { OutputBuffer } from "./output_buffer.ts";

/** Number of a job in its table: 1, 2, 3…, never used again. */
export type JobId = number;

/** Where a job stands. The last four never change again. */
export type JobState = "running" | "stopped" | "done" | "failed" | "killed" | "lost";

/** A state with its exit code. */
export type JobStatus =
  | "running"
  | "stopped"
  | "done:0"
  | `failed:${number}`
  | `killed:${number}`
  | "lost";

/** Where a job runs. */
export type JobOrigin =
  | { kind: "guest"; vm: string; worker?: string }
  | { kind: "host" }
  | { kind: "task" };

/** A job, or its number. */
export type JobRef = Job | JobId;

/** A process as `/proc` shows it. */
export interface ProcInfo {
  pid: number;
  ppid: number;
  pgid: number;
  /** State letter of proc(5): `R`, `S`, `D`, `T`, … */
  state: string;
  command: string;
  /** Start time in clock ticks since boot: with the pid it names one process for ever. */
  startTicks: number;
}

/** Figures of an {@linkcode OutputBuffer}. */
export interface StreamStats {
  /** Bytes that are retained. */
  currentSize: number;
  /** Bytes that are retained at most. */
  maxSize: number;
  /** Bytes that were ever written. */
  totalWritten: number;
  /** Bytes that were given up for newer ones. */
  bytesEvicted: number;
  /** Whether nothing more will come. */
  closed: boolean;
}

/** Sizes of a job's buffers, in bytes. */
export interface BufferSizes {
  /** @default {1_048_576} */
  stdout?: number;
  /** @default {1_048_576} */
  stderr?: number;
  /** Bytes of the beginning that are kept apart. @default {16_384} */
  headBytes?: number;
}

/** What is written to a job's standard input; `"piped"` gives a writable stream instead. */
export type JobStdin = "null" | "piped" | string | Uint8Array | ReadableStream<Uint8Array>;

/** Options for `background()` on guest and host. */
export interface BackgroundOptions {
  /** Working directory. */
  cwd?: string;
  /** Variables that are added to the environment. */
  env?: Record<string, string>;
  /** Whether only `env` is in the environment. @default {false} */
  clearEnv?: boolean;
  /** User to run as: a name or a number. */
  user?: string;
  /** Name for reports. */
  name?: string;
  /** @default {"null"} */
  stdin?: JobStdin;
  /** Sizes of the buffers. */
  buffer?: BufferSizes;
  /** Keeps the whole output in a file on the host: its path, or `true` for one that is chosen. */
  logFile?: boolean | string;
  /** Whether standard error goes into standard output. @default {false} */
  mergeStderr?: boolean;
  /** First signal of {@linkcode Job.kill}. @default {"SIGTERM"} */
  killSignal?: SignalLike;
  /** Time between that signal and SIGKILL. @default {2} */
  killGrace?: Duration;
  /** How long output is read after the exit while somebody else holds the pipe. @default {0.5} */
  drainGrace?: Duration;
  /** What happens at scope end to processes that outlive the leader. @default {"kill"} */
  survivors?: "kill" | "keep";
  /** Ends the job when it has run this long. */
  timeLimit?: Duration;
  /** Whether the job outlives its test scope. @default {false} */
  keep?: boolean;
  /** Kills the job when it aborts. */
  signal?: AbortSignal;
}

/** Options for {@linkcode Job.kill}. */
export interface KillOptions {
  /** First signal. @default {"SIGTERM"} */
  signal?: SignalLike;
  /** Time until SIGKILL; 0 sends it at once, `Infinity` never. @default {2} */
  grace?: Duration;
  /** Who gets the first signal. @default {"group"} */
  target?: "group" | "leader";
  /** Whether to wait until everything is gone. @default {true} */
  wait?: boolean;
  /** How long SIGKILL may take to work. @default {3} */
  killMargin?: Duration;
}

/** Options for {@linkcode Job.wait}. */
export interface JobWaitOptions {
  /** Whether to kill the job when the time is over. @default {false} */
  kill?: boolean;
  /** Ends the wait, not the job. */
  signal?: AbortSignal;
  /** Whether a wait without limit goes on while the job is stopped. @default {false} */
  throughStop?: boolean;
}

/** Outcome of a job, or how far it is. */
export interface JobResult {
  id: JobId;
  command: string;
  state: JobState;
  status: JobStatus;
  /** Whether it has no outcome yet: true for running and stopped. */
  running: boolean;
  /** Exit code; 128 + n for death by signal n; -1 while it runs and when it was lost. */
  exitCode: number;
  /** The signal that ended it. */
  signal: Deno.Signal | null;
  /** Whether `exitCode` is 0. */
  ok: boolean;
  /** Retained output as text. */
  stdout: string;
  /** Retained errors as text. */
  stderr: string;
  /** Retained output, exactly. */
  stdoutBytes: Uint8Array;
  /** Retained errors, exactly. */
  stderrBytes: Uint8Array;
  /** Bytes that did not fit into the buffers. */
  truncated: { stdout: number; stderr: number };
  /** False when a process that outlived the leader still held a pipe. */
  outputComplete: boolean;
  /** Members of its group that were alive when the leader ended. */
  survivors: ProcInfo[];
  startedAt: Date;
  finishedAt?: Date;
  /** Seconds from start to end, or until now. */
  elapsed: number;
  /** File with the persisted output. */
  outputFile?: string;
  /**
   * Returns the result itself if the exit code is 0.
   *
   * @throws {JobFailedError} If it is not, with the last lines of output.
   */
  assertOk(message?: string): this;
}

/** Facts about a job, as tables list them. */
export interface JobInfo {
  id: JobId;
  name?: string;
  command: string;
  state: JobState;
  status: JobStatus;
  origin: JobOrigin;
  /** Name of the scope that started it. */
  scope: string;
  pid?: number;
  pgids: number[];
  exitCode?: number;
  signal?: Deno.Signal;
  startedAt: Date;
  finishedAt?: Date;
  outputFile?: string;
  stdout: StreamStats;
  stderr: StreamStats;
}

/** A process, or a task in this process, with its output and outcome. */
export interface Job extends AsyncDisposable {
  readonly id: JobId;
  /** Process id of the leader, where it runs; tasks have none. */
  readonly pid: number | undefined;
  /** Process groups that belong to it. */
  readonly pgids: readonly number[];
  readonly name?: string;
  readonly command: string;
  readonly origin: JobOrigin;
  readonly state: JobState;
  readonly status: JobStatus;
  readonly stdout: OutputBuffer;
  readonly stderr: OutputBuffer;
  /** Standard input, with `stdin: "piped"`. */
  readonly stdin?: WritableStream<Uint8Array>;
  /**
   * Waits for the end. When the time is over the result says `running: true`; nothing is killed unless `kill` is set.
   *
   * @throws {JobStoppedError} If there is no limit and the job is, or becomes, stopped.
   * @throws {JobLostError} If its machine or process went away before there was a result.
   */
  wait(timeout?: Duration, options?: JobWaitOptions): Promise<JobResult>;
  /** Asks how it stands, without waiting for the job. */
  poll(): Promise<JobResult>;
  /** The outcome; `undefined` until there is one. */
  result(): JobResult | undefined;
  /**
   * Signals, waits, kills, and returns when no member of its group is left.
   *
   * @throws {JobUnkillableError} If something survives SIGKILL.
   */
  kill(options?: SignalLike | KillOptions): Promise<JobResult>;
  /** Sends one signal; false if the job has ended. */
  signal(signal: SignalLike, options?: { target?: "group" | "leader" }): Promise<boolean>;
  /** Stops it and waits until it is stopped; false if it has ended. */
  stop(): Promise<boolean>;
  /** Lets it go on; false if it has ended. */
  resume(): Promise<boolean>;
  /** Begins to end it; true only for the call that began it. */
  cancel(reason?: unknown): boolean;
  /** Facts about it, as tables list them. */
  info(): JobInfo;
}
