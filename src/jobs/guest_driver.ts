import { AgentLostError, GuestError } from "../errors.ts";
import { currentScope, type Scope } from "../scope/mod.ts";
import {
  type AgentClient,
  type AgentEvent,
  type OpReply,
  toBytes,
  toText,
  type WireStream,
} from "../wire/mod.ts";
import type { DriverEvents, ProcessDriver, SignalTarget } from "./driver.ts";
import { JobSpawnError, quote, type SpawnFailure } from "./errors.ts";
import { enterJob } from "./enter_job.ts";
import { feedStdin, streamStdin } from "./_stdin.ts";
import type { ProcessJob } from "./process_job.ts";
import type { BackgroundOptions, ProcInfo } from "./types.ts";

/** What is started in a guest, and how it is entered into the job table and its scope. */
export interface GuestJobSpec extends BackgroundOptions {
  /** Program and arguments; nothing else interprets them. */
  argv: readonly (string | Uint8Array)[];
  /** How reports call it. */
  command: string;
  /** Name of the worker in whose name it runs. */
  worker?: string;
  /** A terminal that takes the place of the three standard streams; its output is `stdout`. */
  pty?: { cols: number; rows: number };
  /** Resource (an RLIMIT_ number) and its limit, both soft and hard. */
  limits?: readonly (readonly [resource: bigint, limit: bigint])[];
  /** The scope that owns it. @default {currentScope()} */
  scope?: Scope;
  /** What the scope calls it. @default {"job"} */
  kind?: "job" | "process";
}

const STAGES: Record<string, SpawnFailure> = { cwd: "cwd", limits: "limit" };
const ERRNOS: Record<string, SpawnFailure> = {
  ENOENT: "notFound",
  ENOTDIR: "notFound",
  EACCES: "permission",
  EPERM: "permission",
  EAGAIN: "limit",
  ENOMEM: "limit",
  EMFILE: "limit",
  ENFILE: "limit",
};

/**
 * Starts a process in a guest as a job of the process-wide table. Resolves when the guest has reported its pid.
 *
 * @param principal Number of the worker in whose name it runs; 0 is the machine itself.
 * @throws {JobSpawnError} If the program cannot be started.
 * @throws {AgentLostError} If the machine goes away.
 */
export async function startGuestJob(
  client: AgentClient,
  principal: number,
  spec: GuestJobSpec,
): Promise<ProcessJob> {
  const scope = spec.scope ?? currentScope();
  return await enterJob(spec, {
    scope,
    kind: spec.kind ?? "job",
    origin: {
      kind: "guest",
      vm: client.machine,
      ...(spec.worker === undefined ? {} : { worker: spec.worker }),
    },
    // The machine ends what its scope does not.
    registerIn: spec.keep ? undefined : scope,
    start: () => GuestDriver.spawn(client, principal, spec),
  });
}

/** Processes in a guest, by their agent. */
class GuestDriver implements ProcessDriver {
  readonly mustLookForStops = false;
  readonly pid: number;
  readonly pgid: number;
  readonly stdin?: WritableStream<Uint8Array>;
  #client: AgentClient;
  #proc: number;
  #streams: Streams;
  #queue: AgentEvent[] = [];
  #events: DriverEvents | undefined;
  #unlisten: (() => void)[] = [];
  #empty = Promise.withResolvers<void>();
  #hasExited = false;
  #endStdin: () => void;

