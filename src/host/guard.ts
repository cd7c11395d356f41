import { HostError } from "../errors.ts";
import { pause } from "./file_lock.ts";
import { procStat } from "./proc.ts";

/** Returns the path of the agent binary, which is also the guard. */
export type AgentBinary = string | (() => string | Promise<string>);

const ENCODER = new TextEncoder();
const LEAVE_MS = 3_000;
/** More guards than this that end by themselves are not replaced at once. */
const MAX_LOST = 5;

/**
 * The harness' end of the pipe to a run's guard: a process of its own that reads what it has to clean up, and does so as
 * soon as the pipe ends, which it does whatever happens to the harness.
 */
export class GuardClient {
  readonly #dir: string;
  readonly #token: string;
  readonly #binary: AgentBinary;
  #child: Deno.ChildProcess | undefined;
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #starting: Promise<void> | undefined;
  /** What a guard has to know; told again if one has to be replaced. */
  readonly #groups = new Map<number, number>();
  readonly #dirs = new Set<string>();
  #kept = false;
  #lost = 0;

  constructor(options: { dir: string; token: string; binary: AgentBinary }) {
    this.#dir = options.dir;
    this.#token = options.token;
    this.#binary = options.binary;
  }

  /** Pid of the guard, once it was started. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** The binary's path. */
  async binary(): Promise<string> {
    return typeof this.#binary === "string" ? this.#binary : await this.#binary();
  }

  /** Starts the guard unless it runs. */
  start(): Promise<void> {
    return this.#starting ??= this.#start().catch((error) => {
      this.#starting = undefined;
      throw error;
    });
  }

  /** Puts a process group under guard. One whose leader has ended already is found by its token if need be. */
  async group(pgid: number): Promise<void> {
    const stat = await procStat(pgid);
    if (!stat) return;
    this.#groups.set(pgid, stat.startTicks);
    await this.#send(`group ${pgid} ${stat.startTicks}\n`);
  }

  /** Takes a process group that has ended from the guard. */
  async ungroup(pgid: number): Promise<void> {
    if (this.#groups.delete(pgid)) await this.#send(`ungroup ${pgid}\n`);
  }

  /** The groups that are under guard. */
  get groups(): number[] {
    return [...this.#groups.keys()];
  }

  /** Makes the guard remove a further file or folder, by absolute path. */
  async dir(path: string): Promise<void> {
    if (path.includes("\n") || !path.startsWith("/")) {
      throw new TypeError(`Cannot guard path ${JSON.stringify(path)}: expected an absolute one`);
    }
    this.#dirs.add(path);
    await this.#send(`dir ${path}\n`);
  }

  /** Makes the guard leave files and folders alone. */
  async keep(): Promise<void> {
    this.#kept = true;
    await this.#send("keep\n");
  }

  /** Ends the guard without any cleaning up: its owner has done that. */
  async done(): Promise<void> {
    await this.#starting?.catch(() => {}); // what failed to start needs no end
    const child = this.#child;
    if (!child) return;
    this.#child = undefined;
    child.ref(); // its end is waited for
    await this.#writer?.write(ENCODER.encode("done\n")).catch(() => {}); // gone already
    await this.#writer?.close().catch(() => {}); // gone already
    const left = new AbortController();
    const late = pause(LEAVE_MS, left.signal).then(() => child.kill("SIGKILL"), () => {});
    await child.status;
    left.abort();
    await late;
  }

  async #start(): Promise<void> {
    const binary = await this.binary();
    const child = spawnDetached(binary, {
      args: ["guard", "--run", this.#dir, "--token", this.#token],
      cwd: "/",
      // Without the environment: a token of an outer run must not make that run's guard kill this one.
      clearEnv: true,
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    });
    child.unref(); // a harness that has nothing else to do may end
    const writer = child.stdin.getWriter();
    writer.closed.catch(() => {}); // The status tells.
    this.#child = child;
    this.#writer = writer;
    child.status.then(() => {
      writer.abort().catch(() => {}); // already broken
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#starting = undefined;
      // Killed by somebody: what it watched over needs another one. If that fails, the next message tells.
      if (++this.#lost <= MAX_LOST) this.start().catch(() => {});
    });
    let text = "";
    for (const [pgid, ticks] of this.#groups) text += `group ${pgid} ${ticks}\n`;
    for (const path of this.#dirs) text += `dir ${path}\n`;
    if (this.#kept) text += "keep\n";
    if (text) await writer.write(ENCODER.encode(text));
  }

  async #send(line: string): Promise<void> {
    if (!this.#child) return await this.start(); // a new guard is told everything
    try {
      await this.#writer!.write(ENCODER.encode(line));
    } catch {
      await this.#child?.status; // killed by somebody: then the next one is told everything
      await this.start();
    }
  }
}

/** Starts a process in a session and process group of its own, so that a terminal's Ctrl-C does not reach it. */
export function spawnDetached(command: string, options: Deno.CommandOptions): Deno.ChildProcess {
  return spawnAttached(command, { ...options, detached: true });
}

/** Starts a process that sees to it itself that a terminal's Ctrl-C does not reach it. */
export function spawnAttached(command: string, options: Deno.CommandOptions): Deno.ChildProcess {
  try {
    return new Deno.Command(command, options).spawn();
  } catch (cause) {
    throw cannotStart(command, options, cause);
  }
}

function cannotStart(command: string, options: Deno.CommandOptions, cause: unknown): HostError {
  const missing = cause instanceof Deno.errors.NotFound;
  const denied = cause instanceof Deno.errors.PermissionDenied;
  const where = options.cwd === undefined ? "" : ` in "${options.cwd}"`;
  return new HostError(`Cannot start "${command}"${where}`, {
    code: missing ? "COMMAND_NOT_FOUND" : "COMMAND_NOT_STARTED",
    actual: cause instanceof Error ? cause.message : String(cause),
    next: missing
      ? `install "${command}" or put its folder on PATH`
      : denied
      ? `make it executable; if its file system is mounted "noexec", set XDG_CACHE_HOME to one that is not`
      : "free memory or processes, then run again",
    cause,
  });
}
