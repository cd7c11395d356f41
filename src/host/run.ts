import { HostError, StateError } from "../errors.ts";
import { endProcesses, killQuietly } from "./end_processes.ts";
import { type AgentBinary, GuardClient, spawnAttached, spawnDetached } from "./guard.ts";
import { removeTree } from "./owned_dir.ts";
import { groupMembers, TOKEN_VARIABLE } from "./proc.ts";
import { createRunDir, type RunDir, runRoot } from "./run_dir.ts";
import { sweepRuns } from "./sweep.ts";

/** Options for {@linkcode openRun}. */
export interface OpenRunOptions {
  /** The agent binary, which also is the guard. Needed by the first process that is started. */
  agentBinary: AgentBinary;
  /** Folder with the run folders; this user's by default. */
  root?: string;
  /** Whether to remove first what dead runs left. @default {true} */
  sweep?: boolean;
}

/** Options for {@linkcode Run.spawn} and {@linkcode Run.spawnGuarded}. */
export type RunSpawnOptions =
  & Omit<Deno.CommandOptions, "signal" | "detached" | "uid" | "gid">
  & {
    /** Checked before the process is started. */
    signal?: AbortSignal;
  };

/** A process that ends with the harness, whatever happens to that. */
export interface GuardedProcess extends AsyncDisposable {
  readonly pid: number;
  /** How it ended. */
  readonly status: Promise<Deno.CommandStatus>;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  /** Sends a signal, SIGKILL to its whole group; returns false if it has ended. */
  kill(signal?: Deno.Signal): boolean;
}

/** What one harness process has on the host: a private folder, a token, and a guard that cleans up after its death. */
export class Run implements AsyncDisposable {
  /** Private folder, with a path short enough for sockets in it. */
  readonly dir: string;
  /** Marks everything that this run starts, in the environment variable `BELLJAR_TOKEN`. */
  readonly token: string;
  readonly #lock: Disposable;
  readonly #guard: GuardClient;
  #machines = 0;
  #kept = false;
  #closing: Promise<void> | undefined;
  readonly #onUnload = () => {
    // Without a guard nobody else would remove the folder before the next start.
    if (this.#guard.pid !== undefined || this.#kept) return;
    try {
      Deno.removeSync(this.dir, { recursive: true });
    } catch {
      // Somebody was first, or the next start sweeps it.
    }
  };

