import { formatSeconds, milliseconds, registerOptions } from "../values/mod.ts";
import { ownOrCurrentSignal, timeScale } from "../scope/mod.ts";
import { LogMatcher, LogWaitError, showPattern } from "./log_match.ts";
import type { LogMatch, LogWaitOptions } from "./log_match.ts";
import { Ring } from "./_ring.ts";
import { fromCodePoint, lastLines } from "./_text.ts";
import { readLines, readStream } from "./_buffer_readers.ts";
import type { StreamStats } from "./types.ts";

/** Bytes that a buffer retains unless it is told otherwise. */
export const DEFAULT_BUFFER_SIZE: number = 1024 * 1024;
/** Bytes of the beginning that a buffer keeps apart unless it is told otherwise. */
export const DEFAULT_HEAD_BYTES: number = 16 * 1024;

/** How long a match at the very end of the output waits for more that could make it longer. */
const QUIET_MS = 50;
const DEFAULT_WAIT_S = 10;

/** Options for {@linkcode OutputBuffer}. */
export interface OutputBufferOptions {
  /** Bytes to retain. @default {1_048_576} */
  maxSize?: number;
  /** Bytes of the beginning to keep apart. @default {16_384} */
  headBytes?: number;
  /** What matches say about where they were found. @default {"stdout"} */
  name?: "stdout" | "stderr";
}

/** A piece of output with its place in the whole. */
export interface OutputChunk {
  data: Uint8Array<ArrayBuffer>;
  /** Where the data begins. */
  offset: number;
  /** Where to go on reading. */
  nextOffset: number;
  /** Bytes between the offset that was asked for and `offset`: they are gone. */
  lost: number;
}

/** A chunk of a live stream; `lost` counts the bytes before it that were evicted unread. */
export type OutputBytes = Uint8Array<ArrayBuffer> & { lost?: number };

/** Options for {@linkcode OutputBuffer.stream}. */
export interface OutputStreamOptions {
  /** Where to begin: the oldest byte ever written, what comes next, or an offset. @default {"start"} */
  from?: "start" | "now" | number;
  /** Ends the stream with its reason. */
  signal?: AbortSignal;
}

/** Options for {@linkcode OutputBuffer.lines}. */
export interface OutputLinesOptions {
  /** @default {"start"} */
  from?: "start" | "now";
  /** Longer lines are split into parts of this many bytes. @default {65_536} */
  maxLineBytes?: number;
  /** Ends the iteration with its reason. */
  signal?: AbortSignal;
}

const checkBuffer = registerOptions<OutputBufferOptions>("new OutputBuffer()", {
  maxSize: size,
  headBytes: size,
  name: ["stdout", "stderr"],
});
const checkText = registerOptions<{ marker?: boolean }>("output.text()", { marker: "boolean" });
const checkChanged = registerOptions<{ signal?: AbortSignal }>("output.changedSince()", {
  signal: "abortSignal",
});
const checkStream = registerOptions<OutputStreamOptions>("output.stream()", {
  from: fromOption,
  signal: "abortSignal",
});
const checkLines = registerOptions<OutputLinesOptions>("output.lines()", {
  from: ["start", "now"],
  maxLineBytes: positive,
  signal: "abortSignal",
});
const checkWaitFor = registerOptions<LogWaitOptions>("output.waitFor()", {
  timeout: "durationOrInfinity",
  signal: "abortSignal",
  from: ["start", "now"],
  stripAnsi: "boolean",
  times: positive,
});

/**
 * Keeps the last bytes of an output, and its beginning. Writing never waits: what does not fit any more evicts the oldest.
 *
 * @example Find out what was printed
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { OutputBuffer } from "./output_buffer.ts";
 *
 * const buffer = new OutputBuffer({ maxSize: 20 });
 * const found = buffer.waitFor(/port (?<port>\d+)/);
 * buffer.write(new TextEncoder().encode("listening on port 8080\n"));
 * assertEquals((await found).groups.port, "8080");
 * assertEquals(buffer.text(), "tening on port 8080\n");
 * assertEquals(buffer.stats().bytesEvicted, 3);
 * ```
 */
export class OutputBuffer {
  readonly #name: "stdout" | "stderr";
  readonly #ring: Ring;
  readonly #headBytes: number;
  #head = new Uint8Array(0);
  #total = 0;
  #closed = false;
  #waiters = new Set<() => void>();
  #taps = new Set<(chunk: Uint8Array | undefined, offset: number) => void>();

  constructor(options: OutputBufferOptions = {}) {
    checkBuffer(options);
    this.#name = options.name ?? "stdout";
    this.#ring = new Ring(options.maxSize ?? DEFAULT_BUFFER_SIZE);
    this.#headBytes = options.headBytes ?? DEFAULT_HEAD_BYTES;
  }

