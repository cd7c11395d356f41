import { DeadlineError, StateError } from "../errors.ts";
import { type Duration, formatSeconds, milliseconds, registerOptions } from "../values/mod.ts";
import { TextWindow } from "./_text.ts";
import { lastLines, visible } from "./_text.ts";
import { ExpectError } from "./errors.ts";
import { currentSignal, timeScale } from "../scope/mod.ts";
import { type Deadline, deadlineIn, race, TIMED_OUT } from "./wait.ts";

/** Where a stream's bytes come from. */
export interface ByteSource {
  /** The next bytes, or `undefined` at the end. Never called again before the call before it has settled. */
  read(): Promise<Uint8Array | undefined>;
  /** Ends the source; a pending read ends too. */
  close(): unknown | Promise<unknown>;
  /** Bytes that were lost because nobody read them in time. */
  readonly lost?: number;
  /** Aborts when waiting has become pointless, such as after a kernel panic. */
  readonly alarm?: () => AbortSignal | undefined;
}

/** Options of calls that wait for output. */
export interface StreamWaitOptions {
  /** Ends the wait early; the call rejects with its reason. */
  signal?: AbortSignal;
}

/** What {@linkcode Stream.expect} found. */
export interface ExpectMatch {
  /** The text that matched. */
  match: string;
  /** Unread text before the match. */
  before: string;
  /** Numbered groups of a regular expression: `groups[0]` is the first. */
  groups: (string | undefined)[];
  /** Named groups of a regular expression. */
  named: Record<string, string>;
  /** Which of the patterns matched, from 0. */
  index: number;
  /** The pattern that matched. */
  pattern: string | RegExp;
}

const checkWait = registerOptions<StreamWaitOptions>("stream.expect()", { signal: "abortSignal" });
const checkNext = registerOptions<StreamWaitOptions>("stream.next()", { signal: "abortSignal" });
const checkDrain = registerOptions<StreamWaitOptions>("stream.drain()", { signal: "abortSignal" });

/** Unmatched output that `expect` keeps for later reads, at most; older bytes are dropped and counted. */
const MAX_UNREAD = 16 * 1024 * 1024;

/**
 * Bytes as they come: of a process, a file that grows, a console. They can be read once, in order: what one call has
 * consumed the next does not see. Only one call may read at a time.
 */
export class Stream implements AsyncIterable<Uint8Array>, AsyncDisposable {
  /** What errors call it. */
  readonly name: string;
  readonly #source: ByteSource;
  readonly #window = new TextWindow();
  readonly #onClose: (() => void) | undefined;
  #pending: Promise<Uint8Array | undefined> | undefined;
  #reading: string | undefined;
  #ended = false;
  #dropped = 0;
  #seen = "";
  #closing: Promise<void> | undefined;

  constructor(name: string, source: ByteSource, options: { onClose?: () => void } = {}) {
    this.name = name;
    this.#source = source;
    this.#onClose = options.onClose;
  }

  /** Whether the end was reached and everything was read. */
  get eof(): boolean {
    return this.#ended && this.#window.size === 0;
  }

  /** Bytes that were lost because nobody read them in time. */
  get lost(): number {
    return this.#dropped + (this.#source.lost ?? 0);
  }

