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
    const { piped, end } = openStdin(streams.stdin, spec);
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
      driver.#unlisten.push(unlisten, onLost(client, (reason) => driver.#lost(reason)));
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
      if (!stream || (name === "stderr" && stream === stdout)) {
        events.outputEnded(name);
        continue;
      }
      // The buffers copy what they keep: at hundreds of megabytes a second, another copy is mostly garbage.
      stream.receive((chunk) => events.output(name, chunk), { borrowed: true });
      // A lost connection is told once, by lost(): the buffers close there.
      stream.ended.then(() => stream.lost ?? events.outputEnded(name));
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

  #take(event: AgentEvent): void {
    const events = this.#events;
    if (!events) return void this.#queue.push(event);
    switch (event.ev) {
      case "exit":
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
  stdin: WireStream | undefined,
  spec: GuestJobSpec,
): { piped?: WritableStream<Uint8Array>; end(): void } {
  if (!stdin) return { end: () => {} };
  const { stdin: source = "null" } = spec;
  const sink = {
    write: (chunk: Uint8Array, signal?: AbortSignal) => stdin.write(chunk, signal),
    end: () => stdin.end(),
  };
  if (source === "piped" || source === "null") {
    return { piped: streamStdin(sink), end: () => stdin.end() };
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

const lossListeners = new WeakMap<AgentClient, Set<(reason: AgentLostError) => void>>();

/** As `client.closed.then()`, but a listener can be taken away: a machine may see very many jobs. */
function onLost(client: AgentClient, listener: (reason: AgentLostError) => void): () => void {
  let listeners = lossListeners.get(client);
  if (!listeners) {
    const all = new Set<(reason: AgentLostError) => void>();
    listeners = all;
    lossListeners.set(client, all);
    client.closed.then((reason) => {
      for (const one of [...all]) one(reason);
    });
  }
  listeners.add(listener);
  return () => listeners.delete(listener);
}
