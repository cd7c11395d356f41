import { AgentLostError, type BelljarError, DeadlineError, GuestError } from "../errors.ts";
import { runScope } from "../scope/mod.ts";
import { errnoName } from "../values/errno.ts";
import { formatSeconds } from "../values/duration.ts";
import { toText } from "./bytes.ts";
import { decodeValue, encodeMap } from "./codec.ts";
import { type Frame, FrameReader } from "./frames.ts";
import { type AgentHello, type HandshakeOptions, shakeHands } from "./handshake.ts";
import {
  type AgentEvent,
  CLOSE,
  ERROR,
  EVENTS,
  FrameKind,
  type OpName,
  type OpReply,
  type OpRequest,
  OPS,
} from "./messages.ts";
import { readShape, type Shape, WireFormatError } from "./schema.ts";
import { type StreamDirection, WireStream } from "./stream.ts";
import { type ByteConn, FrameWriter } from "./writer.ts";

/** Options for {@linkcode AgentClient.connect}. */
export interface ConnectOptions extends HandshakeOptions {
  /** Name of the machine, for errors. */
  machine: string;
  /** Is called with every event that is about no id, from the first on. */
  onEvent?: (event: AgentEvent) => void;
  /**
   * The last id that earlier conversations with this agent have drawn: their processes and workers live on under their ids.
   *
   * @default {0}
   */
  lastId?: number;
}

/** Options for {@linkcode AgentClient.request}. */
export interface RequestOptions {
  /**
   * Number of the worker in whose name it is done; 0 is the machine itself.
   *
   * @default {0}
   */
  principal?: number;
  /** Ends the operation in the guest; the request rejects with its reason. */
  signal?: AbortSignal;
  /**
   * Longest wait for the answer, in milliseconds.
   *
   * @default {60_000}
   */
  timeoutMs?: number;
}

/** Figures of a conversation. */
export interface ClientStats {
  requests: number;
  bytesIn: number;
  bytesOut: number;
  pending: number;
  streams: number;
}

interface Pending {
  op: OpName;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

/** Answers that may still come for requests that were given up; more than this is not the agent's doing. */
const MAX_ABANDONED = 10_000;
const DEFAULT_TIMEOUT_MS = 60_000;

/** One conversation with an agent: requests, streams and events over one connection. */
export class AgentClient {
  /** What the agent said of itself. */
  readonly agent: AgentHello;
  /** Name of the machine. */
  readonly machine: string;
  /** Resolves with the reason when the conversation has ended. */
  readonly closed: Promise<AgentLostError>;
  #conn: ByteConn;
  #reader: FrameReader;
  #writer: FrameWriter;
  #lastId = 0;
  #inheritedId = 0;
  #pending = new Map<number, Pending>();
  #abandoned = new Set<number>();
  #streams = new Map<number, WireStream>();
  #listeners = new Map<number, Set<(event: AgentEvent) => void>>();
  #lost: AgentLostError | undefined;
  #resolveClosed: (reason: AgentLostError) => void;
  #stats = { requests: 0, bytesIn: 0 };

  private constructor(
    conn: ByteConn,
    reader: FrameReader,
    agent: AgentHello,
    machine: string,
  ) {
    this.#conn = conn;
    this.#reader = reader;
    this.#writer = new FrameWriter(conn);
    this.agent = agent;
    this.machine = machine;
    const { promise, resolve } = Promise.withResolvers<AgentLostError>();
    this.closed = promise;
    this.#resolveClosed = resolve;
  }

