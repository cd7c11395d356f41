import type { ByteConn } from "../wire/mod.ts";

/**
 * One byte pipe that lives as long as its machine, on which conversations follow each other: a reset, a crash of the
 * agent and a restore end a conversation, but not the pipe. A read at the pipe's end waits until the conversation is
 * closed.
 */
export class ControlPort {
  readonly #conn: ByteConn;
  /** Settles when the read that is in progress has; never rejects. */
  #reading: Promise<unknown> | undefined;
  /** What a read of an earlier conversation got after that was over. */
  #left = new Uint8Array(0);
  #ended = false;
  #closed = false;
  #session: Session | undefined;

  constructor(conn: ByteConn) {
    this.#conn = conn;
  }

  /** Returns the pipe for a new conversation; the one before it is over. */
  session(): ByteConn {
    this.#session?.close();
    const session = new Session({
      read: (buffer, isOver) => this.#read(buffer, isOver),
      write: (data) => this.#conn.write(data),
    });
    if (this.#closed) session.close();
    return this.#session = session;
  }

  /** Ends the pipe. */
  close(): void {
    this.#session?.close();
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // Closed by an earlier call.
    }
  }

  async #read(buffer: Uint8Array, isOver: () => boolean): Promise<number | null> {
    while (this.#reading) await this.#reading;
    if (isOver()) return null;
    if (this.#left.length > 0) {
      const n = Math.min(buffer.length, this.#left.length);
      buffer.set(this.#left.subarray(0, n));
      this.#left = this.#left.slice(n);
      return n;
    }
    if (this.#ended) return null;
    const read = this.#conn.read(buffer);
    const settled = read.then((n) => {
      if (n === null) this.#ended = true;
      else if (isOver()) this.#left = buffer.slice(0, n);
    }, () => this.#ended = true).finally(() => this.#reading = undefined);
    this.#reading = settled;
    const n = await read;
    await settled;
    return n;
  }
}

interface Pipe {
  read(buffer: Uint8Array, isOver: () => boolean): Promise<number | null>;
  write(data: Uint8Array): Promise<number>;
}

class Session implements ByteConn {
  readonly #pipe: Pipe;
  #over = false;
  #wake: ((n: null) => void) | undefined;

  constructor(pipe: Pipe) {
    this.#pipe = pipe;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    if (this.#over) return Promise.resolve(null);
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#pipe.read(buffer, () => this.#over).then((n) => {
        // The end of the pipe is the machine's end: the machine knows why, and closes the conversation with that.
        if (n !== null || this.#over) resolve(n);
      }, () => {}); // a broken pipe is an ended one
    });
  }

  async write(data: Uint8Array): Promise<number> {
    if (this.#over) throw new Deno.errors.BrokenPipe("the conversation is over");
    return await this.#pipe.write(data);
  }

  close(): void {
    this.#over = true;
    this.#wake?.(null);
  }
}
