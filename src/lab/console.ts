import { StateError } from "../errors.ts";
import { captureSite, currentScope } from "../scope/mod.ts";
import { type Duration, registerOptions } from "../values/mod.ts";
import type { ConsoleLog } from "../vmm/mod.ts";
import { toBytes } from "../wire/mod.ts";
import { plainText } from "./_text.ts";
import { type ByteSource, type ExpectMatch, Stream, type StreamWaitOptions } from "./stream.ts";

/** Options of {@linkcode Console.stream}. */
export interface ConsoleStreamOptions {
  /**
   * Whether to begin with what comes from now on, or with the power-on.
   *
   * @default {"now"}
   */
  from?: "now" | "start";
}

/** Keys of {@linkcode Console.press}, with what a terminal sends for them. */
const KEYS: Record<string, string> = {
  enter: "\r",
  tab: "\t",
  escape: "\x1b",
  backspace: "\x7f",
  space: " ",
  up: "\x1b[A",
  down: "\x1b[B",
  right: "\x1b[C",
  left: "\x1b[D",
  home: "\x1b[H",
  end: "\x1b[F",
  delete: "\x1b[3~",
  pageup: "\x1b[5~",
  pagedown: "\x1b[6~",
};

const checkStream = registerOptions<ConsoleStreamOptions>("console.stream()", {
  from: ["now", "start"],
});

/** The first serial console of a machine: all of it from power-on, kept after the machine has ended. */
export class Console {
  readonly #vm: string;
  readonly #alarm: () => AbortSignal;
  /** One per start of the machine: a machine that is restored goes on with another one. */
  #logs: ConsoleLog[] = [];
  #changed = Promise.withResolvers<void>();
  #cursor: Stream | undefined;
  #final = false;
  /** Counts the restarts; what reads an earlier console has come to its end. */
  #epoch = 0;
  /** Where the cursor begins: power-on, or the moment of the last restart. */
  #start = 0;

  /** Made by the machine. */
  constructor(vm: string, alarm: () => AbortSignal) {
    this.#vm = vm;
    this.#alarm = alarm;
  }

  /** File on the host that holds every byte. */
  get path(): string {
    return this.#current("path").path;
  }

  /** Everything that came so far, exactly. */
  bytes(): Uint8Array {
    const parts = this.#logs.map((log) => log.bytes());
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  /** Everything that came so far as text, without control sequences and with plain line ends. */
  text(): string {
    return plainText(new TextDecoder().decode(this.bytes()));
  }

  /** The lines that came so far, without control sequences. */
  lines(): string[] {
    const text = this.text();
    return text === "" ? [] : text.replace(/\n$/, "").split("\n");
  }

  /**
   * Waits for the first match behind the one before: the cursor begins at power-on and only moves forward.
   *
   * @param timeout Longest wait; 10 s (stretched by the accelerator's factor) when missing.
   * @throws {ExpectError} If the match does not come in time, or the machine has ended before it.
   */
  async expect(
    pattern: string | RegExp | readonly (string | RegExp)[],
    timeout?: Duration,
    options: StreamWaitOptions = {},
  ): Promise<ExpectMatch> {
    this.#cursor ??= new Stream(this.#name(), this.#source(this.#start));
    return await this.#cursor.expect(pattern, timeout, options);
  }

  /** A stream with a position of its own; it is closed with the scope of the caller. */
  stream(options: ConsoleStreamOptions = {}): Stream {
    checkStream(options);
    const from = options.from === "start" ? 0 : this.#length();
    const registration = currentScope().register({
      kind: "stream",
      name: this.#name(),
      close: () => stream.close(),
      site: captureSite(),
    });
    const stream = new Stream(this.#name(), this.#source(from), {
      onClose: () => registration.release(),
    });
    return stream;
  }

