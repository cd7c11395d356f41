const ESC = "\x1b";
/** CSI, OSC and two-byte escape sequences of ECMA-48. */
// deno-lint-ignore no-control-regex -- these are the control characters that it looks for
const ANSI = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])/g;
// deno-lint-ignore no-control-regex -- see above
const PARTIAL_ANSI = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,4096}\x1b?)?$/;

/** Takes escape sequences of terminals out of a text. */
export function stripAnsi(text: string): string {
  return text.includes(ESC) ? text.replace(ANSI, "") : text;
}

/** A text without escape sequences, and where each of its characters was. */
export interface StrippedText {
  text: string;
  /** Index in the original text of the character at `index`. */
  original(index: number): number;
  /** Index in the new text of what was at `index` of the original. */
  stripped(index: number): number;
}

/** Takes escape sequences out, and the beginning of one at the end of the text. */
export function stripAnsiMapped(source: string): StrippedText {
  const partial = PARTIAL_ANSI.exec(source);
  const end = partial ? partial.index : source.length;
  const cuts: { at: number; removed: number }[] = [];
  let text = "";
  let from = 0;
  let removed = 0;
  for (const match of source.slice(0, end).matchAll(ANSI)) {
    text += source.slice(from, match.index);
    removed += match[0].length;
    cuts.push({ at: text.length, removed });
    from = match.index + match[0].length;
  }
  text += source.slice(from, end);
  const original = (index: number): number => {
    const cut = cuts.findLast(({ at }) => at <= index);
    return index + (cut?.removed ?? 0);
  };
  const stripped = (index: number): number => {
    let gone = 0;
    for (const cut of cuts) {
      if (cut.at + gone > index) break;
      gone = cut.removed;
    }
    return Math.min(text.length, Math.max(0, index - gone));
  };
  return { text, original, stripped };
}

/** Leaves out the continuation bytes of a code point whose beginning is missing. */
export function fromCodePoint(bytes: Uint8Array): Uint8Array {
  let skip = 0;
  while (skip < 3 && skip < bytes.length && (bytes[skip]! & 0xc0) === 0x80) skip++;
  return bytes.subarray(skip);
}

/** Finds how many bytes of UTF-8 come before the character at `index` of their lossy text. */
export function byteOffset(bytes: Uint8Array, index: number): number {
  let low = 0;
  let high = bytes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const length = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(0, middle), {
      stream: true,
    }).length;
    if (length >= index) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The last `count` lines of a text, without the empty one after a final line break. */
export function lastLines(text: string, count: number): string {
  const lines = text.replace(/\n$/, "").split("\n");
  return lines.slice(-count).join("\n");
}
