import { AgentLostError, type BelljarError, StateError } from "../../errors.ts";
import { timeScale } from "../../scope/mod.ts";
import { formatSeconds } from "../../values/duration.ts";
import { AgentClient, type AgentEvent } from "../../wire/mod.ts";
import type { ControlPort } from "../control_port.ts";
import { type AgentSecret, drawSecret } from "../identity.ts";
import type { MachineEnd, MachineInfo } from "../types.ts";
import { connectVsock, type HeldConn, type TransportDecision } from "../vsock.ts";

/** What an {@linkcode AgentLink} needs of its machine. */
export interface AgentLinkOptions {
  machine: string;
  port: ControlPort;
  /** The transport in it is corrected when vsock turns out not to work. */
  info: MachineInfo;
  transport: TransportDecision;
  /** The secret of an agent that process 1 has started again. */
  bootSecret: Uint8Array;
  /** Resolves when the machine cannot be used any more. */
  ended: Promise<MachineEnd>;
  /** Makes the error of a start that came to nothing. */
  bootError(why: string, cause: unknown): Promise<BelljarError>;
  /** Takes a conversation that follows one that was lost. */
  onAgent(client: AgentClient): void;
  /** Ends the machine, whose agent cannot be talked to any more. */
  drop(detail: string): void;
  /** What the machine said last. */
  lastWords(): string;
}

/** Marks the end of the wait for the agent. */
const SILENT = new DOMException("The agent is silent", "TimeoutError");
/** An agent that listens says so within this; a kernel that is slow to notice a restore as well. */
const SERVING_MS = 10_000;
/** The hang-up of a conversation over vsock is often known before the end of the agent or the machine that caused it. */
const CAUSE_MS = 5_000;
const CONNECTS = 5;
const RESTART_MS = 15_000;

/** The conversations with the agent of one machine: one on its control port, and over vsock another for operations. */
export class AgentLink {
  readonly #options: AgentLinkOptions;
  readonly #port: ControlPort;
  /** The conversation on the control port. */
  #control: AgentClient | undefined;
  /** The conversation that operations go over: the control port's, or one over vsock. */
  #client: AgentClient | undefined;
  #vsock: HeldConn | undefined;
  #serving: { cid: number; port: number } | undefined;
  #onServing: (() => void) | undefined;
  #auth: AgentSecret | undefined;
  /** Whether the port's opening for the conversation of now was announced. */
  #openSeen: boolean;
  /** Set while conversations begin and end by the harness' own doing. */
  #expectPort = true;
  #machineEnded = false;
  /** Whether the agent runs under our own process 1. */
  #underInit = false;