  /** Types text or bytes. */
  async write(data: string | Uint8Array): Promise<void> {
    if (typeof data !== "string" && !(data instanceof Uint8Array)) {
      const got = data === null ? "null" : typeof data;
      throw new TypeError(`console.write() takes text or bytes, got ${got}`);
    }
    await this.#current("write()").write(toBytes(data));
  }

  /** Presses a key, such as `"enter"`, `"up"`, `"ctrl+c"` or `"a"`. */
  async press(key: string): Promise<void> {
    await this.write(keyText(key));
  }

  /** Goes on with the console of a machine that was started. */
  attach(log: ConsoleLog): void {
    if (this.#logs.includes(log)) return;
    if (this.#logs.length === 0 && this.#epoch > 0) this.#start = log.length;
    this.#logs.push(log);
    this.#final = false;
    log.onData(() => this.#wake());
    log.ended.then(() => this.#wake());
    this.#wake();
  }

  /**
   * Says that the machine goes on in another state, with a console of its own: streams of the one before end, and the
   * cursor moves to the moment of the change.
   */
  restart(): void {
    this.#logs = [];
    this.#cursor = undefined;
    this.#epoch++;
    this.#wake();
  }

  /** Says that nothing more will come, unless the machine is started again. */
  finish(): void {
    this.#final = true;
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #length(): number {
    return this.#logs.reduce((sum, log) => sum + log.length, 0);
  }

  #source(from: number): ByteSource {
    let offset = from;
    let closed = false;
    const epoch = this.#epoch;
    const closing = Promise.withResolvers<void>();
    return {
      alarm: this.#alarm,
      read: async () => {
        while (!closed && epoch === this.#epoch) {
          const { promise } = this.#changed;
          if (offset < this.#length()) {
            const data = await this.#from(offset);
            offset += data.length;
            if (data.length > 0) return data;
          }
          if (this.#final && offset >= this.#length()) return undefined;
          await Promise.race([promise, closing.promise]);
        }
        return undefined;
      },
      close: () => {
        closed = true;
        closing.resolve();
      },
    };
  }

  /** Bytes from an offset on, at most 256 KiB. */
  async #from(offset: number): Promise<Uint8Array> {
    let start = 0;
    for (const log of this.#logs) {
      const own = offset - start;
      start += log.length;
      if (own >= log.length) continue;
      const wanted = Math.min(log.length - own, 256 * 1024);
      const onDisk = await readRange(log.path, own, wanted);
      // The file may lag behind what was handed on already.
      return onDisk.length > 0 ? onDisk : log.bytes().slice(own, own + wanted);
    }
    return new Uint8Array(0);
  }

  #current(what: string): ConsoleLog {
    const log = this.#logs.at(-1);
    if (log) return log;
    throw new StateError(`Machine "${this.#vm}" has no console for ${what}: it was never started`, {
      next: `await vm.boot() first`,
    });
  }

  #name(): string {
    return `the console of machine "${this.#vm}"`;
  }
}

function keyText(key: string): string {
  if (typeof key !== "string" || key === "") {
    throw new TypeError(`console.press() takes the name of a key, got ${JSON.stringify(key)}`);
  }
  const name = key.toLowerCase();
  if (Object.hasOwn(KEYS, name)) return KEYS[name]!;
  const control = /^ctrl[+-]([a-z\[\\\]^_@])$/.exec(name);
  if (control) return String.fromCharCode(control[1]!.toUpperCase().charCodeAt(0) & 0x1f);
  if ([...key].length === 1) return key;
  throw new TypeError(
    `Unknown key ${JSON.stringify(key)}: press() takes ${
      Object.keys(KEYS).join(", ")
    }, "ctrl+c" and the like, or one character`,
  );
}

async function readRange(path: string, offset: number, length: number): Promise<Uint8Array> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Uint8Array(0);
    throw error;
  }
  try {
    await file.seek(offset, Deno.SeekMode.Start);
    const buffer = new Uint8Array(length);
    const n = await file.read(buffer);
    return buffer.subarray(0, n ?? 0);
  } finally {
    file.close();
  }
}
