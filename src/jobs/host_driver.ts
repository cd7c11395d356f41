import { HostError } from "../errors.ts";
import { hostRun } from "./host_run.ts";
import { currentScope, runScope, type Scope } from "../scope/mod.ts";
import { type OptionTable, registerOptions, signalNumber } from "../values/mod.ts";
import type { DriverEvents, ProcessDriver, SignalTarget } from "./driver.ts";
import { enterJob } from "./enter_job.ts";
import { JobSpawnError, type SpawnFailure } from "./errors.ts";
import { commandArgv, commandText } from "./command.ts";
import { HostMembers, JOB_VARIABLE, procInfo } from "./host_members.ts";
import { feedStdin, streamStdin } from "./_stdin.ts";
import type { ProcessJob } from "./process_job.ts";
import type { BackgroundOptions, Job, ProcInfo } from "./types.ts";

/** How the options of `background()` are checked, on guest and host alike. */
export const BACKGROUND_OPTIONS: OptionTable<BackgroundOptions> = {
  cwd: "string",
  env: "stringRecord",
  clearEnv: "boolean",
  user: "string",
  name: "string",
  stdin: stdinOption,
  buffer: bufferOption,
  logFile: logFileOption,
  mergeStderr: "boolean",
  killSignal: "signal",
  killGrace: "durationOrInfinity",
  drainGrace: "duration",
  survivors: ["kill", "keep"],
  timeLimit: "duration",
  keep: "boolean",
  signal: "abortSignal",
};

/** Bytes that are read at once; a pipe of Linux holds as many. */
const READ_SIZE = 64 * 1024;

const check = registerOptions<BackgroundOptions>("background()", BACKGROUND_OPTIONS);

/**
 * Starts a process on this host as a job: a text is a line for the shell, a list a program with its arguments. It ends with
 * the current scope, or with the run if `keep` is set, whatever happens to this process.
 *
 * @throws {JobSpawnError} If the program cannot be started.
 */
export async function background(
  command: string | readonly string[],
  options: BackgroundOptions = {},
): Promise<Job> {
  check(options);
  if (options.user !== undefined) {
    throw new TypeError(`Option "user" of background() is for guests: use vm.background()`);
  }
  return await startHostJob(command, options);
}

/** As {@linkcode background}, with options that were checked and a scope of the caller's choice. */
export async function startHostJob(
  command: string | readonly string[],
  options: BackgroundOptions & { scope?: Scope; unregistered?: boolean } = {},
): Promise<ProcessJob> {
  const { scope = currentScope(), unregistered, ...spec } = options;
  const argv = commandArgv(command);
  const text = commandText(command);
  return await enterJob({ ...spec, command: text }, {
    scope,
    kind: "job",
    origin: { kind: "host" },
    registerIn: unregistered ? undefined : spec.keep ? runScope() : scope,
    start: () => HostDriver.spawn(argv, text, spec),
  });
}

/** Processes on this host, in a group of their own and under the run's guard. */
class HostDriver implements ProcessDriver {
  readonly mustLookForStops = true;
  readonly pid: number;
  readonly pgid: number;
  readonly stdin?: WritableStream<Uint8Array>;
  #child: Deno.ChildProcess;
  #members: HostMembers;
  #events: DriverEvents | undefined;
  #readers: ReadableStreamBYOBReader[] = [];
  #endStdin: () => void;

  private constructor(child: Deno.ChildProcess, token: string, stdin: BackgroundOptions["stdin"]) {
    this.#child = child;
    this.pid = child.pid;
    this.pgid = child.pid;
    this.#members = new HostMembers({ pid: child.pid, pgid: child.pid, token });
    const { piped, end } = openStdin(child, stdin);
    if (piped) this.stdin = piped;
    this.#endStdin = end;
  }

  static async spawn(
    argv: readonly string[],
    command: string,
    options: BackgroundOptions,
  ): Promise<HostDriver> {
    const { cwd, env = {}, clearEnv, stdin = "null", mergeStderr, signal } = options;
    await checkCwd(command, cwd);
    if (mergeStderr) await checkProgram(command, argv[0]!, cwd);
    const run = await hostRun();
    const token = crypto.randomUUID();
    // The shell joins the outputs: two pipes would lose their order.
    const [program, ...args] = mergeStderr
      ? ["/bin/sh", "-c", 'exec "$@" 2>&1', "sh", ...argv]
      : argv;
    try {
      const child = await run.spawn(program!, {
        args,
        cwd,
        clearEnv,
        env: { ...env, [JOB_VARIABLE]: token },
        stdin: stdin === "null" ? "null" : "piped",
        stdout: "piped",
        stderr: "piped",
        signal,
      });
      return new HostDriver(child, token, stdin);
    } catch (error) {
      if (!(error instanceof HostError) || !/^COMMAND_NOT_/.test(error.code)) throw error;
      const { cause } = error;
      throw new JobSpawnError(command, reasonOf(cause), { actual: String(cause), cause });
    }
  }

