import { StateError } from "../errors.ts";
import type { Job, JobResult, JobWaitOptions, OutputBuffer } from "../jobs/mod.ts";
import { type Duration, registerOptions, type SignalLike, signalNumber } from "../values/mod.ts";
import { toBytes } from "../wire/mod.ts";
import { type GuestLink, observe } from "./_link.ts";
import { type ByteSource, Stream } from "./stream.ts";

/** The outcome of a command, or how far it is. */
export interface RunResult extends JobResult {
  /** Whether it was killed because its `timeout` was over. */
  timedOut: boolean;
}

/** How a process stands. */
export interface ProcessStatus {
  running: boolean;
  /** Whether it is stopped by a signal. */
  stopped: boolean;
  /** The exit code, once it has ended; 128 + n for death by signal n. */
  exitCode?: number;
  /** The signal that ended it. */
  signal?: Deno.Signal;
}

/** Options of {@linkcode Process.kill}. */
export interface ProcessKillOptions {
  /**
   * Whether every process of its group and job gets the signal, or the first one only.
   *
   * @default {true}
   */
  group?: boolean;
}

/** Size of a terminal in characters. */
export interface TerminalSize {
  cols: number;
  rows: number;
}

const checkResize = registerOptions<TerminalSize>("proc.resize()", {
  cols: "integer",
  rows: "integer",
});
const checkKill = registerOptions<ProcessKillOptions>("proc.kill()", { group: "boolean" });

/** What a process needs of its job beyond what the author sees of it. */
interface RunningJob {
  look(): Promise<Pick<JobResult, "state" | "exitCode" | "signal">>;
  resize(size: TerminalSize): Promise<void>;
}

/** A process in the guest that runs while the test does something else. It is ended with its scope. */
export class Process implements AsyncDisposable {
  /** Its entry in the job table. */
  readonly job: Job;
  readonly #link: GuestLink;
  readonly #look: RunningJob["look"];
  readonly #resize: RunningJob["resize"];
  #stdout: Stream | undefined;
  #stderr: Stream | undefined;
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;

  constructor(link: GuestLink, job: Job & RunningJob) {
    this.#link = link;
    this.job = job;
    this.#look = () => job.look();
    this.#resize = (size) => job.resize(size);
  }

  /** Its number in the guest. */
  get pid(): number {
    return this.job.pid!;
  }

  /** The command, as reports show it. */
  get command(): string {
    return this.job.command;
  }

  /** Its output from the start. What nobody reads is kept up to the size of the ring (1 MiB). */
  get stdout(): Stream {
    return this.#stdout ??= outputStream(this.#link, this.job, "stdout");
  }

  /** Its errors from the start. */
  get stderr(): Stream {
    return this.#stderr ??= outputStream(this.#link, this.job, "stderr");
  }

  /**
   * Its standard input.
   *
   * @throws {StateError} If the process was started with a `stdin` of its own.
   */
  get stdin(): WritableStream<Uint8Array> {
    if (this.job.stdin) return this.job.stdin;
    throw new StateError(`Cannot write to ${this.#name()}: its standard input is not a pipe`, {
      next: `leave out the option stdin, or set it to "piped"`,
    });
  }

  /** How it stands now. */
  async status(): Promise<ProcessStatus> {
    // Not a result: that has all the output in it, and this is asked again and again.
    const { state, exitCode, signal } = await this.#look();
    const running = state === "running" || state === "stopped";
    if (running) return { running, stopped: state === "stopped" };
    return { running, stopped: false, exitCode, ...(signal ? { signal } : {}) };
  }

