import { AgentLostError, StateError } from "../errors.ts";
import type { Job, JobInfo, JobResult } from "../jobs/mod.ts";
import {
  captureSite,
  currentScope,
  formatSite,
  type Registration,
  runScope,
} from "../scope/mod.ts";
import {
  type Duration,
  milliseconds,
  type SignalLike,
  signalName,
  signalNumber,
} from "../values/mod.ts";
import type { AgentClient, AgentEvent } from "../wire/mod.ts";
import { ask, type GuestLink, observe, operate, setLink } from "./_link.ts";
import { GuestOperations } from "./operations.ts";
import { deadlineIn, race, TIMED_OUT } from "./wait.ts";
import { type WorkerOptions, workerRequest } from "./worker_options.ts";

/** How a worker's own process ended. */
export interface WorkerExit {
  /** Exit code; missing after death by a signal. */
  code?: number;
  signal?: Deno.Signal;
}

/** What {@linkcode Worker.join} found. */
export interface JoinResult {
  /** The worst exit code of its children: 0 if all succeeded. */
  exitCode: number;
  /** Results of the children that have ended, in the order in which they were started. */
  results: JobResult[];
  /** Children that were still running when the time was over. */
  pending: JobInfo[];
}

/** How long {@linkcode Worker.close} waits for children after SIGTERM, and after SIGKILL, in milliseconds. */
const CLOSE_GRACE_MS = 2_000;
const CLOSE_MARGIN_MS = 3_000;
const token = Symbol("Worker");

/**
 * A process of its own in the guest with the machine's surface: its commands, files and system calls run in its name, in
 * order, on one thread. It is ended with its scope.
 */
export class Worker extends GuestOperations implements AsyncDisposable {
  /** Number of the worker on its machine. */
  readonly id: number;
  /** Number of its process in the guest. */
  readonly pid: number;
  /** Resolves when its own process has ended. */
  readonly exit: Promise<WorkerExit>;
  readonly #vm: GuestLink;
  readonly #resolveExit: (exit: WorkerExit) => void;
  /** Its conversation; missing while its machine is being saved or put back. */
  #client: AgentClient | undefined;
  readonly #registration: Registration;
  readonly #entry: { kind: string; name: string; site: string };
  readonly #children = new Set<Job>();
  #exited: WorkerExit | undefined;
  #closing: Promise<void> | undefined;