  constructor(options: AgentLinkOptions) {
    this.#options = options;
    this.#port = options.port;
    // A clone's port was opened before it was saved.
    this.#openSeen = options.info.how === "clone";
    options.ended.then(() => this.#machineEnded = true);
  }

  /** The conversation that operations go over. */
  get client(): AgentClient | undefined {
    return this.#client;
  }

  /** What the agent knows now. */
  get auth(): AgentSecret | undefined {
    return this.#auth;
  }

  /** The conversation on the control port. */
  get control(): AgentClient {
    this.assertAgent();
    return this.#control!;
  }

  /** Throws if there is no conversation. */
  assertAgent(): void {
    if (this.#control) return;
    throw new StateError(`Machine "${this.#options.machine}" has no agent`, {
      next: 'start it without `expect: "no-agent"`',
    });
  }

  /**
   * Begins the conversation on the control port, in place of any before. Over vsock operations want another one: see
   * {@linkcode AgentLink.operate}.
   *
   * @throws {BootError} If the agent does not answer in time, or the machine ends.
   */
  async connect(auth: AgentSecret, timeoutMs: number, signal?: AbortSignal): Promise<AgentClient> {
    this.#auth = auth;
    this.#serving = undefined;
    return await this.#within(timeoutMs, signal, async (stop) => {
      const control = await AgentClient.connect(this.#port.session(), {
        ...auth,
        machine: this.#options.machine,
        signal: stop,
        onEvent: (event) => this.#onControlEvent(event),
      });
      this.#control = control;
      this.#underInit = control.agent.role === "init";
      if (this.#options.info.transport !== "vsock") this.#client = control;
      this.#expectPort = false;
      control.closed.then((reason) => this.#onLost(control, reason));
      return control;
    });
  }

  /**
   * Begins the conversation that operations go over. Over vsock that is another one than the control port's, and is begun
   * once the agent has said where it listens: before, a connection would stall.
   *
   * @throws {BootError} If the agent cannot be reached over vsock, and nothing else will do.
   */
  async operate(timeoutMs: number, signal?: AbortSignal): Promise<AgentClient> {
    const { control } = this;
    const { info, transport: { isWish } } = this.#options;
    if (info.transport !== "vsock") return this.#client = control;
    const limitMs = isWish ? timeoutMs : Math.min(timeoutMs, SERVING_MS * timeScale());
    const missing = control.agent.caps.includes("vsock")
      ? await this.#waitForServing(limitMs, signal)
      : "its agent cannot listen: the guest has no driver for vsock";
    if (missing !== undefined) return await this.#withoutVsock(control, missing);
    const client = await this.#within(timeoutMs, signal, (stop) => this.#connectVsock(stop));
    client.closed.then((reason) => this.#onLost(client, reason));
    return this.#client = client;
  }

  /** Begins both conversations. */
  async reconnect(auth: AgentSecret, timeoutMs: number): Promise<AgentClient> {
    await this.connect(auth, timeoutMs);
    return await this.operate(timeoutMs);
  }

  /** Takes the secret that the agent was given; ids go on from where they were. */
  setAuth(auth: AgentSecret): void {
    this.#auth = { ...auth, lastId: this.#auth?.lastId };
  }

  /** Ends all conversations by the harness' own doing. */
  end(reason: AgentLostError): void {
    this.#expectPort = true;
    const drawn = [this.#client?.lastId ?? 0, this.#control?.lastId ?? 0];
    if (this.#auth) this.#auth = { ...this.#auth, lastId: Math.max(...drawn) };
    this.#endConversations(reason);
  }

  /** Forgets that the port was opened: the machine boots again. */
  expectOpening(): void {
    this.#openSeen = false;
  }

  /** Ends all conversations because the machine has ended. They stay to be asked why they ended. */
  close(reason: AgentLostError): void {
    this.#machineEnded = true;
    for (const client of new Set([this.#client, this.#control])) client?.close(reason);
  }

  /** Gives the port up. */
  release(): void {
    this.#port.close();
  }

  /**
   * The agent proper ended, or was started again by process 1. QEMU passes on one such event per second, and of several
   * the last one: the port of an agent that is back at once was never seen to close.
   */
  onPort(isOpen: boolean): void {
    const isFirst = isOpen && !this.#openSeen;
    this.#openSeen = isOpen;
    if (isFirst || this.#expectPort || this.#machineEnded) return;
    this.#expectPort = true;
    const { machine, bootSecret, lastWords, onAgent, drop } = this.#options;
    this.#endConversations(
      new AgentLostError(`The agent of machine "${machine}" is lost: its process ended`, {
        actual: lastWords() || undefined,
        next: "see the console; process 1 starts the agent again once",
      }),
    );
    // Process 1 was told the machine's own secret. Others start their agent with the one that came with the boot.
    const secret = this.#underInit && this.#auth ? this.#auth.secret : bootSecret;
    this.reconnect({ ...drawSecret(), secret }, RESTART_MS)
      .then(onAgent, () => drop("its agent did not come back"));
  }

  #endConversations(reason: AgentLostError): void {
    const ended = new Set([this.#client, this.#control]);
    this.#client = this.#control = this.#vsock = undefined;
    for (const client of ended) client?.close(reason);
  }

  /** Why the agent does not serve at the machine's address; `undefined` when it does. */
  async #waitForServing(limitMs: number, signal?: AbortSignal): Promise<string | undefined> {
    const { cid } = this.#options.info;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, limitMs);
    try {
      // The limit is the timer's: whether its end is an error is for the caller to say.
      return await this.#within(Infinity, signal, async (stop) => {
        const stopped = Promise.withResolvers<never>();
        stop.addEventListener("abort", () => stopped.reject(stop.reason), { once: true });
        if (stop.aborted) throw stop.reason;
        const served = new Promise<void>((resolve) => {
          this.#onServing = () => this.#serving?.cid === cid && resolve();
          this.#onServing();
        });
        await Promise.race([served, late.promise, stopped.promise]);
        if (this.#serving?.cid === cid) return undefined;
        const found = this.#serving ? `at CID ${this.#serving.cid}` : "nowhere";
        const limit = formatSeconds(limitMs / 1000);
        return `after ${limit} its agent served ${found}, not at CID ${cid}`;
      });
    } finally {
      clearTimeout(timer);
      this.#onServing = undefined;
    }
  }

  async #withoutVsock(control: AgentClient, why: string): Promise<AgentClient> {
    const { info, transport, bootError } = this.#options;
    if (transport.isWish) {
      throw await bootError(`it cannot be reached over vsock: ${why}`, undefined);
    }
    info.transport = "serial";
    info.transportWhy = `no vsock: ${why}`;
    return this.#client = control;
  }

  async #connectVsock(stop: AbortSignal): Promise<AgentClient> {
    const { cid, port } = this.#serving!;
    for (let left = CONNECTS;; left--) {
      try {
        const conn = await connectVsock({ cid, port, signal: stop });
        let isProven = false;
        conn.ended.then(() => isProven ? this.#onVsockEnd(conn) : conn.close());
        const client = await AgentClient.connect(conn, {
          ...this.#auth!,
          machine: this.#options.machine,
          signal: stop,
        });
        isProven = true;
        this.#vsock = conn;
        return client;
      } catch (error) {
        // Others may crowd the listener, and a connection that is made just when a state was loaded is reset.
        if (stop.aborted || left === 1) throw error;
      }
    }
  }

  /** Runs `work` until it, the limit, the signal or the machine ends; the latter three become its error. */
  async #within<T>(
    timeoutMs: number,
    signal: AbortSignal | undefined,
    work: (stop: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { ended, bootError } = this.#options;
    const stop = new AbortController();
    const onAbort = () => stop.abort(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const timer = timeoutMs === Infinity
      ? undefined
      : setTimeout(() => stop.abort(SILENT), timeoutMs);
    ended.then((end) => stop.abort(end));
    try {
      return await work(stop.signal);
    } catch (error) {
      signal?.throwIfAborted();
      const cause = error === SILENT ? undefined : error;
      if (stop.signal.reason === SILENT) {
        const limit = formatSeconds(timeoutMs / 1000);
        throw await bootError(`its agent did not answer within ${limit}`, cause);
      }
      if (stop.signal.aborted) {
        throw await bootError("it ended before its agent answered", cause);
      }
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #onControlEvent(event: AgentEvent): void {
    if (event.ev !== "serving") return;
    const { cid, port } = event;
    this.#serving = { cid, port };
    this.#onServing?.();
  }

  /** The conversation over vsock was hung up, by whatever ends the agent or the machine just now. */
  async #onVsockEnd(conn: HeldConn): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, CAUSE_MS * timeScale());
    await Promise.race([this.#options.ended, late.promise]);
    clearTimeout(timer);
    if (this.#vsock === conn) this.#options.drop("its agent hung up on vsock");
  }

  /** A conversation ended although its agent runs: it said what no agent says. */
  #onLost(client: AgentClient, reason: AgentLostError): void {
    const isCurrent = this.#client === client || this.#control === client;
    if (!isCurrent || this.#expectPort || this.#machineEnded) return;
    this.#options.drop(reason.message);
  }
}
