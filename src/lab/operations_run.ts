import {
  BACKGROUND_OPTIONS,
  type BackgroundOptions,
  commandArgv,
  commandText,
  type Job,
  type JobRef,
  type JobResult,
  jobs,
  type KillOptions,
  startGuestJob,
} from "../jobs/mod.ts";
import { type Duration, registerOptions, type SignalLike } from "../values/mod.ts";
import { linkOf, operate, type OperationOptions } from "./_link.ts";
import { SyscallOperations } from "./operations_syscall.ts";
import { Process, type RunResult, runResult, waitForJob } from "./process.ts";
import {
  checkRun,
  checkRunAsync,
  type RunAsyncOptions,
  type RunOptions,
  startSpec,
} from "./run_options.ts";

const checkBackground = registerOptions<BackgroundOptions>("vm.background()", BACKGROUND_OPTIONS);
const checkJobWait = registerOptions<OperationOptions>("vm.jobWait()", { signal: "abortSignal" });

/** Operations that start and await processes in the guest. */
export abstract class RunOperations extends SyscallOperations {
  /**
   * Runs a command and waits for its end. With `args` the command is a program, else it is given to `sh -c`. The outcome
   * is a result, also if it is a failure: use `check`, or `assertOk()` of the result.
   *
   * @throws {JobSpawnError} If the program cannot be started.
   */
  async run(command: string, options: RunOptions = {}): Promise<RunResult> {
    checkRun(command, options);
    const { timeout, check, signal, stdin, keep } = options;
    const link = linkOf(this);
    const spec = startSpec(command, options);
    const text = `run(${JSON.stringify(spec.command)})`;
    const result = await operate(link, "run", text, signal, async (client, any) => {
      const job = await startGuestJob(client, link.principal, {
        ...spec,
        ...workerOf(this),
        kind: "process",
        stdin: stdin ?? "null",
        survivors: keep ? "keep" : "kill",
        signal: any, // Kills it: nobody waits for its result any more.
      });
      this.started(job);
      try {
        return await finish(job, timeout, any);
      } finally {
        this.finished(job);
      }
    });
    return check ? result.assertOk() : result;
  }

  /** The same as {@linkcode RunOperations.run}. */
  exec(command: string, options: RunOptions = {}): Promise<RunResult> {
    return this.run(command, options);
  }

  /**
   * Runs a command that must succeed, and reads its output as JSON.
   *
   * @throws {SyntaxError} If the output is not JSON.
   */
  async json<T = unknown>(command: string, options: RunOptions = {}): Promise<T> {
    const result = (await this.run(command, options)).assertOk();
    try {
      return JSON.parse(result.stdout) as T;
    } catch (cause) {
      const shown = JSON.stringify(result.stdout.slice(0, 200));
      throw new SyntaxError(
        `Cannot read the output of ${JSON.stringify(command)} on ${linkOf(this).label} as JSON: ` +
          `${(cause as Error).message}; it is ${shown}`,
        { cause },
      );
    }
  }

  /**
   * Starts a command and returns while it runs. It is ended with the scope of the caller.
   *
   * @throws {TypeError} If there is an option `timeout`: that belongs to `proc.wait()`.
   * @throws {JobSpawnError} If the program cannot be started.
   */
  async runAsync(command: string, options: RunAsyncOptions = {}): Promise<Process> {
    checkRunAsync(command, options);
    const { signal, stdin, keep, mergeStderr } = options;
    const link = linkOf(this);
    const spec = startSpec(command, options);
    const text = `runAsync(${JSON.stringify(spec.command)})`;
    const job = await operate(
      link,
      "runAsync",
      text,
      signal,
      (client) =>
        startGuestJob(client, link.principal, {
          ...spec,
          ...workerOf(this),
          kind: "process",
          stdin: stdin ?? "piped",
          ...(keep ? { keep } : {}),
          ...(mergeStderr ? { mergeStderr } : {}),
          ...(signal ? { signal } : {}),
        }),
    );
    this.started(job);
    return new Process(link, job);
  }

  /**
   * Starts a job in the background: text is given to `sh -c`, a list is run as it is.
   *
   * @throws {JobSpawnError} If the program of a list cannot be started.
   */
  async background(
    command: string | readonly string[],
    options: BackgroundOptions = {},
  ): Promise<Job> {
    checkBackground(options);
    const link = linkOf(this);
    const text = `background(${JSON.stringify(commandText(command))})`;
    const job = await operate(
      link,
      "background",
      text,
      options.signal,
      (client) =>
        startGuestJob(client, link.principal, {
          ...options,
          ...workerOf(this),
          argv: commandArgv(command),
          command: commandText(command),
        }),
    );
    this.started(job);
    return job;
  }

  /** Waits for a job, by default not at all; when the time is over the result says `running: true`. */
  async jobWait(
    job: JobRef,
    timeout: Duration = 0,
    options: OperationOptions = {},
  ): Promise<JobResult> {
    checkJobWait(options);
    const target = typeof job === "number" ? jobs.job(job) : job;
    return await waitForJob(linkOf(this), target, timeout, { ...options, throughStop: true });
  }

  /** Ends a job with all its processes and returns its result. */
  async jobKill(job: JobRef, options?: SignalLike | KillOptions): Promise<JobResult> {
    const target = typeof job === "number" ? jobs.job(job) : job;
    return await target.kill(options);
  }

  /** Name of the worker in whose name jobs run. */
  protected get workerName(): string | undefined {
    return undefined;
  }

  /** Called with every job that was started here. */
  protected started(_job: Job): void {}

  /** Called with a job whose result was given to its only caller. */
  protected finished(_job: Job): void {}
}

async function finish(
  job: Job,
  timeout: Duration | undefined,
  signal: AbortSignal,
): Promise<RunResult> {
  const result = await job.wait(timeout, { signal, throughStop: true });
  return result.running ? runResult(await job.kill(), true) : runResult(result, false);
}

function workerOf(target: RunOperations): { worker?: string } {
  const worker = target["workerName"];
  return worker === undefined ? {} : { worker };
}