  /**
   * Begins a conversation. Owns `conn` from the call on: it is closed when this fails.
   *
   * @throws {AgentLostError} If the peer is no agent of this machine, speaks another version, or hangs up.
   * @throws {unknown} The reason of `options.signal`, if that aborts first.
   */
  static async connect(conn: ByteConn, options: ConnectOptions): Promise<AgentClient> {
    const reader = new FrameReader();
    const agent = await shakeHands(conn, reader, options);
    const client = new AgentClient(conn, reader, agent, options.machine);
    client.#lastId = client.#inheritedId = options.lastId ?? 0;
    // Before anything is read: the agent may have said more together with its hello.
    if (options.onEvent) client.on(0, options.onEvent);
    runScope().run(() => client.#readLoop());
    return client;
  }

  /** Figures of the conversation so far. */
  get stats(): ClientStats {
    return {
      ...this.#stats,
      bytesOut: this.#writer.bytesOut,
      pending: this.#pending.size,
      streams: this.#streams.size,
    };
  }

  /** Why the conversation ended, if it has. */
  get lost(): AgentLostError | undefined {
    return this.#lost;
  }

  /** The last id that was drawn, in this conversation or one before it. */
  get lastId(): number {
    return this.#lastId;
  }

  /** Whether an id was drawn by a conversation before this one, as far as the agent knows. */
  isInherited(id: number): boolean {
    return id <= this.#inheritedId;
  }

  /** Draws an id for a stream, process, file, watch or call. */
  newId(): number {
    return ++this.#lastId;
  }

  /** Opens a stream; the request that names its id makes it known to the agent. */
  openStream(direction: StreamDirection, principal = 0): WireStream {
    return this.#open(this.newId(), direction, principal);
  }

  /** Opens a stream anew that an earlier conversation has opened, by its id. */
  reopenStream({ id, direction, principal }: WireStream): WireStream {
    return this.#open(id, direction, principal);
  }

  #open(id: number, direction: StreamDirection, principal: number): WireStream {
    const stream = new WireStream(id, direction, principal, {
      send: (kind, streamId, payload) =>
        this.#writer.write({ kind, principal, id: streamId, payload }),
      forget: (streamId) => this.#streams.delete(streamId),
    });
    if (this.#lost) stream.onLost(this.#lost);
    else this.#streams.set(id, stream);
    return stream;
  }

  /**
   * Drops a stream whose request failed before the agent knew of it.
   */
  dropStream(stream: WireStream): void {
    this.#streams.delete(stream.id);
    stream.onClose(0);
  }

  /** Calls `listener` with every event about `id`, until the returned function is called. */
  on(id: number, listener: (event: AgentEvent) => void): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(id) === listeners) this.#listeners.delete(id);
    };
  }

  /**
   * Asks for one operation.
   *
   * @throws {GuestError} If the guest refuses it.
   * @throws {DeadlineError} If there is no answer in time; the operation is cancelled in the guest.
   * @throws {AgentLostError} If the conversation has ended or ends meanwhile.
   * @throws {unknown} The reason of `options.signal`, if that aborts first.
   */
  async request<K extends OpName>(
    op: K,
    args: OpRequest<K>,
    options: RequestOptions = {},
  ): Promise<OpReply<K>> {
    const { principal = 0, signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    signal?.throwIfAborted();
    if (this.#lost) throw this.#lost;
    const id = this.newId();
    const payload = encodeMap({ op, ...args });
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#pending.set(id, { op, resolve, reject });
    this.#stats.requests++;
    const giveUp = (reason: unknown) => {
      if (!this.#pending.delete(id)) return;
      this.#abandon(id);
      this.#send(FrameKind.cancel, principal, id, new Uint8Array(0));
      reject(reason);
    };
    const aborted = () => giveUp(signal!.reason);
    signal?.addEventListener("abort", aborted, { once: true });
    const timer = timeoutMs === Infinity
      ? undefined
      : setTimeout(() => giveUp(this.#deadline(op, timeoutMs)), timeoutMs);
    this.#send(FrameKind.request, principal, id, payload);
    try {
      return await promise as OpReply<K>;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
    }
  }

  /** Ends the conversation; what is pending rejects with `reason`. Harmless when called again. */
  close(reason?: AgentLostError): void {
    this.#end(
      reason ?? new AgentLostError(`The conversation with machine "${this.machine}" was closed`),
    );
  }

  #deadline(op: string, timeoutMs: number): DeadlineError {
    return new DeadlineError(`Cannot finish ${op} on machine "${this.machine}"`, {
      expected: `an answer within ${formatSeconds(timeoutMs / 1000)}`,
      actual: "the operation is still in progress and was cancelled",
    });
  }

  #send(kind: number, principal: number, id: number, payload: Uint8Array): void {
    this.#writer.write({ kind, principal, id, payload }).catch((cause) =>
      this.#end(this.#lostBecause("the connection broke while writing", cause))
    );
  }

  #abandon(id: number): void {
    this.#abandoned.add(id);
    if (this.#abandoned.size > MAX_ABANDONED) {
      this.#abandoned.delete(this.#abandoned.values().next().value!);
    }
  }

  async #readLoop(): Promise<void> {
    try {
      while (!this.#lost) {
        for (let frame = this.#reader.next(); frame; frame = this.#reader.next()) {
          this.#handle(frame);
        }
        const n = await this.#conn.read(this.#reader.room());
        if (n === null) return this.#end(this.#lostBecause("it closed the connection"));
        this.#stats.bytesIn += n;
        this.#reader.filled(n);
      }
    } catch (cause) {
      const why = cause instanceof WireFormatError
        ? `it sent what no agent sends: ${cause.message}`
        : "the connection broke";
      this.#end(this.#lostBecause(why, cause));
    }
  }

  #handle(frame: Frame): void {
    const { id, payload } = frame;
    switch (frame.kind) {
      case FrameKind.data:
        return this.#streamOf(id)?.onData(payload);
      case FrameKind.reply:
      case FrameKind.error:
        return this.#settle(frame);
      case FrameKind.event:
        return this.#dispatch(id, payload);
      case FrameKind.credit: {
        if (payload.length !== 4) throw new WireFormatError("credit frame of a wrong length");
        const view = new DataView(payload.buffer, payload.byteOffset, 4);
        return this.#streamOf(id)?.onCredit(view.getUint32(0, true));
      }
      case FrameKind.close: {
        const { errno = 0 } = payload.length === 0
          ? {}
          : readShape(CLOSE, decodeValue(payload), "close");
        return this.#streamOf(id)?.onClose(errno);
      }
      default:
        throw new WireFormatError(`frame kind ${frame.kind} in mid-conversation`);
    }
  }

  #streamOf(id: number): WireStream | undefined {
    const stream = this.#streams.get(id);
    // What was on its way when a stream ended is no fault; an id that was never drawn is.
    if (!stream && (id === 0 || id > this.#lastId)) {
      throw new WireFormatError(`frame for stream ${id}, which does not exist`);
    }
    return stream;
  }

  #settle(frame: Frame): void {
    const { id, payload } = frame;
    const pending = this.#pending.get(id);
    if (!pending) {
      if (this.#abandoned.delete(id)) return;
      throw new WireFormatError(`answer to request ${id}, which nobody made`);
    }
    const { op } = pending;
    if (frame.kind === FrameKind.error) {
      const details = readShape(ERROR, decodeValue(payload), `error of ${op}`);
      this.#pending.delete(id);
      return pending.reject(guestError(this.machine, details));
    }
    const value = readShape(OPS[op].reply as Shape, decodeValue(payload), `reply of ${op}`);
    this.#pending.delete(id);
    pending.resolve(value);
  }

  #dispatch(id: number, payload: Uint8Array): void {
    if (id > this.#lastId) throw new WireFormatError(`event about ${id}, which does not exist`);
    const value = decodeValue(payload) as Record<string, unknown>;
    const name = typeof value === "object" && value !== null && Object.hasOwn(value, "ev")
      ? value.ev
      : undefined;
    if (typeof name !== "string" || !Object.hasOwn(EVENTS, name)) {
      throw new WireFormatError(`unknown event ${JSON.stringify(name)}`);
    }
    const shape = EVENTS[name as keyof typeof EVENTS] as Shape;
    const event = { ...readShape(shape, value, `event ${name}`), ev: name } as AgentEvent;
    for (const listener of [...this.#listeners.get(id) ?? []]) listener(event);
  }

  #lostBecause(why: string, cause?: unknown): AgentLostError {
    return new AgentLostError(`The agent of machine "${this.machine}" is lost: ${why}`, { cause });
  }

  #end(reason: AgentLostError): void {
    if (this.#lost) return;
    this.#lost = reason;
    try {
      this.#conn.close();
    } catch {
      // It was closed already by whoever ended the machine.
    }
    for (const stream of this.#streams.values()) stream.onLost(reason);
    this.#streams.clear();
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
    this.#listeners.clear();
    this.#resolveClosed(reason);
  }
}

function guestError(
  machine: string,
  details: {
    code: string;
    errno: number;
    op: string;
    path?: Uint8Array;
    stage?: string;
    detail?: string;
  },
): BelljarError {
  const { code, errno, op, stage, detail } = details;
  const path = details.path && toText(details.path);
  const name = errno === 0 ? code.toUpperCase() : errnoName(errno);
  const where = path === undefined ? "" : ` ${JSON.stringify(path)}`;
  const step = stage === undefined ? "" : ` (${stage})`;
  const text = detail ? `: ${detail}` : "";
  return new GuestError(`Cannot ${op}${where} on machine "${machine}"${step}: ${name}${text}`, {
    errno: name,
    op,
    path,
    vm: machine,
    code: stage
      ? `${code.toUpperCase()}_${stage.toUpperCase()}`
      : errno === 0
      ? code.toUpperCase()
      : name,
  });
}