  /**
   * Waits for its end. When the time is over the result says `running: true`; nothing is killed unless `kill` is set.
   * Any number of waits may be made, at once and later: all get the same result.
   */
  async wait(timeout?: Duration, options: JobWaitOptions = {}): Promise<RunResult> {
    const expired = timeout !== undefined && options.kill === true;
    const result = await waitForJob(this.#link, this.job, timeout, options);
    return runResult(result, expired && result.state === "killed");
  }

  /**
   * Sends a signal; harmless when it has ended.
   *
   * @param signal Name or number.
   * @returns Whether it was still there to get it.
   * @throws {SignalError} If there is no such signal, or the value is neither a name nor a number.
   */
  async kill(signal: SignalLike = "SIGTERM", options: ProcessKillOptions = {}): Promise<boolean> {
    checkKill(options);
    signalNumber(signal);
    const target = options.group === false ? "leader" : "group";
    return await this.job.signal(signal, { target });
  }

  /** Sends a signal to its first process, as a handler would expect it. */
  async signal(signal: SignalLike): Promise<boolean> {
    signalNumber(signal);
    return await this.job.signal(signal, { target: "leader" });
  }

  /** Tells its terminal another size, as SIGWINCH tells its foreground processes; only for those with `pty`. */
  async resize(size: TerminalSize): Promise<void> {
    checkResize(size);
    const text = `resize(${size.cols}, ${size.rows})`;
    await observe(this.#link, text, undefined, () => this.#resize(size));
  }

  /** Writes to its standard input; resolves when the guest has taken it. */
  async write(data: string | Uint8Array): Promise<void> {
    if (typeof data !== "string" && !(data instanceof Uint8Array)) {
      const got = data === null ? "null" : typeof data;
      throw new TypeError(`The data of write() must be text or bytes, got ${got}`);
    }
    await this.#input().write(toBytes(data));
  }

  /** Ends its standard input. */
  async closeStdin(): Promise<void> {
    await this.#input().close();
  }

  /** Ends it with all processes that it started: SIGTERM, a grace, SIGKILL. Harmless when it has ended. */
  async close(): Promise<void> {
    await this.job[Symbol.asyncDispose]();
  }

  /** Ends it with all processes that it started. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #input(): WritableStreamDefaultWriter<Uint8Array> {
    return this.#writer ??= this.stdin.getWriter();
  }

  #name(): string {
    return `process ${this.pid} (${JSON.stringify(this.command)}) on ${this.#link.label}`;
  }
}

/** Waits for a job, but not beyond the machine's alarm. */
export async function waitForJob(
  link: GuestLink,
  job: Job,
  timeout: Duration | undefined,
  options: JobWaitOptions,
): Promise<JobResult> {
  const { signal, ...rest } = options;
  const text = `wait(${JSON.stringify(job.command)})`;
  const wait = (any: AbortSignal) => job.wait(timeout, { ...rest, signal: any });
  return await observe(link, text, signal, wait);
}

/** A job's result with the mark of a run that was too slow. */
export function runResult(result: JobResult, timedOut: boolean): RunResult {
  return Object.assign(result, { timedOut });
}

/** A stream over what a job has written; every stream reads it from the start. */
export function outputStream(link: GuestLink, job: Job, which: "stdout" | "stderr"): Stream {
  const name = `${which} of ${JSON.stringify(job.command)} on ${link.label}`;
  return new Stream(name, new BufferSource(link, job[which]));
}

class BufferSource implements ByteSource {
  lost = 0;
  readonly #link: GuestLink;
  readonly #buffer: OutputBuffer;
  readonly #closed = new AbortController();
  #offset = 0;

  constructor(link: GuestLink, buffer: OutputBuffer) {
    this.#link = link;
    this.#buffer = buffer;
  }

  alarm = () => this.#link.alarm();

  async read(): Promise<Uint8Array | undefined> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      const { data, nextOffset, lost } = this.#buffer.read(this.#offset);
      this.#offset = nextOffset;
      this.lost += lost;
      if (data.length > 0) return data;
      if (this.#buffer.closed) return undefined;
      await this.#buffer.changedSince(nextOffset, { signal }).catch((error) => {
        if (error !== signal.reason) throw error;
      });
    }
    return undefined;
  }

  close(): void {
    this.#closed.abort();
  }
}
