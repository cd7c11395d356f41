import { encodeFrame, type Frame, frameSize, putFrame } from "./frames.ts";
import { LIMITS } from "./messages.ts";

/** A connection as the wire needs it; every `Deno.Conn` is one. */
export interface ByteConn {
  read(buffer: Uint8Array): Promise<number | null>;
  write(data: Uint8Array): Promise<number>;
  close(): void;
}

/** Room for one frame of data with some small ones, in which frames are put together. */
const STAGING = LIMITS.MAX_DATA + 16 * 1024;
/** Staging areas that nobody uses: fresh memory for each frame would cost more than its copy. */
const staging: Uint8Array<ArrayBuffer>[] = [];
const KEPT = 4;

/** Writes frames in order, several small ones at once when they pile up. */
export class FrameWriter {
  bytesOut = 0;
  #conn: ByteConn;
  #queue: Omit<Frame, "length">[] = [];
  #flushing: Promise<void> | undefined;

  constructor(conn: ByteConn) {
    this.#conn = conn;
  }

  /**
   * Queues a frame; resolves when the connection has taken it and all before it. The payload must stay as it is until then.
   */
  write(frame: Omit<Frame, "length">): Promise<void> {
    frameSize(frame.payload); // refuses what is too long
    this.#queue.push(frame);
    return this.#flushing ??= this.#flush();
  }

  async #flush(): Promise<void> {
    const area = staging.pop() ?? new Uint8Array(STAGING);
    try {
      while (this.#queue.length > 0) {
        const batch = this.#next(area);
        await writeAll(this.#conn, batch);
        this.bytesOut += batch.length;
      }
    } finally {
      if (staging.length < KEPT) staging.push(area);
      // In the same turn as the last look at the queue: a frame that comes a moment later must begin a flush of its own.
      this.#flushing = undefined;
    }
  }

  /** Takes as many frames as fit, or one that does not. */
  #next(area: Uint8Array<ArrayBuffer>): Uint8Array {
    let used = 0;
    for (let frame = this.#queue[0]; frame; frame = this.#queue[0]) {
      const size = frameSize(frame.payload);
      if (used + size > area.length) break;
      putFrame(area, used, frame);
      used += size;
      this.#queue.shift();
    }
    if (used > 0) return area.subarray(0, used);
    const { kind, principal, id, payload } = this.#queue.shift()!;
    return encodeFrame(kind, principal, id, payload);
  }
}

/** Writes all of `data`, in as many steps as the connection takes. */
export async function writeAll(conn: ByteConn, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length;) at += await conn.write(data.subarray(at));
}
