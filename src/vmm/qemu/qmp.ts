import { BelljarError } from "../../errors.ts";
import { formatSeconds } from "../../values/duration.ts";
import { type ByteConn, writeAll } from "../../wire/mod.ts";

/** An event of QEMU. */
export interface QmpEvent {
  event: string;
  data: Record<string, unknown>;
}

/** Options for {@linkcode QmpClient.execute}. */
export interface QmpOptions {
  /** @default {10_000} */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** QEMU refused a command, or its monitor is gone. */
export class QmpError extends BelljarError {
  override readonly name = "QmpError";
  /** The command. */
  readonly command: string;
  /** QEMU's class of the error, such as `"GenericError"`; empty when the monitor is gone or silent. */
  readonly errorClass: string;

  constructor(summary: string, command: string, errorClass = "", actual?: string) {
    super(summary, { code: "QMP", actual });
    this.command = command;
    this.errorClass = errorClass;
  }
}

interface Pending {
  command: string;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

type Message =
  & Partial<QmpEvent>
  & { QMP?: unknown; return?: unknown; error?: { class: string; desc: string }; id?: number };

const MAX_LINE = 16 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 10_000;

/** QEMU's monitor: commands with answers, and events. */
export class QmpClient {
  /** Resolves when the monitor is gone. */
  readonly closed: Promise<void>;
  #conn: ByteConn;
  #lastId = 0;
  #pending = new Map<number, Pending>();
  #listeners = new Set<(event: QmpEvent) => void>();
  #gone = false;
  #greeting = Promise.withResolvers<void>();
  #closed = Promise.withResolvers<void>();

  /** Takes a connection to a monitor; `negotiate()` comes first. */
  constructor(conn: ByteConn) {
    this.#conn = conn;
    this.closed = this.#closed.promise;
    this.#greeting.promise.catch(() => {}); // negotiate() reports it
    this.#read().catch(() => {}).finally(() => this.#end()); // a broken connection is an ended one
  }

  /** Waits for the greeting and leaves the mode in which only capabilities can be set. */
  async negotiate(options: QmpOptions = {}): Promise<void> {
    await this.#limited("greeting", this.#greeting.promise, options);
    await this.execute("qmp_capabilities", undefined, options);
  }

  /**
   * Runs a command.
   *
   * @throws {QmpError} If QEMU refuses it, does not answer in time, or is gone.
   */
  async execute<T = unknown>(
    command: string,
    args?: Record<string, unknown>,
    options: QmpOptions = {},
  ): Promise<T> {
    options.signal?.throwIfAborted();
    if (this.#gone) throw gone(command);
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<unknown>();
    this.#pending.set(id, { command, ...answer });
    const text = JSON.stringify({ execute: command, arguments: args, id });
    writeAll(this.#conn, new TextEncoder().encode(`${text}\n`)).catch(() => this.#end());
    try {
      return await this.#limited(command, answer.promise, options) as T;
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Calls `listener` with every event, until the returned function is called. */
  on(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Waits for an event that `matches`; begins to listen before it returns, so that the command which causes the event can
   * follow.
   */
  waitFor(
    what: string,
    matches: (event: QmpEvent) => boolean,
    options: QmpOptions = {},
  ): Promise<QmpEvent> {
    const found = Promise.withResolvers<QmpEvent>();
    const off = this.on((event) => {
      if (matches(event)) found.resolve(event);
    });
    this.closed.then(() => found.reject(gone(what)));
    if (this.#gone) found.reject(gone(what));
    return this.#limited(what, found.promise, options).finally(off);
  }

  /** Hangs up. */
  close(): void {
    this.#end();
  }

  async #limited<T>(command: string, answer: Promise<T>, options: QmpOptions): Promise<T> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
    const stop = Promise.withResolvers<never>();
    const onAbort = () => stop.reject(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const timer = setTimeout(() => {
      const limit = formatSeconds(timeoutMs / 1000);
      stop.reject(
        new QmpError(`QEMU did not answer "${command}"`, command, "", `silence for ${limit}`),
      );
    }, timeoutMs);
    try {
      return await Promise.race([answer, stop.promise]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      answer.catch(() => {}); // given up: nobody else looks at it
    }
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(64 * 1024);
    let text = "";
    for (;;) {
      const n = await this.#conn.read(buffer);
      if (n === null) return;
      text += decoder.decode(buffer.subarray(0, n), { stream: true });
      const lines = text.split("\n");
      text = lines.pop()!;
      if (text.length > MAX_LINE) throw new SyntaxError("QMP line without end");
      for (const line of lines) if (line.trim() !== "") this.#handle(JSON.parse(line));
    }
  }

  #handle(message: Message): void {
    if (message.QMP !== undefined) return this.#greeting.resolve();
    if (message.event !== undefined) {
      const event = { event: message.event, data: message.data ?? {} };
      for (const listener of [...this.#listeners]) listener(event);
      return;
    }
    const pending = this.#pending.get(message.id ?? -1);
    if (!pending) return; // given up meanwhile
    if (!message.error) return pending.resolve(message.return);
    const { class: errorClass, desc } = message.error;
    const { command } = pending;
    pending.reject(new QmpError(`QEMU refused "${command}": ${desc}`, command, errorClass));
  }

  #end(): void {
    if (this.#gone) return;
    this.#gone = true;
    try {
      this.#conn.close();
    } catch {
      // The other end was first.
    }
    this.#greeting.reject(gone("greeting"));
    for (const { command, reject } of this.#pending.values()) reject(gone(command));
    this.#pending.clear();
    this.#listeners.clear();
    this.#closed.resolve();
  }
}

function gone(command: string): QmpError {
  return new QmpError(`Cannot run "${command}": QEMU's monitor is gone`, command);
}