  /**
   * The next bytes, as they came; `undefined` at the end.
   *
   * @param timeout Longest wait; 10 s (stretched by the accelerator's factor) when missing.
   * @throws {DeadlineError} If nothing comes in time.
   */
  async next(timeout?: Duration, options: StreamWaitOptions = {}): Promise<Uint8Array | undefined> {
    checkNext(options);
    const ms = limitMs(timeout);
    return await this.#exclusively("next()", async () => {
      const data = await this.#nextChunk(deadlineIn(ms), options.signal);
      if (data !== TIMED_OUT) return data;
      throw new DeadlineError(
        `Cannot read ${this.name}: nothing came within ${formatSeconds(ms / 1000)}`,
        { actual: this.#shownTail() },
      );
    });
  }

  /** All bytes until the end, as they come; leaving the loop does not close the stream. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    while (true) {
      const data = await this.#exclusively(
        "iteration",
        () => this.#nextChunk(deadlineIn(Infinity), undefined),
      );
      if (data === undefined || data === TIMED_OUT) return;
      yield data;
    }
  }

  /** Lines without their ends (`\n` or `\r\n`), the last one also when its end is missing. */
  async *lines(options: StreamWaitOptions = {}): AsyncGenerator<string, void, void> {
    checkWait(options);
    while (true) {
      const line = await this.#exclusively("lines()", async () => {
        const found = await this.#find([/\r?\n/], deadlineIn(Infinity), options.signal);
        if (typeof found === "object") return found.before;
        const rest = decode(this.#window.takeBytes(this.#window.size));
        return rest === "" ? undefined : rest;
      });
      if (line === undefined) return;
      yield line;
    }
  }

  /**
   * Waits for the first of several patterns, and consumes everything up to and including the match. Matches across the
   * borders of chunks; of patterns that match, the one that begins first wins, then the one that was given first.
   *
   * @param timeout Longest wait; 10 s (stretched by the accelerator's factor) when missing.
   * @throws {ExpectError} If the match does not come in time, or the stream ends before it.
   */
  async expect(
    pattern: string | RegExp | readonly (string | RegExp)[],
    timeout?: Duration,
    options: StreamWaitOptions = {},
  ): Promise<ExpectMatch> {
    checkWait(options);
    const patterns = checkPatterns(pattern, "expect()");
    const ms = limitMs(timeout);
    return await this.#exclusively("expect()", async () => {
      const found = await this.#find(patterns, deadlineIn(ms), options.signal);
      if (typeof found === "object") return found;
      const ended = found === "ended";
      throw new ExpectError(
        `Cannot find ${listPatterns(patterns)} in ${this.name}: ` +
          (ended
            ? "the stream ended before it"
            : `it did not come within ${formatSeconds(ms / 1000)}`),
        { patterns, ended, tail: this.#tail(), actual: this.#shownTail() },
      );
    });
  }

  /** Waits as {@linkcode Stream.expect} does, and returns all text up to and including the match. */
  async readUntil(
    pattern: string | RegExp | readonly (string | RegExp)[],
    timeout?: Duration,
    options: StreamWaitOptions = {},
  ): Promise<string> {
    const { before, match } = await this.expect(pattern, timeout, options);
    return before + match;
  }

  /**
   * Reads until nothing has come for `timeout`, or the stream ends; at most ten times that long.
   *
   * @param timeout How long it must be quiet.
   */
  async drain(timeout: Duration = 0.5, options: StreamWaitOptions = {}): Promise<Uint8Array> {
    checkDrain(options);
    const quietMs = milliseconds(timeout, { name: "timeout of stream.drain()" });
    return await this.#exclusively("drain()", async () => {
      const all = deadlineIn(quietMs * 10);
      const parts: Uint8Array[] = [];
      do {
        const quiet = deadlineIn(Math.min(quietMs, all.remaining()));
        const data = await this.#nextChunk(quiet, options.signal);
        if (data === undefined || data === TIMED_OUT) break;
        parts.push(data);
      } while (all.remaining() > 0);
      return concat(parts);
    });
  }

  /** Everything until the end, as text. Use it where the end is near: it is all kept in memory. */
  async text(): Promise<string> {
    const parts: Uint8Array[] = [];
    for await (const chunk of this) parts.push(chunk);
    return decode(concat(parts));
  }

  /** Ends the stream; what was not read is gone. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      await Promise.resolve();
      this.#onClose?.();
      await this.#source.close();
      this.#ended = true;
    })();
  }

  /** Ends the stream. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #exclusively<T>(call: string, fn: () => Promise<T>): Promise<T> {
    if (this.#reading) {
      throw new StateError(
        `Cannot read ${this.name} by ${call}: ${this.#reading} is reading it already`,
        { next: "await the first read, or open a stream per reader" },
      );
    }
    this.#reading = call;
    try {
      return await fn();
    } finally {
      this.#reading = undefined;
    }
  }

  async #nextChunk(deadline: Deadline, signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    if (this.#window.size > 0) return this.#window.takeBytes(this.#window.size);
    return await this.#pull(deadline, signal);
  }

  /** Reads from the source; a read that outlives its call is kept for the next one. */
  async #pull(
    deadline: Deadline,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array | undefined | typeof TIMED_OUT> {
    if (this.#ended) return undefined;
    this.#pending ??= this.#source.read();
    const data = await race(
      this.#pending,
      deadline,
      ...[signal, currentSignal(), this.#source.alarm?.()],
    );
    if (data === TIMED_OUT) return TIMED_OUT;
    this.#pending = undefined;
    if (data === undefined) this.#ended = true;
    else this.#remember(data);
    return data;
  }

  async #find(
    patterns: readonly (string | RegExp)[],
    deadline: Deadline,
    signal: AbortSignal | undefined,
  ): Promise<ExpectMatch | "ended" | "timeout"> {
    signal?.throwIfAborted();
    let searched = 0;
    while (true) {
      const found = firstMatch(patterns, this.#window.text, searched);
      if (found) {
        const { end, ...match } = found;
        this.#window.takeText(end);
        return match;
      }
      searched = this.#window.text.length;
      const data = await this.#pull(deadline, signal);
      if (data === TIMED_OUT) return "timeout";
      if (data === undefined) return "ended";
      this.#window.push(data);
      const excess = this.#window.size - MAX_UNREAD;
      if (excess > 0) {
        this.#window.takeBytes(excess + MAX_UNREAD / 4);
        this.#dropped += excess + MAX_UNREAD / 4;
        searched = 0;
      }
    }
  }

  #remember(data: Uint8Array): void {
    const recent = data.length > 8192 ? data.subarray(data.length - 8192) : data;
    this.#seen = (this.#seen + decode(recent)).slice(-16384);
  }

  #tail(): string {
    return lastLines(this.#seen, 20);
  }

  #shownTail(): string {
    const tail = visible(this.#tail());
    return tail === "" ? "no output at all" : `the last lines are\n${tail}`;
  }
}

