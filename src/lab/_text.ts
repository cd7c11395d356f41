/** Text that grows with the bytes it is decoded from, so that a match can be found in the bytes again. */
export class TextWindow {
  #bytes: Uint8Array = new Uint8Array(64 * 1024);
  #start = 0;
  #end = 0;
  #text = "";
  #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  /** What was decoded so far; a code point that is not complete yet is missing. */
  get text(): string {
    return this.#text;
  }

  /** Bytes that are held. */
  get size(): number {
    return this.#end - this.#start;
  }

  /** The held bytes; valid until the next change. */
  bytes(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  /** Adds bytes at the end. */
  push(data: Uint8Array): void {
    const size = this.size;
    if (this.#end + data.length > this.#bytes.length) {
      const wanted = size + data.length;
      const grown = wanted * 2 > this.#bytes.length
        ? new Uint8Array(Math.max(64 * 1024, wanted * 2))
        : this.#bytes;
      // Not set() on overlapping parts of one buffer: copyWithin is what handles that.
      if (grown === this.#bytes) grown.copyWithin(0, this.#start, this.#end);
      else grown.set(this.bytes());
      this.#bytes = grown;
      this.#start = 0;
      this.#end = size;
    }
    this.#bytes.set(data, this.#end);
    this.#end += data.length;
    this.#text += this.#decoder.decode(data, { stream: true });
  }

  /** Takes the first `count` characters of the text away, and returns their bytes. */
  takeText(count: number): Uint8Array {
    const length = this.#byteLength(count);
    const taken = this.#bytes.slice(this.#start, this.#start + length);
    this.#start += length;
    this.#text = this.#text.slice(count);
    return taken;
  }

  /** Takes the first `count` bytes away and returns them. */
  takeBytes(count: number): Uint8Array {
    const taken = this.#bytes.slice(this.#start, this.#start + count);
    this.#start += taken.length;
    this.#decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    this.#text = this.size === 0 ? "" : this.#decoder.decode(this.bytes(), { stream: true });
    if (this.size === 0) this.#start = this.#end = 0;
    return taken;
  }

  #byteLength(count: number): number {
    if (this.#text.length === this.size) return count; // One byte per character.
    const prefix = this.#text.slice(0, count);
    if (!prefix.includes("\ufffd")) return new TextEncoder().encode(prefix).length;
    let low = count === 0 ? 0 : 1;
    let high = this.size;
    const all = this.bytes();
    // The decoded length of a prefix never shrinks with it, so halving finds the shortest one.
    while (low < high) {
      const middle = (low + high) >> 1;
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      if (decoder.decode(all.subarray(0, middle), { stream: true }).length >= count) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

// Built from text: a literal with control characters reads worse than their escapes.
const ANSI = new RegExp(
  [
    "\\u001b\\[[0-?]*[ -/]*[@-~]", // CSI
    "\\u001b\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)?", // OSC
    "\\u001b[PX^_][^\\u001b]*(?:\\u001b\\\\)?", // DCS, SOS, PM, APC
    "\\u001b[ -/]*[0-~]",
  ].join("|"),
  "g",
);
const CONTROL = /[^\P{Cc}\t\n]/gu;

/** Text without terminal control sequences and carriage returns before line ends. */
export function plainText(text: string): string {
  return text.replace(ANSI, "").replace(/\r+\n/g, "\n");
}

/** The last `count` lines of a text, without an empty one at its end. */
export function lastLines(text: string, count: number): string {
  const lines = plainText(text).replace(/\n+$/, "").split("\n");
  return lines.slice(-count).join("\n");
}

/** Characters that would change a terminal or a report, made visible. */
export function visible(text: string): string {
  return text.replace(
    CONTROL,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
