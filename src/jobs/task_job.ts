import { type Registration, withoutCurrentSignal } from "../scope/mod.ts";
import { milliseconds, SignalError, type SignalLike } from "../values/mod.ts";
import { BaseJob, type JobEnd, type JobSeed } from "./base_job.ts";
import { JobUnkillableError } from "./errors.ts";
import { killPlan } from "./kill_plan.ts";
import type { JobResult, KillOptions } from "./types.ts";

/** What a task ends with: an exit code, or parts of a result. */
export type TaskResult = number | void | Partial<JobResult>;

/** Where a task in this process writes its output. */
export interface JobIo {
  stdout: WritableStream<Uint8Array>;
  stderr: WritableStream<Uint8Array>;
  /** Writes a line to standard output. */
  log(line: string): void;
}

/** Exit code of a task that was cancelled and then rejected, as of a shell's child that SIGINT ended. */
const CANCELLED = 130;
const NO_SIGNAL = "Cannot signal job: it is an in-process task; only cancel";

/** What a {@linkcode TaskJob} is made of. */
export interface TaskSeed extends JobSeed {
  /** Ends it; without one it cannot be cancelled. */
  controller?: AbortController;
  /** Time that a cancelled task has until it counts as unkillable, in seconds. */
  grace: () => number;
  /** Cancels it. */
  signal?: AbortSignal;
}

/** A job that is a promise in this process. */
export class TaskJob extends BaseJob {
  readonly pid = undefined;
  #controller: AbortController | undefined;
  #grace: () => number;
  #groups = new Set<number>();
  #cancelled = false;
  #followed = false;
  #signal: AbortSignal | undefined;
  #registration: Registration | undefined;
  #disposing: Promise<void> | undefined;
  readonly #onAbort = () => void this.cancel(this.#signal?.reason);

  constructor(seed: TaskSeed) {
    super(seed);
    this.#controller = seed.controller;
    this.#grace = seed.grace;
    this.#signal = seed.signal;
  }

  get pgids(): readonly number[] {
    const own = this.processInfo()?.pgid;
    return own === undefined ? [...this.#groups] : [...this.#groups, own];
  }

  /** How it writes its output. */
  get io(): JobIo {
    const stream = (name: "stdout" | "stderr") =>
      new WritableStream<Uint8Array>({ write: (chunk) => this[name].write(chunk) });
    return {
      stdout: stream("stdout"),
      stderr: stream("stderr"),
      log: (line) => this.stdout.write(new TextEncoder().encode(`${line}\n`)),
    };
  }

  /** Takes the entry of its scope, to release it at its end. */
  adopt(registration: Registration): void {
    this.#registration = registration;
    if (this.isOver) registration.release();
  }

  /** Follows the promise to its end; `drained` is the end of its output. Only after it was attached to a table. */
  follow(result: Promise<TaskResult>, drained: Promise<boolean> = Promise.resolve(true)): void {
    this.#followed = true;
    if (this.#signal?.aborted) this.#onAbort();
    else this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
    result.then(async (value) => {
      const complete = await drained;
      this.#over({ ...this.#end(value), outputComplete: complete });
    }, async (error) => {
      const complete = await drained;
      this.#over(
        this.#cancelled
          ? { state: "killed", exitCode: CANCELLED, outputComplete: complete }
          : { state: "lost", exitCode: -1, outputComplete: complete, error },
      );
    });
  }

  override setCancel(controller: AbortController): boolean {
    if (this.isOver) return false;
    this.#controller = controller;
    return true;
  }

  cancel(reason?: unknown): boolean {
    if (this.isOver || this.#cancelled || !this.#controller) return false;
    this.#cancelled = true;
    this.#controller.abort(
      reason ?? new DOMException(`Job ${this.id} was cancelled`, "AbortError"),
    );
    return true;
  }

  async kill(options?: SignalLike | KillOptions): Promise<JobResult> {
    const graceMs = milliseconds(this.#grace(), { infinite: true });
    const plan = killPlan(options, { sig: 15, graceMs });
    if (this.isOver) return await withoutCurrentSignal(() => this.wait());
    this.cancel();
    if (!plan.wait) return this.snapshot();
    if (!this.#controller) {
      throw new JobUnkillableError(this.id, this.command, [], {
        next: "await it before its scope ends, or give it a controller with setCancel()",
      });
    }
    const limitS = (plan.graceMs + plan.marginMs) / 1000;
    const result = await withoutCurrentSignal(() => this.wait(limitS));
    if (!result.running) return result;
    throw new JobUnkillableError(this.id, this.command, [], {
      expected: `an end within ${plan.graceMs + plan.marginMs} ms of its cancellation`,
      next: "let the task react to its signal",
    });
  }

  signal(_signal: SignalLike): Promise<boolean> {
    return Promise.reject(new SignalError(NO_SIGNAL));
  }

  stop(): Promise<boolean> {
    return Promise.reject(new SignalError(NO_SIGNAL));
  }

  resume(): Promise<boolean> {
    return Promise.reject(new SignalError(NO_SIGNAL));
  }

  override addPgid(pgid: number): void {
    this.#groups.add(pgid);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposing ??= this.#dispose();
  }

  async #dispose(): Promise<void> {
    if (this.isOver || !this.#followed) return;
    await this.kill().catch((error) => {
      if (this.state !== "lost") throw error;
    });
  }

  #end(value: TaskResult): JobEnd {
    const facts = typeof value === "number" ? { exitCode: value } : value ?? {};
    this.#enterOutput(facts);
    const exitCode = facts.exitCode ?? 0;
    const state = exitCode === 0 ? "done" : this.#cancelled ? "killed" : "failed";
    return { state, exitCode, signal: facts.signal ?? null, survivors: facts.survivors };
  }

  /** Output that comes with the result counts if nothing was streamed. */
  #enterOutput(facts: Partial<JobResult>): void {
    for (const name of ["stdout", "stderr"] as const) {
      const bytes = facts[`${name}Bytes`] ?? new TextEncoder().encode(facts[name] ?? "");
      if (this[name].stats().totalWritten === 0) this[name].write(bytes);
    }
  }

  #over(end: JobEnd): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.finish(end);
    this.#registration?.release();
  }
}