/** The match that begins first; `searched` characters are known not to hold a complete string pattern. */
function firstMatch(
  patterns: readonly (string | RegExp)[],
  text: string,
  searched: number,
): (ExpectMatch & { end: number }) | undefined {
  let best: (ExpectMatch & { end: number; at: number }) | undefined;
  for (const [index, pattern] of patterns.entries()) {
    if (typeof pattern === "string") {
      const at = text.indexOf(pattern, Math.max(0, searched - pattern.length));
      if (at < 0 || (best && best.at <= at)) continue;
      const end = at + pattern.length;
      best = {
        match: pattern,
        before: text.slice(0, at),
        groups: [],
        named: {},
        index,
        pattern,
        at,
        end,
      };
      continue;
    }
    const found = stateless(pattern).exec(text);
    if (!found || (best && best.at <= found.index)) continue;
    best = {
      match: found[0],
      before: text.slice(0, found.index),
      groups: found.slice(1),
      named: { ...found.groups },
      index,
      pattern,
      at: found.index,
      end: found.index + found[0].length,
    };
  }
  if (!best) return undefined;
  const { at: _, ...result } = best;
  return result;
}

/** A `g` or `y` flag keeps a position between calls, which is not what a caller of expect() means. */
function stateless(pattern: RegExp): RegExp {
  return pattern.global || pattern.sticky
    ? new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""))
    : pattern;
}

/** Checks what a caller passes as pattern. */
export function checkPatterns(value: unknown, call: string): readonly (string | RegExp)[] {
  const patterns = Array.isArray(value) ? value : [value];
  for (const pattern of patterns) {
    if (pattern instanceof RegExp || (typeof pattern === "string" && pattern !== "")) continue;
    const got = pattern === "" ? "an empty string" : pattern === null ? "null" : typeof pattern;
    throw new TypeError(`${call} takes a string, a RegExp or an array of them, got ${got}`);
  }
  if (patterns.length === 0) throw new TypeError(`${call} takes at least one pattern, got none`);
  return patterns;
}

/** Shows patterns as errors name them. */
export function listPatterns(patterns: readonly (string | RegExp)[]): string {
  return patterns.map((p) => typeof p === "string" ? JSON.stringify(p) : String(p)).join(" or ");
}

/** A wait's limit: as written, else 10 s stretched by the accelerator's factor. */
export function limitMs(timeout: Duration | undefined, name = "timeout"): number {
  return timeout === undefined
    ? 10_000 * timeScale()
    : milliseconds(timeout, { infinite: true, name });
}

function decode(data: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(data);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