  private constructor(
    client: AgentClient,
    ids: { proc: number; pid: number },
    streams: Streams,
    spec: GuestJobSpec,
  ) {
    this.#client = client;
    this.#proc = ids.proc;
    this.pid = ids.pid;
    this.pgid = ids.pid; // The agent makes each process the leader of a session and group of its own.
    this.#streams = streams;
    const { piped, end } = openStdin(streams.stdin && (() => this.#streams.stdin!), spec);
    if (piped) this.stdin = piped;
    this.#endStdin = end;
    this.#empty.promise.catch(() => {}); // Nobody has to wait for it.
  }

  static async spawn(
    client: AgentClient,
    principal: number,
    spec: GuestJobSpec,
  ): Promise<GuestDriver> {
    spec.signal?.throwIfAborted();
    const proc = client.newId();
    const streams = openStreams(client, principal, spec);
    // Registered before the request: what happens at once may arrive together with its answer.
    const queue: AgentEvent[] = [];
    let target = (event: AgentEvent): void => void queue.push(event);
    const unlisten = client.on(proc, (event) => target(event));
    try {
      const { pid } = await client.request("spawn", {
        proc,
        argv: spec.argv.map(toBytes),
        env: Object.entries(spec.env ?? {}).map(([key, value]) => toBytes(`${key}=${value}`)),
        clearEnv: spec.clearEnv ?? false,
        ...(spec.cwd === undefined ? {} : { cwd: toBytes(spec.cwd) }),
        ...(spec.user === undefined ? {} : { user: spec.user }),
        ...(spec.pty ? { pty: [spec.pty.cols, spec.pty.rows] } : {}),
        ...(spec.limits ? { limits: spec.limits.map((limit) => [...limit]) } : {}),
        ...(streams.stdin ? { stdin: streams.stdin.id } : {}),
        ...(streams.stdout ? { stdout: streams.stdout.id } : {}),
        ...(streams.stderr ? { stderr: streams.stderr.id } : {}),
      }, { principal, signal: spec.signal });
      const driver = new GuestDriver(client, { proc, pid }, streams, spec);
      driver.#queue = queue;
      target = (event) => driver.#take(event);
      driver.#unlisten.push(unlisten, holdFor(client, driver));
      return driver;
    } catch (error) {
      unlisten();
      for (const stream of new Set([streams.stdin, streams.stdout, streams.stderr])) {
        if (stream) client.dropStream(stream);
      }
      if (error instanceof GuestError) throw spawnError(spec.command, error);
      if (!(error instanceof AgentLostError)) endAbandoned(client, proc);
      throw error;
    }
  }

  start(events: DriverEvents): void {
    this.#events = events;
    const { stdout, stderr } = this.#streams;
    for (const [name, stream] of [["stdout", stdout], ["stderr", stderr]] as const) {
      if (stream && (name === "stdout" || stream !== stdout)) this.#follow(name, stream);
      else events.outputEnded(name);
    }
    for (const event of this.#queue.splice(0)) this.#take(event);
    if (this.#client.lost) this.#lost(this.#client.lost);
  }

  async signal(sig: number, target: SignalTarget): Promise<number> {
    const { count } = await this.#client.request("procSignal", {
      proc: this.#proc,
      sig,
      target: target === "leader" ? 0 : 2,
    });
    return count;
  }

  async resize({ cols, rows }: { cols: number; rows: number }): Promise<void> {
    await this.#client.request("procResize", { proc: this.#proc, cols, rows });
  }

  async members(): Promise<ProcInfo[]> {
    const { members } = await this.#client.request("procMembers", { proc: this.#proc });
    return members.filter(({ state }) => state !== "Z" && state !== "X").map(procInfo);
  }

  whenEmpty(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const aborted = () => reject(signal.reason);
      signal.addEventListener("abort", aborted, { once: true });
      this.#empty.promise.then(resolve, reject).finally(() =>
        signal.removeEventListener("abort", aborted)
      );
    });
  }

  refresh(): Promise<void> {
    return Promise.resolve(); // Stops are pushed.
  }

  discardOutput(): void {
    this.#streams.stdout?.discard();
    this.#streams.stderr?.discard();
  }

  release(): void {
    for (const unlisten of this.#unlisten.splice(0)) unlisten();
    this.#endStdin();
    if (this.#client.lost) return;
    this.#client.request("procRelease", { proc: this.#proc }).catch(() => {}); // The machine is going away.
  }

  /**
   * Goes on with the process in a later conversation: its machine was saved, or put back to a state that was saved.
   *
   * @returns Whether it is there.
   */
  async rebind(client: AgentClient): Promise<boolean> {
    if (client === this.#client) return this.#holdAgain();
    for (const unlisten of this.#unlisten.splice(0)) unlisten();
    if (!client.isInherited(this.#proc)) return this.#isMissing(client);
    const before = this.#streams;
    const reopened = new Map<WireStream, WireStream>();
    for (const stream of [before.stdin, before.stdout, before.stderr]) {
      if (stream?.lost) reopened.set(stream, client.reopenStream(stream));
    }
    const renewed = (stream: WireStream | undefined) => stream && (reopened.get(stream) ?? stream);
    this.#client = client;
    this.#streams = {
      stdin: renewed(before.stdin),
      stdout: renewed(before.stdout),
      stderr: renewed(before.stderr),
    };
    this.#unlisten.push(client.on(this.#proc, (event) => this.#take(event)));
    for (const name of ["stdout", "stderr"] as const) {
      const stream = this.#streams[name];
      if (
        stream && stream !== before[name] && (name === "stdout" || stream !== this.#streams.stdout)
      ) {
        this.#follow(name, stream);
      }
    }
    try {
      const ids = [...reopened.values()].map(({ id }) => id);
      const { streams } = await client.request("procAttach", { proc: this.#proc, streams: ids });
      // What is not there any more has ended meanwhile.
      for (const stream of reopened.values()) {
        if (!streams.includes(stream.id)) client.dropStream(stream);
      }
      const status = await client.request("procStatus", { proc: this.#proc });
      this.#unlisten.push(holdFor(client, this));
      this.#catchUp(status);
      return true;
    } catch (error) {
      for (const stream of reopened.values()) client.dropStream(stream);
      if (!(error instanceof GuestError) || error.code !== "NOSUCHID") throw error;
      return this.#isMissing(client);
    }
  }

  /** The conversation has not ended after all. */
  #holdAgain(): boolean {
    this.#unlisten.push(holdFor(this.#client, this));
    if (this.#client.lost) this.lose(this.#client.lost);
    return true;
  }

  #isMissing({ machine }: AgentClient): boolean {
    this.lose(
      new AgentLostError(
        `The process is not in the state that machine "${machine}" was put back to`,
      ),
    );
    return false;
  }

  /** Nobody will ever tell what becomes of the process. */
  lose(reason: AgentLostError): void {
    this.#lost(reason);
  }

  #follow(name: "stdout" | "stderr", stream: WireStream): void {
    const events = this.#events!;
    // The buffers copy what they keep: at hundreds of megabytes a second, another copy is mostly garbage.
    stream.receive((chunk) => events.output(name, chunk), { borrowed: true });
    // A lost connection is told once, by lost(): the buffers close there.
    stream.ended.then(() => stream.lost ?? events.outputEnded(name));
  }

  /** Tells what happened while nobody listened. */
  #catchUp({ running, stopped, code, sig, alive }: OpReply<"procStatus">): void {
    if (running) return this.#take(stopped ? { ev: "stopped", sig: 0 } : { ev: "continued" });
    if (!this.#hasExited) this.#take({ ev: "exit", code, sig, alive });
    if (alive === 0) this.#take({ ev: "empty" });
  }

  #take(event: AgentEvent): void {
    const events = this.#events;
    if (!events) return void this.#queue.push(event);
    switch (event.ev) {
      case "exit":
        if (this.#hasExited) return;
        this.#hasExited = true;
        this.#endStdin();
        events.exited({ code: event.code, sig: event.sig, alive: event.alive });
        break;
      case "empty":
        this.#empty.resolve();
        events.emptied();
        break;
      case "stopped":
        events.stopped();
        break;
      case "continued":
        events.continued();
        break;
    }
  }

  #lost(reason: AgentLostError): void {
    this.#endStdin();
    this.#empty.reject(reason);
    this.#events?.lost(reason);
  }
}

interface Streams {
  stdin?: WireStream;
  stdout?: WireStream;
  stderr?: WireStream;
}

function openStreams(client: AgentClient, principal: number, spec: GuestJobSpec): Streams {
  const { stdin: source = "null", pty } = spec;
  const stdout = client.openStream("in", principal);
  const stderr = pty ? undefined : spec.mergeStderr ? stdout : client.openStream("in", principal);
  const stdin = source === "null" && !pty ? undefined : client.openStream("out", principal);
  return { stdin, stdout, stderr };
}

/** Begins to feed standard input. Not before the guest knows the stream: it takes data for unknown ones as an attack. */
function openStdin(
  stdin: (() => WireStream) | undefined,
  spec: GuestJobSpec,
): { piped?: WritableStream<Uint8Array>; end(): void } {
  if (!stdin) return { end: () => {} };
  const { stdin: source = "null" } = spec;
  const sink = {
    write: (chunk: Uint8Array, signal?: AbortSignal) => stdin().write(chunk, signal),
    end: () => stdin().end(),
  };
  if (source === "piped" || source === "null") {
    return { piped: streamStdin(sink), end: () => stdin().end() };
  }
  return { end: feedStdin(source, sink) };
}

function procInfo(member: OpReply<"procMembers">["members"][number]): ProcInfo {
  const { pid, ppid, pgid, state } = member;
  const command = toText(member.command).replaceAll("\0", " ").trimEnd();
  return { pid, ppid, pgid, state, command, startTicks: Number(member.startTicks) };
}

function spawnError(command: string, error: GuestError): JobSpawnError | GuestError {
  const stage = /_(EXEC|CWD|USER|FORK|LIMITS|CGROUP|PTY)$/.exec(error.code)?.[1]?.toLowerCase();
  if (!stage) return error;
  const reason = STAGES[stage] ?? ERRNOS[error.errno] ?? "other";
  return new JobSpawnError(command, reason, {
    actual: `${error.errno} in step ${quote(stage)} on machine "${error.vm}"`,
    cause: error,
  });
}

/** Ends a process whose start was given up: it may have come into being all the same. */
function endAbandoned(client: AgentClient, proc: number): void {
  const ignore = () => {}; // There is no such process: that was to be reached.
  client.request("procSignal", { proc, sig: 9, target: 2 }).catch(ignore);
  client.request("procRelease", { proc }).catch(ignore);
}

/** The processes that a conversation tells about. */
const held = new WeakMap<AgentClient, Set<GuestDriver>>();

/** Tells a driver when its conversation is lost, until the returned function is called. */
function holdFor(client: AgentClient, driver: GuestDriver): () => void {
  let drivers = held.get(client);
  if (!drivers) {
    const all = new Set<GuestDriver>();
    drivers = all;
    held.set(client, all);
    // As one listener for all: a machine may see very many jobs.
    client.closed.then((reason) => {
      for (const one of [...all]) one.lose(reason);
    });
  }
  drivers.add(driver);
  return () => drivers.delete(driver);
}

/** Processes whose conversation ends, while another one with the same machine is about to begin. */
export class SuspendedProcesses {
  readonly #drivers: readonly GuestDriver[];

  /** Keeps the processes of a conversation from being lost with it. */
  constructor(client: AgentClient) {
    const drivers = held.get(client);
    this.#drivers = [...drivers ?? []];
    drivers?.clear();
  }

  /**
   * Goes on with them in another conversation.
   *
   * @returns How many are not there: they are lost.
   */
  async resume(client: AgentClient): Promise<number> {
    const outcomes = await Promise.all(this.#drivers.map((driver) => driver.rebind(client)));
    return outcomes.filter((isThere) => !isThere).length;
  }

  /** Gives them up. */
  lose(reason: AgentLostError): void {
    for (const driver of this.#drivers) driver.lose(reason);
  }
}
