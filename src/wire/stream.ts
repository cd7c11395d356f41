import { GuestError } from "../errors.ts";
import { errnoName } from "../values/errno.ts";
import { FrameKind, LIMITS } from "./messages.ts";
import { WireFormatError } from "./schema.ts";

/** What a stream needs of its connection. */
export interface StreamPort {
  /** Queues a frame; resolves when the connection has taken it. */
  send(kind: number, id: number, payload: Uint8Array): Promise<void>;
  /** Called when both directions have ended. */
  forget(id: number): void;
}

/** Takes data of a stream. While the promise it returns is pending, no further credit is granted. */
export type DataSink = (chunk: Uint8Array) => void | Promise<void>;

/** Grant credit when this much was consumed: often enough to keep the sender going, rarely enough to be cheap. */
const CREDIT_STEP = LIMITS.INITIAL_CREDIT / 4;
/**
 * Granted beyond that to a stream of which this much was consumed, once. Each grant wakes the guest: with 16 of them per MiB
 * a transfer took it 4.9 ms of processor time per MiB under TCG, with 4 of them 3.4 ms. So bulk gets a window of 1 MiB, and
 * a grant per quarter of it.
 */
const BULK_CREDIT = 3 * LIMITS.INITIAL_CREDIT;
const BULK_STEP = (LIMITS.INITIAL_CREDIT + BULK_CREDIT) / 4;
const EMPTY = new Uint8Array(0);

/** Which way a stream's bytes go, seen from the harness. */
export type StreamDirection = "in" | "out";

/** One stream of bytes, under credit. */
export class WireStream {
  readonly id: number;
  readonly direction: StreamDirection;
  /** Resolves with the errno of the peer's close when its direction has ended; 0 is the regular end. */
  readonly ended: Promise<number>;
  #port: StreamPort;
  #principal: number;
  #sink: DataSink | undefined;
  #borrowed = false;
  /** What came before there was a sink; at most the initial credit, as nothing is consumed yet. */
  #early: Uint8Array[] = [];
  #window: number = LIMITS.INITIAL_CREDIT;
  #consumed = 0;
  #step = CREDIT_STEP;
  #discarding = false;
  #delivery: Promise<void> | undefined;
  #inEnded = false;
  #outEnded = false;
  #credit: number = LIMITS.INITIAL_CREDIT;
  #waiting: (() => void)[] = [];
  #peerErrno: number | undefined;
  #lost: Error | undefined;
  #resolveEnded: (errno: number) => void;

  constructor(id: number, direction: StreamDirection, principal: number, port: StreamPort) {
    this.id = id;
    this.direction = direction;
    this.#principal = principal;
    this.#port = port;
    const { promise, resolve } = Promise.withResolvers<number>();
    this.ended = promise;
    this.#resolveEnded = resolve;
  }

  /** The principal in whose name it was opened. */
  get principal(): number {
    return this.#principal;
  }

  /** Whether the peer may still send. */
  get isOpen(): boolean {
    return !this.#inEnded;
  }

  /**
   * Gives everything that comes, and came before, to `sink`, in order. With `borrowed` chunks are not copied: the sink must
   * be done with one when it returns, and may not return a promise.
   */
  receive(sink: DataSink, options: { borrowed?: boolean } = {}): void {
    this.#sink = sink;
    this.#borrowed = options.borrowed ?? false;
    for (const chunk of this.#early.splice(0)) this.#deliver(chunk);
  }

  /** What came so far or comes until the end, in one piece. Rejects when the connection is lost. */
  async collect(): Promise<Uint8Array<ArrayBuffer>> {
    const chunks: Uint8Array[] = [];
    let total = 0;
    this.receive((chunk) => {
      chunks.push(chunk);
      total += chunk.length;
    });
    await this.ended;
    if (this.#lost) throw this.#lost;
    const whole = new Uint8Array(total);
    let at = 0;
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }

  /** The incoming direction as a web stream; a reader that is slow holds the sender back. */
  readable(): ReadableStream<Uint8Array> {
    let pulled: (() => void) | undefined;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.receive((chunk) => {
          controller.enqueue(chunk);
          if ((controller.desiredSize ?? 1) > 0) return;
          return new Promise<void>((resolve) => pulled = resolve);
        });
        this.ended.then(async () => {
          await this.#delivery;
          if (this.#lost) controller.error(this.#lost);
          else controller.close();
        }).catch(() => {}); // The reader cancelled: nobody is there to be told.
      },
      pull: () => {
        pulled?.();
        pulled = undefined;
      },
      cancel: () => {
        pulled?.();
        this.discard();
      },
    });
  }

