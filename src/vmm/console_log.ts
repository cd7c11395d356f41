import { type ByteConn, writeAll } from "../wire/mod.ts";

/** Bytes of the end that are kept in memory, so that the last ones are there before they are on disk. */
const RECENT = 256 * 1024;

/** Where a console's bytes come from, and who writes its file. */
export interface ConsoleLogOptions {
  /** File that holds every byte from power-on. */
  path: string;
  /** Whether this writes the file; otherwise the program that runs the machine does. */
  writesFile: boolean;
  /** What is in the file already: the boot of the template that this machine is a clone of. */
  before?: Uint8Array;
}

/** A machine's console from power-on: on disk, live, and kept after the machine has ended. */
export class ConsoleLog {
  /** File that holds every byte from power-on. */
  readonly path: string;
  /** Resolves when no more bytes can come. */
  readonly ended: Promise<void>;
  #conn: ByteConn | undefined;
  #file: Deno.FsFile | undefined;
  #listeners = new Set<(bytes: Uint8Array) => void>();
  #recent: Uint8Array[] = [];
  #recentSize = 0;
  #length = 0;
  #ended = Promise.withResolvers<void>();

  constructor(options: ConsoleLogOptions) {
    this.path = options.path;
    this.ended = this.#ended.promise;
    if (options.before) {
      this.#length = options.before.length;
      this.#remember(options.before.slice(-RECENT));
    }
    if (options.writesFile) {
      this.#file = Deno.openSync(this.path, { create: true, append: true, mode: 0o600 });
    }
  }

  /** Bytes that came so far. */
  get length(): number {
    return this.#length;
  }

  /** Follows a connection until it ends; what is written goes there. */
  attach(conn: ByteConn): void {
    this.#conn = conn;
    const buffer = new Uint8Array(64 * 1024);
    const follow = async () => {
      for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
        this.#push(buffer.slice(0, n));
      }
    };
    // A connection that breaks is a machine that ended.
    follow().catch(() => {}).finally(() => this.close());
  }

  /** Follows a stream until it ends; nothing can be written. */
  follow(stream: ReadableStream<Uint8Array>): void {
    const follow = async () => {
      for await (const chunk of stream) this.#push(chunk);
    };
    follow().catch(() => {}).finally(() => this.close()); // as above
  }

  /** Calls `fn` with each later piece, until the returned function is called. */
  onData(fn: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  /** Types at the console. */
  async write(bytes: Uint8Array): Promise<void> {
    if (!this.#conn) throw new TypeError("Cannot write to this console: its machine has no input");
    await writeAll(this.#conn, bytes);
  }

  /** Everything that came so far. */
  bytes(): Uint8Array {
    const onDisk = this.#onDisk();
    if (onDisk.length >= this.#length) return onDisk;
    // The program that runs the machine hands a byte on before it writes it to the file.
    const missing = this.#length - onDisk.length;
    const recent = this.#joinRecent();
    const all = new Uint8Array(this.#length);
    all.set(onDisk);
    all.set(recent.subarray(Math.max(0, recent.length - missing)), this.#length - missing);
    return all;
  }

  /** Everything that came so far as text, with ends of lines made plain. */
  text(): string {
    return plainText(this.bytes());
  }

  /** The last lines, out of the last 256 KiB. */
  tail(lines = 40): string {
    return plainText(this.#joinRecent()).trimEnd().split("\n").slice(-lines).join("\n");
  }

  /** Stops following; what came stays readable. */
  close(): void {
    try {
      this.#conn?.close();
    } catch {
      // The machine's end closed it.
    }
    this.#conn = undefined;
    this.#file?.close();
    this.#file = undefined;
    this.#ended.resolve();
  }

  /** Removes the file; what is in memory of its end stays readable. */
  async remove(): Promise<void> {
    this.close();
    try {
      await Deno.remove(this.path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  #push(chunk: Uint8Array): void {
    this.#length += chunk.length;
    this.#remember(chunk);
    // Synchronous, so that what a listener is told of can be read from the file.
    for (let at = 0; this.#file && at < chunk.length;) {
      at += this.#file.writeSync(chunk.subarray(at));
    }
    for (const listener of [...this.#listeners]) listener(chunk);
  }

  #remember(chunk: Uint8Array): void {
    this.#recent.push(chunk);
    this.#recentSize += chunk.length;
    while (this.#recentSize - this.#recent[0]!.length >= RECENT) {
      this.#recentSize -= this.#recent.shift()!.length;
    }
  }

  #onDisk(): Uint8Array {
    try {
      return Deno.readFileSync(this.path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return new Uint8Array(0);
      throw error;
    }
  }

  #joinRecent(): Uint8Array {
    const all = new Uint8Array(this.#recentSize);
    let at = 0;
    for (const chunk of this.#recent) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }
}

// deno-lint-ignore no-control-regex -- escape sequences are what is looked for
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])/g;

/** A console's bytes as text: control sequences and carriage returns before line ends are taken out. */
export function plainText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).replace(ESCAPES, "").replaceAll(/\r+\n/g, "\n");
}