  /** Whether nothing more will come. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Adds output; after {@linkcode close} it is dropped and counted nowhere. */
  write(chunk: Uint8Array): void {
    if (this.#closed || chunk.length === 0) return;
    const offset = this.#total;
    this.#total += chunk.length;
    if (this.#head.length < this.#headBytes) {
      const more = chunk.subarray(0, this.#headBytes - this.#head.length);
      const head = new Uint8Array(this.#head.length + more.length);
      head.set(this.#head);
      head.set(more, this.#head.length);
      this.#head = head;
    }
    this.#ring.push(chunk);
    for (const tap of [...this.#taps]) tap(chunk, offset);
    this.#wake();
  }

  /** Says that nothing more will come. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const tap of [...this.#taps]) tap(undefined, this.#total);
    this.#taps.clear();
    this.#wake();
  }

  /** Figures as they are now. */
  stats(): StreamStats {
    const currentSize = this.#ring.size;
    return {
      currentSize,
      maxSize: this.#ring.max,
      totalWritten: this.#total,
      bytesEvicted: this.#total - currentSize,
      closed: this.#closed,
    };
  }

  /** Copies the retained bytes, oldest first. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#ring.tail(this.#ring.size);
  }

  /**
   * Decodes the retained bytes; it never begins inside a code point.
   *
   * @param options `marker` puts a line before text whose beginning was evicted.
   */
  text(options: { marker?: boolean } = {}): string {
    checkText(options);
    const { text, evicted } = this.retained();
    return options.marker && evicted > 0 ? `[… ${evicted} bytes evicted …]\n${text}` : text;
  }

  /** Copies the retained bytes, with their text and the number of those before them. */
  retained(): { bytes: Uint8Array<ArrayBuffer>; text: string; evicted: number } {
    const bytes = this.bytes();
    const evicted = this.#total - bytes.length;
    const whole = evicted > 0 ? fromCodePoint(bytes) : bytes;
    return { bytes, text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(whole), evicted };
  }

  /** Copies the first bytes that were ever written. */
  head(): Uint8Array<ArrayBuffer> {
    return this.#head.slice();
  }

  /** Reads what came since an offset, together with the offset to go on from. */
  read(since: number = 0): OutputChunk {
    if (!Number.isSafeInteger(since) || since < 0) {
      throw new RangeError(`Cannot read from offset ${since}: expected a whole number from 0`);
    }
    const oldest = this.#total - this.#ring.size;
    const offset = Math.min(this.#total, Math.max(since, oldest));
    const data = this.#ring.tail(this.#total - offset);
    return { data, offset, nextOffset: this.#total, lost: Math.max(0, offset - since) };
  }

  /** Waits until more than `total` bytes were written, or the output is closed; at once if that is so. */
  async changedSince(
    total: number,
    options: { signal?: AbortSignal } = {},
  ): Promise<StreamStats> {
    checkChanged(options);
    const { signal } = options;
    signal?.throwIfAborted();
    if (this.#closed || this.#total > total) return this.stats();
    return await new Promise((resolve, reject) => {
      const wake = () => {
        if (!this.#closed && this.#total <= total) return;
        this.#waiters.delete(wake);
        signal?.removeEventListener("abort", abort);
        resolve(this.stats());
      };
      const abort = () => {
        this.#waiters.delete(wake);
        reject(signal!.reason);
      };
      this.#waiters.add(wake);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /**
   * Streams the output live, until it is closed. A reader that is too slow loses the oldest bytes, which the next chunk
   * counts in `lost`; it never slows the process down.
   */
  stream(options: OutputStreamOptions = {}): ReadableStream<OutputBytes> {
    checkStream(options);
    const from = options.from ?? "start";
    const start = from === "start" ? 0 : from === "now" ? this.#total : from;
    return readStream(this, start, options.signal);
  }

  /** Iterates over the lines, without their line feeds, until the output is closed. */
  lines(options: OutputLinesOptions = {}): AsyncIterable<string> {
    checkLines(options);
    const start = options.from === "now" ? this.#total : 0;
    return readLines(this, start, options.maxLineBytes ?? 65_536, options.signal);
  }

  /**
   * Waits for a text or pattern; matches across chunks are found, also in a line that has not ended. `^` and `$` stand for
   * the ends of lines.
   *
   * @throws {LogWaitError} If the time is over or the output ends before a match.
   */
  async waitFor(pattern: string | RegExp, options: LogWaitOptions = {}): Promise<LogMatch> {
    checkWaitFor(options);
    checkPattern(pattern, "output.waitFor()");
    const seconds = options.timeout ?? DEFAULT_WAIT_S * timeScale();
    const limitMs = milliseconds(seconds, { infinite: true });
    const signal = ownOrCurrentSignal(options.signal);
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<LogMatch>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = this.watch(pattern, options, (match) => {
      end();
      if (match) resolve(match);
      else reject(this.#missed(pattern, "closed"));
    });
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    const abort = () => {
      stop();
      end();
      reject(signal!.reason);
    };
    if (limitMs !== Infinity) {
      timer = setTimeout(() => {
        stop();
        end();
        reject(this.#missed(pattern, "timeout", `a match within ${formatSeconds(limitMs / 1000)}`));
      }, limitMs);
    }
    signal?.addEventListener("abort", abort, { once: true });
    return await promise;
  }

  /**
   * Calls `found` once, with the match or, when the output ends without one, with `undefined`. Never from within this call.
   *
   * @returns A function that ends the watch.
   */
  watch(
    pattern: string | RegExp,
    options: Pick<LogWaitOptions, "from" | "stripAnsi" | "times">,
    found: (match: LogMatch | undefined) => void,
  ): () => void {
    const { stripAnsi, times } = options;
    const matcher = new LogMatcher(pattern, { stream: this.#name, stripAnsi, times });
    let quiet: ReturnType<typeof setTimeout> | undefined;
    let ended = false;
    const stop = () => {
      ended = true;
      clearTimeout(quiet);
      this.#taps.delete(tap);
    };
    const finish = (match: LogMatch | undefined) => {
      stop();
      found(match);
    };
    const look = (match: LogMatch | undefined) => {
      clearTimeout(quiet);
      if (match) return finish(match);
      if (matcher.pending) {
        quiet = setTimeout(() => look(matcher.settle()), QUIET_MS);
      }
    };
    const tap = (chunk: Uint8Array | undefined, offset: number) => {
      if (chunk) look(matcher.feed(chunk, offset));
      else finish(matcher.settle());
    };
    if (!this.#closed) this.#taps.add(tap);
    const early = options.from === "now" ? undefined : this.#feedRetained(matcher);
    if (early) this.#taps.delete(tap);
    queueMicrotask(() => {
      if (ended) return;
      if (early) finish(early);
      else if (this.#closed) finish(matcher.settle());
      else if (matcher.pending) look(undefined);
    });
    return stop;
  }

  /**
   * Passes what is retained and everything that comes to `fn`, which must copy what it keeps, and `undefined` at the end.
   *
   * @returns A function that ends this.
   */
  tap(fn: (chunk: Uint8Array | undefined, offset: number) => void): () => void {
    const { data, offset } = this.read(0);
    if (data.length > 0) fn(data, offset);
    if (this.#closed) fn(undefined, this.#total);
    else this.#taps.add(fn);
    return () => this.#taps.delete(fn);
  }

  /** Gives up all but the last `count` retained bytes. */
  trim(count: number): void {
    if (count < this.#ring.size) this.#ring.shrink(Math.max(0, count));
  }

  #feedRetained(matcher: LogMatcher): LogMatch | undefined {
    const { data, offset } = this.read(0);
    if (offset > 0) {
      const match = matcher.feed(this.#head.subarray(0, Math.min(this.#head.length, offset)), 0);
      if (match) return match;
    }
    return data.length > 0 ? matcher.feed(data, offset) : undefined;
  }

  #missed(pattern: string | RegExp, reason: "timeout" | "closed", expected?: string): LogWaitError {
    const tail = lastLines(this.text(), 20);
    return new LogWaitError(showPattern(pattern), reason, {
      expected,
      actual: tail ? `the output ends with\n${tail}` : "there was no output",
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}

/** Refuses what is neither a text nor a regular expression. */
export function checkPattern(pattern: unknown, call: string): void {
  if (pattern instanceof RegExp || (typeof pattern === "string" && pattern !== "")) return;
  const got = pattern === null ? "null" : pattern === "" ? "an empty string" : typeof pattern;
  throw new TypeError(`The pattern of ${call} must be a string or a RegExp, got ${got}`);
}

function size(value: unknown, name: string): void {
  if (typeof value !== "number") {
    throw new TypeError(`Option ${name} must be a number of bytes, got ${typeof value}`);
  }
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`Option ${name} is ${value}: expected a whole number of bytes from 0`);
  }
}

function positive(value: unknown, name: string): void {
  if (typeof value !== "number") {
    throw new TypeError(`Option ${name} must be a number, got ${typeof value}`);
  }
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new RangeError(`Option ${name} is ${value}: expected a whole number from 1`);
  }
}

function fromOption(value: unknown, name: string): void {
  if (value === "start" || value === "now") return;
  if (typeof value === "number") return size(value, name);
  throw new TypeError(`Option ${name} must be "start", "now" or an offset, got ${typeof value}`);
}