  start(events: DriverEvents): void {
    this.#events = events;
    this.#read("stdout", this.#child.stdout);
    this.#read("stderr", this.#child.stderr);
    this.#child.status.then(async ({ code, signal }) => {
      this.#endStdin();
      const alive = (await this.#members.list()).length;
      events.exited({ ...signal ? { sig: signalNumber(signal) } : { code }, alive });
    }).catch((error) => events.lost(error));
  }

  addGroup(pgid: number): void {
    this.#members.addGroup(pgid);
  }

  signal(sig: number, target: SignalTarget): Promise<number> {
    return this.#members.signal(sig, target);
  }

  async members(): Promise<ProcInfo[]> {
    return (await this.#members.list()).map(procInfo);
  }

  whenEmpty(signal: AbortSignal): Promise<void> {
    return this.#members.whenEmpty(signal);
  }

  async refresh(): Promise<void> {
    const state = await this.#members.state();
    if (state === "stopped") this.#events?.stopped();
    else if (state === "running") this.#events?.continued();
  }

  discardOutput(): void {
    for (const reader of this.#readers) reader.cancel().catch(() => {}); // It ended in the meantime.
  }

  release(): void {
    this.#endStdin();
  }

  async #read(name: "stdout" | "stderr", source: ReadableStream<Uint8Array>): Promise<void> {
    // One buffer for all reads: a fresh one each time leaves a hundred megabytes of garbage behind a busy process.
    const reader = source.getReader({ mode: "byob" });
    this.#readers.push(reader);
    let memory = new ArrayBuffer(READ_SIZE);
    try {
      while (true) {
        const { value, done } = await reader.read(new Uint8Array(memory));
        if (done || !value) break;
        this.#events!.output(name, value);
        memory = value.buffer;
      }
    } catch {
      // A broken pipe is an end of output like any other; how the process ended is told by its status.
    }
    this.#events!.outputEnded(name);
  }
}

function openStdin(
  child: Deno.ChildProcess,
  source: BackgroundOptions["stdin"],
): { piped?: WritableStream<Uint8Array>; end(): void } {
  if (source === undefined || source === "null") return { end: () => {} };
  const writer = child.stdin.getWriter();
  writer.closed.catch(() => {}); // A process that reads no more is told to whoever writes.
  let ended = false;
  const sink = {
    write: (chunk: Uint8Array) => writer.write(chunk),
    end: async () => {
      if (ended) return;
      ended = true;
      await writer.close().catch(() => {}); // Its reader is gone.
    },
  };
  const drop = () => {
    ended = true;
    writer.abort().catch(() => {}); // Its reader is gone.
  };
  if (source === "piped") return { piped: streamStdin(sink), end: drop };
  const giveUp = feedStdin(source, sink);
  return {
    end() {
      giveUp();
      drop();
    },
  };
}

/** Tells a wrong folder from a wrong program: the system calls both "not found". */
async function checkCwd(command: string, cwd: string | undefined): Promise<void> {
  if (cwd === undefined) return;
  const info = await Deno.stat(cwd).catch((error: unknown) => error as Error);
  if (!(info instanceof Error) && info.isDirectory) return;
  const actual = info instanceof Error ? info.message : `"${cwd}" is no folder`;
  throw new JobSpawnError(command, "cwd", { actual });
}

/** The shell that joins the outputs would tell a missing program by an exit code only. */
async function checkProgram(command: string, program: string, cwd = "."): Promise<void> {
  const folders = program.includes("/")
    ? [program.startsWith("/") ? "" : `${cwd}/`]
    : (Deno.env.get("PATH") ?? "/usr/bin:/bin").split(":").map((folder) => `${folder}/`);
  for (const folder of folders) {
    const info = await Deno.stat(`${folder}${program}`).catch(() => undefined); // Not there: the next one.
    if (info?.isFile) return;
  }
  throw new JobSpawnError(command, "notFound", { actual: `"${program}" is not on PATH` });
}

function reasonOf(cause: unknown): SpawnFailure {
  if (cause instanceof Deno.errors.NotFound) return "notFound";
  if (cause instanceof Deno.errors.PermissionDenied) return "permission";
  return /EAGAIN|ENOMEM|EMFILE|os error (11|12|24)\b/.test(String(cause)) ? "limit" : "other";
}

function stdinOption(value: unknown, name: string): void {
  if (typeof value === "string" || value instanceof Uint8Array) return;
  if (value instanceof ReadableStream) return;
  throw new TypeError(
    `Option ${name} must be text, bytes, a ReadableStream, "piped" or "null", got ${typeof value}`,
  );
}

function logFileOption(value: unknown, name: string): void {
  if (typeof value === "boolean" || typeof value === "string") return;
  throw new TypeError(`Option ${name} must be true, false or a path, got ${typeof value}`);
}

const checkBuffer = registerOptions<NonNullable<BackgroundOptions["buffer"]>>(
  "buffer of background()",
  { stdout: "integer", stderr: "integer", headBytes: "integer" },
);

function bufferOption(value: unknown, _name: string): void {
  checkBuffer(value);
}
