import { LineSplitter } from "./_line_reader.ts";

/** Longest message. A peer that sends more without a line feed is cut off. */
const MAX_MESSAGE = 64 * 1024 * 1024;

/** Sends and receives JSON objects, one per line, over a connection. */
export class LineChannel<In, Out> {
  #conn: Deno.Conn;
  #tail: Promise<void> = Promise.resolve();
  #encoder = new TextEncoder();
  #closed = false;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Sends a message after those before it. What cannot be sent is dropped: the reader's end shows why. */
  send(message: Out): Promise<void> {
    const bytes = this.#encoder.encode(`${JSON.stringify(message)}\n`);
    return this.#tail = this.#tail.then(async () => {
      if (this.#closed) return;
      try {
        for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
      } catch {
        this.#closed = true; // The peer has gone.
      }
    });
  }

  /** Resolves when all that was sent is written. */
  flush(): Promise<void> {
    return this.#tail;
  }

  /** The messages of the peer, until it closes its end. A line that is no JSON is skipped: its writer was killed. */
  async *messages(): AsyncGenerator<In> {
    const lines = new LineSplitter(MAX_MESSAGE);
    const buffer = new Uint8Array(64 * 1024);
    while (true) {
      let got: number | null;
      try {
        got = await this.#conn.read(buffer);
      } catch {
        return; // Closed by this side, or reset: either way nothing more comes.
      }
      if (got === null) return;
      for (const line of lines.push(buffer.subarray(0, got))) {
        const message = parse(line);
        if (message !== undefined) yield message as In;
      }
    }
  }

  close(): void {
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // It is closed already.
    }
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
