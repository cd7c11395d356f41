import { concatBytes } from "./bytes.ts";

/** A connection as the wire needs it; every `Deno.Conn` is one. */
export interface ByteConn {
  read(buffer: Uint8Array): Promise<number | null>;
  write(data: Uint8Array): Promise<number>;
  close(): void;
}

/** Frames below this size are put together into one write. */
const MERGE_BELOW = 64 * 1024;

/** Writes frames in order, several small ones at once when they pile up. */
export class FrameWriter {
  bytesOut = 0;
  #conn: ByteConn;
  #queue: Uint8Array[] = [];
  #flushing: Promise<void> | undefined;

  constructor(conn: ByteConn) {
    this.#conn = conn;
  }

  /** Queues a frame; resolves when the connection has taken it and all before it. */
  write(frame: Uint8Array): Promise<void> {
    this.#queue.push(frame);
    return this.#flushing ??= this.#flush();
  }

  async #flush(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        const batch: Uint8Array[] = [];
        for (let size = 0; this.#queue.length > 0 && (size < MERGE_BELOW);) {
          const frame = this.#queue.shift()!;
          size += frame.length;
          batch.push(frame);
        }
        await writeAll(this.#conn, batch.length === 1 ? batch[0]! : concatBytes(batch));
        this.bytesOut += batch.reduce((sum, frame) => sum + frame.length, 0);
      }
    } finally {
      // In the same turn as the last look at the queue: a frame that comes a moment later must begin a flush of its own.
      this.#flushing = undefined;
    }
  }
}

/** Writes all of `data`, in as many steps as the connection takes. */
export async function writeAll(conn: ByteConn, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length;) at += await conn.write(data.subarray(at));
}