  /** Made by `vm.spawnWorker()` only. */
  constructor(
    key: symbol,
    vm: GuestLink,
    worker: { id: number; pid: number; client: AgentClient },
  ) {
    if (key !== token) throw new TypeError("Cannot construct a Worker: use vm.spawnWorker()");
    super();
    this.id = worker.id;
    this.pid = worker.pid;
    this.#vm = vm;
    this.#client = worker.client;
    const label = `worker ${this.id} of ${vm.label}`;
    setLink(this, {
      vm: vm.vm,
      principal: this.id,
      label,
      client: (op) => this.#usable(op, label),
      alarm: () => vm.alarm(),
      explain: (error) => vm.explain(error),
      open: vm.open,
    });
    const { promise, resolve } = Promise.withResolvers<WorkerExit>();
    this.#resolveExit = resolve;
    this.exit = promise.then((exit) => this.#exited = exit);
    this.#listen(worker.client);
    const site = captureSite();
    this.#entry = { kind: "worker", name: String(this.id), site: formatSite(site) };
    vm.open.add(this.#entry);
    this.exit.then(() => vm.open.delete(this.#entry));
    this.#registration = currentScope().register({
      site,
      kind: "worker",
      name: `${this.id} (process ${this.pid}) of ${vm.label}`,
      close: () => this.close(),
      limitMs: CLOSE_GRACE_MS + CLOSE_MARGIN_MS + 1_000,
    });
  }

  /** An opaque name of it, the same for its whole life. */
  handle(): string {
    return `${this.#vm.vm}/worker/${this.id}`;
  }

  /**
   * Sends a signal to every process that was started by it and still runs.
   *
   * @param signal Name or number.
   * @returns How many got it.
   * @throws {SignalError} If there is no such signal, or the value is neither a name nor a number.
   */
  async kill(signal: SignalLike = "SIGTERM"): Promise<number> {
    signalNumber(signal);
    const delivered = await Promise.all(
      this.#live().map((job) => job.signal(signal, { target: "group" })),
    );
    return delivered.filter(Boolean).length;
  }

  /**
   * Waits for every process that was started by it.
   *
   * @param timeout Longest wait; without it there is no limit but the test's.
   */
  async join(timeout?: Duration, options: { signal?: AbortSignal } = {}): Promise<JoinResult> {
    const children = [...this.#children];
    const limitMs = timeout === undefined
      ? Infinity
      : milliseconds(timeout, { infinite: true, name: "timeout of worker.join()" });
    const deadline = deadlineIn(limitMs);
    const text = `join(worker ${this.id})`;
    const collect = (signal: AbortSignal) =>
      Promise.all(children.map(async (job) => {
        const left = limitMs === Infinity ? undefined : deadline.remaining() / 1000;
        return { job, result: await job.wait(left, { signal, throughStop: true }) };
      }));
    const outcomes = await observe(this.#vm, text, options.signal, collect);
    const results = outcomes.filter(({ result }) => !result.running).map(({ result }) => result);
    const pending = outcomes.filter(({ result }) => result.running).map(({ job }) => job.info());
    const exitCode = results.reduce((worst, { exitCode }) => Math.max(worst, exitCode), 0);
    return { exitCode, results, pending };
  }

  /** Sends a signal to its own process. */
  async terminate(signal: SignalLike = "SIGTERM"): Promise<void> {
    const sig = signalNumber(signal);
    if (this.#exited) return;
    await ask(this.#vm, "workerSignal", { worker: this.id, sig }, {
      text: `terminate(worker ${this.id})`,
    });
  }

  /** Ends its children (SIGTERM, then SIGKILL), waits for them, and ends it; harmless when called again. */
  close(): Promise<void> {
    return this.#closing ??= runScope().run(() => this.#close());
  }

  /** Ends it with its children. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Keeps it from ending with its conversation, until {@linkcode Worker.rebind}. */
  suspend(): void {
    this.#client = undefined;
  }

  /**
   * Goes on in a later conversation: its machine was saved, or put back to a state that was saved.
   *
   * @returns Whether its process is there.
   */
  async rebind(client: AgentClient): Promise<boolean> {
    if (this.#exited) return true;
    this.#client = client;
    this.#listen(client);
    try {
      await client.request("workerSignal", { worker: this.id, sig: 0 });
      return true;
    } catch (error) {
      if (!hasEnded(error)) throw error;
      this.#resolveExit({});
      return false;
    }
  }

  /** Its machine is gone. */
  lose(): void {
    this.#resolveExit({});
  }

  #listen(client: AgentClient): void {
    const off = client.on(this.id, (event) => this.#take(event));
    this.exit.then(off);
    client.closed.then(() => this.#client === client && this.#resolveExit({}));
  }

  #take(event: AgentEvent): void {
    if (event.ev !== "workerExit") return;
    this.#resolveExit({
      ...(event.code === undefined ? {} : { code: event.code }),
      ...(event.sig === undefined ? {} : { signal: signalName(event.sig) }),
    });
  }

  /** Starts a worker; it is ended with the scope of the caller. */
  static async spawn(vm: GuestLink, id: number, options: WorkerOptions = {}): Promise<Worker> {
    const request = workerRequest(options);
    return await operate(
      vm,
      "spawnWorker",
      "spawnWorker()",
      options.signal,
      async (client, any) => {
        const early: AgentEvent[] = [];
        // Registered before the request: its end may arrive together with its answer.
        const off = client.on(id, (event) => early.push(event));
        try {
          const { pid } = await client.request("workerSpawn", { worker: id, ...request }, {
            signal: any,
          });
          const worker = new Worker(token, vm, { id, pid, client });
          for (const event of early) worker.#take(event);
          return worker;
        } finally {
          off();
        }
      },
    );
  }

  /** Name under which its jobs are listed. */
  protected override get workerName(): string {
    return String(this.id);
  }

  /** Remembers a child. */
  protected override started(job: Job): void {
    this.#children.add(job);
  }

  /** Forgets a child whose result nobody else can ask for. */
  protected override finished(job: Job): void {
    if (job.result()) this.#children.delete(job);
  }

  #live(): Job[] {
    return [...this.#children].filter(({ state }) => state === "running" || state === "stopped");
  }

  #usable(op: string, label: string): AgentClient {
    const client = this.#vm.client(op);
    const ended = client !== this.#client ? "its agent was started anew" : this.#ended();
    if (!ended) return client;
    throw new StateError(`Cannot ${op} on ${label}: ${ended}`, {
      next: "spawn another worker by vm.spawnWorker()",
    });
  }

  #ended(): string | undefined {
    if (this.#closing) return "it is closed";
    if (!this.#exited) return undefined;
    const { code, signal } = this.#exited;
    return `its process ended with ${signal ?? `code ${code}`}`;
  }

  async #close(): Promise<void> {
    this.#registration.release();
    this.#vm.open.delete(this.#entry);
    await Promise.all(this.#live().map((job) => job[Symbol.asyncDispose]()));
    const client = this.#client;
    if (this.#exited || !client || client.lost) return;
    try {
      await client.request("workerClose", { worker: this.id }, {
        timeoutMs: CLOSE_MARGIN_MS,
      });
      const exit = await race(this.exit, deadlineIn(CLOSE_GRACE_MS));
      if (exit !== TIMED_OUT) return;
      // Blocked in a system call: only a signal ends it.
      await client.request("workerSignal", { worker: this.id, sig: 9 });
      await race(this.exit, deadlineIn(CLOSE_MARGIN_MS));
    } catch (error) {
      if (!hasEnded(error)) throw error;
    }
  }
}

/** Whether it has ended meanwhile, or its machine has. */
function hasEnded(error: unknown): boolean {
  const { code } = error as { code?: string };
  return error instanceof AgentLostError || code === "NOSUCHID" || code === "WORKERGONE";
}