  /** Tells the sender to stop, and drops what still comes. */
  discard(): void {
    if (this.#discarding || this.#inEnded) return;
    this.#discarding = true;
    this.#early = [];
    this.#sendClose();
  }

  /** Sends bytes as credit allows; resolves when the connection has taken them all. */
  async write(data: Uint8Array, signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < data.length;) {
      signal?.throwIfAborted();
      this.#checkWritable();
      if (this.#credit === 0) {
        await this.#moreCredit(signal);
        continue;
      }
      const size = Math.min(data.length - at, this.#credit, LIMITS.MAX_DATA);
      this.#credit -= size;
      await this.#port.send(FrameKind.data, this.id, data.subarray(at, at + size));
      at += size;
    }
  }

  /** Ends the outgoing direction; harmless when called again. */
  end(): void {
    if (this.#outEnded) return;
    this.#outEnded = true;
    this.#sendClose();
    this.#port.forget(this.id);
  }

  /** Takes a data frame of the peer. */
  onData(payload: Uint8Array): void {
    if (this.#inEnded) throw new WireFormatError(`data on stream ${this.id} after its end`);
    this.#window -= payload.length;
    if (this.#window < 0) throw new WireFormatError(`more data on stream ${this.id} than granted`);
    if (this.#discarding) return this.#grant(payload.length);
    const chunk = this.#borrowed ? payload : payload.slice(); // The frame's buffer is used again.
    if (this.#sink) this.#deliver(chunk);
    else this.#early.push(chunk);
  }

  /** Takes a credit frame of the peer. */
  onCredit(bytes: number): void {
    this.#credit += bytes;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Takes the peer's close frame: the end of what it sends, or its refusal to take more. */
  onClose(errno: number): void {
    if (this.#inEnded) return;
    this.#inEnded = true;
    this.#peerErrno = errno;
    for (const wake of this.#waiting.splice(0)) wake();
    if (this.#delivery) this.#delivery.then(() => this.#resolveEnded(errno));
    else this.#resolveEnded(errno);
    if (this.direction === "in") this.#port.forget(this.id);
  }

  /** Ends both directions because the connection is gone. */
  onLost(error: Error): void {
    this.#lost = error;
    this.#outEnded = true;
    if (!this.#inEnded) {
      this.#inEnded = true;
      this.#resolveEnded(-1);
    }
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Why the connection ended, if it did while the stream was open. */
  get lost(): Error | undefined {
    return this.#lost;
  }

  #deliver(chunk: Uint8Array): void {
    const run = (): void | Promise<void> => {
      try {
        return this.#sink!(chunk);
      } catch {
        this.discard(); // A sink that throws wants no more; its owner knows why.
      }
    };
    const done = () => this.#grant(chunk.length);
    if (!this.#delivery) {
      const result = run();
      if (!(result instanceof Promise)) return done();
      this.#track(result.then(done, () => this.discard()));
    } else {
      this.#track(this.#delivery.then(run).then(done, () => this.discard()));
    }
  }

  #track(delivery: Promise<void>): void {
    this.#delivery = delivery;
    delivery.then(() => {
      if (this.#delivery === delivery) this.#delivery = undefined;
    });
  }

  #grant(bytes: number): void {
    this.#consumed += bytes;
    if (this.#consumed < this.#step || this.#inEnded) return;
    if (this.#step !== BULK_STEP) {
      this.#step = BULK_STEP;
      this.#consumed += BULK_CREDIT;
    }
    const payload = new Uint8Array(4);
    new DataView(payload.buffer).setUint32(0, this.#consumed, true);
    this.#window += this.#consumed;
    this.#consumed = 0;
    this.#port.send(FrameKind.credit, this.id, payload).catch(() => {}); // As in end().
  }

  #checkWritable(): void {
    if (this.#lost) throw this.#lost;
    if (this.#peerErrno !== undefined) {
      const errno = errnoName(this.#peerErrno || 32);
      throw new GuestError(`Cannot write: the guest closed the stream (${errno})`, {
        errno,
        op: "write",
      });
    }
    if (this.#outEnded) throw new TypeError("Cannot write to a stream after its end");
  }

  async #moreCredit(signal?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    const aborted = () => resolve();
    signal?.addEventListener("abort", aborted, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", aborted);
    }
  }

  #sendClose(): void {
    this.#port.send(FrameKind.close, this.id, EMPTY).catch(() => {}); // A lost connection is told elsewhere.
  }
}
