import { BelljarError, type ErrorDetails } from "../errors.ts";
import type { Duration } from "../values/mod.ts";
import { byteOffset, fromCodePoint, stripAnsiMapped } from "./_text.ts";

/** What was found in the output of a process. */
export interface LogMatch {
  stream: "stdout" | "stderr";
  /** The line in which the match begins, as far as it was there. */
  line: string;
  /** The text that matched. */
  text: string;
  /** Named groups of the pattern. */
  groups: Record<string, string>;
  /** Offset of the match in everything that was ever written, in bytes. */
  offset: number;
}

/** Options for a wait for output. */
export interface LogWaitOptions {
  /** @default {10} */
  timeout?: Duration;
  signal?: AbortSignal;
  /** Whether to look at what is there already. @default {"start"} */
  from?: "start" | "now";
  /** Whether escape sequences of terminals are left out before matching. @default {false} */
  stripAnsi?: boolean;
  /** How many matches there must be; the last of them is returned. @default {1} */
  times?: number;
}

/** Output that was waited for did not come. */
export class LogWaitError extends BelljarError {
  override readonly name = "LogWaitError";
  /** What was waited for. */
  readonly pattern: string;
  /** Whether the time was over or the output ended. */
  readonly reason: "timeout" | "closed";

  constructor(pattern: string, reason: "timeout" | "closed", details: ErrorDetails = {}) {
    super(`Cannot find ${pattern} in the output: ${WHY[reason]}`, { code: "LOG_WAIT", ...details });
    this.pattern = pattern;
    this.reason = reason;
  }
}

const WHY = { timeout: "the time was over", closed: "the output ended" };

/** Longest part of an unfinished line, in bytes, in which a match can begin. */
const MAX_LINE_CARRY = 64 * 1024;
/** Bytes of finished lines that stay for patterns that can reach over line breaks. */
const MAX_LINES_CARRY = 8 * 1024;

/** Finds a pattern in bytes that come in chunks; a match may lie across any number of them. */
export class LogMatcher {
  #regex: RegExp | undefined;
  #text: string;
  #multiline: boolean;
  #strip: boolean;
  #left: number;
  #stream: "stdout" | "stderr";
  #window: Uint8Array = new Uint8Array(0);
  #offset = 0;
  /** Characters of the window, before stripping, in which matches were counted. */
  #consumed = 0;
  #pending = false;

  constructor(
    pattern: string | RegExp,
    options: { stream: "stdout" | "stderr"; stripAnsi?: boolean; times?: number },
  ) {
    this.#text = typeof pattern === "string" ? pattern : "";
    if (typeof pattern !== "string") {
      const flags = new Set([...pattern.flags.replace("y", ""), "g", "m"]);
      this.#regex = new RegExp(pattern.source, [...flags].join(""));
    }
    this.#multiline = typeof pattern === "string"
      ? pattern.includes("\n")
      : pattern.flags.includes("s") || /\\[nrsWD]|\[\^/.test(pattern.source);
    this.#strip = options.stripAnsi ?? false;
    this.#left = options.times ?? 1;
    this.#stream = options.stream;
  }

  /** Whether there is a match that more output could still make longer. */
  get pending(): boolean {
    return this.#pending;
  }

  /** Takes the next bytes; `offset` is their place in the whole output. */
  feed(chunk: Uint8Array, offset: number): LogMatch | undefined {
    if (offset !== this.#offset + this.#window.length) {
      this.#window = new Uint8Array(0); // Bytes between were evicted: nothing may match across them.
      this.#offset = offset;
      this.#consumed = 0;
    }
    const joined = new Uint8Array(this.#window.length + chunk.length);
    joined.set(this.#window);
    joined.set(chunk, this.#window.length);
    this.#window = joined;
    return this.#search(false);
  }

  /** Takes a pending match as it is, because no more output came or will come. */
  settle(): LogMatch | undefined {
    return this.#pending ? this.#search(true) : undefined;
  }

  #search(final: boolean): LogMatch | undefined {
    this.#pending = false;
    const raw = decode(this.#window, !final);
    const view = this.#strip ? stripAnsiMapped(raw) : PLAIN(raw);
    let from = view.stripped(this.#consumed);
    while (true) {
      const found = this.#find(view.text, from);
      if (!found) break;
      const end = found.index + found.text.length;
      if (this.#regex && !final && end === view.text.length && !found.text.endsWith("\n")) {
        this.#pending = true;
        return undefined;
      }
      if (--this.#left <= 0) return this.#match(view, found);
      from = Math.max(end, found.index + 1);
      this.#consumed = view.original(from);
    }
    this.#cut();
    return undefined;
  }

  #find(
    text: string,
    from: number,
  ): { index: number; text: string; groups: Record<string, string> } | undefined {
    if (!this.#regex) {
      const index = text.indexOf(this.#text, from);
      return index < 0 ? undefined : { index, text: this.#text, groups: {} };
    }
    this.#regex.lastIndex = from;
    const match = this.#regex.exec(text);
    if (!match) return undefined;
    const groups = Object.fromEntries(
      Object.entries(match.groups ?? {}).filter(([, value]) => value !== undefined),
    );
    return { index: match.index, text: match[0], groups };
  }

  #match(
    view: { text: string; original(index: number): number },
    found: { index: number; text: string; groups: Record<string, string> },
  ): LogMatch {
    const lineStart = found.index === 0 ? 0 : view.text.lastIndexOf("\n", found.index - 1) + 1;
    const lineEnd = view.text.indexOf("\n", found.index);
    return {
      stream: this.#stream,
      line: view.text.slice(lineStart, lineEnd < 0 ? undefined : lineEnd),
      text: found.text,
      groups: found.groups,
      offset: this.#offset + byteOffset(this.#window, view.original(found.index)),
    };
  }

  /** Drops the part of the window in which no further match can begin. */
  #cut(): void {
    const window = this.#window;
    let keep = window.lastIndexOf(0x0a) + 1;
    if (this.#multiline) {
      const from = Math.max(0, window.length - MAX_LINES_CARRY);
      keep = from === 0 ? 0 : Math.min(keep, window.indexOf(0x0a, from) + 1 || keep);
    }
    if (window.length - keep > MAX_LINE_CARRY) keep = window.length - MAX_LINE_CARRY;
    keep = window.length - fromCodePoint(window.subarray(keep)).length;
    if (keep === 0) return;
    if (this.#consumed > 0) {
      this.#consumed = Math.max(0, this.#consumed - decode(window.subarray(0, keep), true).length);
    }
    this.#window = window.slice(keep);
    this.#offset += keep;
  }
}

/** Shows a pattern as errors name it. */
export function showPattern(pattern: string | RegExp): string {
  return typeof pattern === "string" ? JSON.stringify(pattern) : String(pattern);
}

const PLAIN = (text: string) => ({
  text,
  original: (index: number) => index,
  stripped: (index: number) => index,
});

function decode(bytes: Uint8Array, partial: boolean): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes, { stream: partial });
}