  constructor(dir: RunDir, agentBinary: AgentBinary) {
    this.dir = dir.path;
    this.token = dir.token;
    this.#lock = dir.lock;
    this.#guard = new GuardClient({ dir: dir.path, token: dir.token, binary: agentBinary });
    globalThis.addEventListener("unload", this.#onUnload);
  }

  /** Whether closing has begun. */
  get closing(): boolean {
    return this.#closing !== undefined;
  }

  /** Pid of the guard, once something was started. */
  get guardPid(): number | undefined {
    return this.#guard.pid;
  }

  /** Makes a folder for the sockets and files of one machine: short, whatever the machine's name. */
  async machineDir(): Promise<string> {
    this.#assertOpen("make a machine's folder");
    const path = `${this.dir}/m${++this.#machines}`;
    await Deno.mkdir(path, { mode: 0o700 });
    return path;
  }

  /**
   * Starts a process in a group of its own, with the run's token in its environment. When the harness dies, the guard ends
   * the whole group.
   */
  async spawn(command: string, options: RunSpawnOptions = {}): Promise<Deno.ChildProcess> {
    this.#assertOpen(`start "${command}"`);
    await this.#guard.start();
    const { signal, ...rest } = options;
    signal?.throwIfAborted();
    const child = spawnDetached(command, { ...rest, env: this.#environment(rest.env) });
    await this.#guard.group(child.pid);
    child.status.then(async () => {
      // Members may outlive the leader: then the group stays under guard.
      if ((await groupMembers(child.pid)).length === 0) await this.#guard.ungroup(child.pid);
    }).catch(() => {}); // The guard also finds members by their token.
    return child;
  }

  /**
   * Starts a process that is killed as soon as the harness ends, by a pipe that both hold. Its standard input is empty.
   * The pid is the command's own.
   */
  async spawnGuarded(command: string, options: RunSpawnOptions = {}): Promise<GuardedProcess> {
    this.#assertOpen(`start "${command}"`);
    await this.#guard.start();
    const binary = await this.#guard.binary();
    const { signal, args = [], ...rest } = options;
    signal?.throwIfAborted();
    // Not detached: Deno would fork for that, which copies its page tables (10 ms and more, while nothing else runs). The
    // guard begins a session of its own first thing.
    const child = spawnAttached(binary, {
      ...rest,
      args: ["guard", "--watch", "--", command, ...args],
      env: this.#environment(rest.env),
      stdin: "piped",
    });
    return guarded(child, rest);
  }

  /** Has a file or folder outside the run's removed when the harness dies; the caller removes it otherwise. */
  async guardPath(path: string): Promise<void> {
    this.#assertOpen(`guard "${path}"`);
    await this.#guard.dir(path);
  }

  /** Leaves the run's folder in place at the end, for somebody to look into. The next start sweeps it. */
  async keep(): Promise<void> {
    this.#kept = true;
    await this.#guard.keep();
  }

  /** Ends what is left, removes the folder, gives the lock back. All callers get the same promise. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    globalThis.removeEventListener("unload", this.#onUnload);
    try {
      const stuck = await endProcesses({ token: this.token, groups: this.#guard.groups });
      await this.#guard.done();
      if (!this.#kept) await removeTree(this.dir);
      if (stuck.length > 0) {
        throw new HostError(`Cannot end all processes of run "${this.dir}"`, {
          actual: stuck.map(({ pid, command, state }) => `${pid} ${command} (${state})`).join("\n"),
          next: "look at what they wait for: state D is a wait inside the kernel",
        });
      }
    } finally {
      this.#lock[Symbol.dispose]();
    }
  }

  #environment(env: Record<string, string> = {}): Record<string, string> {
    return { ...env, [TOKEN_VARIABLE]: this.token };
  }

  #assertOpen(what: string): void {
    if (!this.#closing) return;
    throw new StateError(`Cannot ${what}: the run is closed`, {
      next: "start it before the run's scope ends",
    });
  }
}

/** Opens a run: sweeps what dead ones left, makes a folder, takes its lock. */
export async function openRun(options: OpenRunOptions): Promise<Run> {
  const root = options.root ?? await runRoot();
  if (options.sweep ?? true) await sweepRuns({ root });
  return new Run(await createRunDir(root), options.agentBinary);
}

let current: Promise<Run> | undefined;

/**
 * Returns the run of this process, opened by the first call. One that was closed is replaced.
 *
 * @throws {StateError} If there is none yet and no agent binary was given.
 */
export function currentRun(options?: OpenRunOptions): Promise<Run> {
  // Chained, so that two first callers get the same run.
  return current = nextRun(current, options);
}

async function nextRun(previous: Promise<Run> | undefined, options?: OpenRunOptions): Promise<Run> {
  const run = await previous?.catch(() => undefined); // its caller has the error; this one tries again
  if (run && !run.closing) return run;
  if (options) return await openRun(options);
  throw new StateError("Cannot use the run of this process: it was not opened", {
    next: "open it with currentRun({ agentBinary })",
  });
}

/** Closes the run of this process, if there is one. */
export async function closeCurrentRun(): Promise<void> {
  const closing = current;
  current = undefined;
  await (await closing?.catch(() => undefined))?.close(); // one that failed to open has nothing to close
}

function guarded(child: Deno.ChildProcess, options: Deno.CommandOptions): GuardedProcess {
  let ended = false;
  // The guard's end of the pipe is the process' life: the writer is held until it ends.
  const pipe = child.stdin.getWriter();
  pipe.closed.catch(() => {}); // The status tells.
  const status = child.status.then(async (value) => {
    ended = true;
    await pipe.abort().catch(() => {}); // broken by its reader's end
    return value;
  });
  const kill = (signal: Deno.Signal = "SIGKILL") => {
    if (ended) return false;
    // There is no group of its number before the guard has made it.
    const group = signal === "SIGKILL" && killQuietly(-child.pid, signal);
    return group || killQuietly(child.pid, signal);
  };
  return {
    pid: child.pid,
    status,
    get stdout() {
      return child.stdout;
    },
    get stderr() {
      return child.stderr;
    },
    kill,
    async [Symbol.asyncDispose]() {
      kill();
      await status;
      if (options.stdout === "piped") await child.stdout.cancel().catch(() => {}); // its reader has it
      if (options.stderr === "piped") await child.stderr.cancel().catch(() => {}); // its reader has it
    },
  };
}
