import { LineSplitter } from "./_line_reader.ts";
import { readMark } from "./protocol.ts";

/** Most output of one test, or of what runs between tests, that is kept per stream. */
const MAX_OUTPUT = 1024 * 1024;
const MAX_LINE = 16 * 1024;

/** Reads one output of a file's process to its end and tells whose each line is. */
export class OutputReader {
  /** Resolves when the output has ended. */
  readonly ended: Promise<void>;
  #mark: string;
  #test: string | undefined;
  #reached = 0;
  #over = false;
  #size = 0;
  #waiting: { n: number; resolve: () => void }[] = [];
  #onText: (text: string, test: string | undefined) => void;

  constructor(
    stream: ReadableStream<Uint8Array>,
    mark: string,
    onText: (text: string, test: string | undefined) => void,
  ) {
    this.#mark = mark;
    this.#onText = onText;
    this.ended = this.#read(stream);
  }

  /** Resolves when mark `n` has been read, the output has ended, or `limitMs` have passed. */
  async reached(n: number, limitMs: number): Promise<void> {
    if (this.#reached >= n || this.#over) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ n, resolve });
    const timer = setTimeout(resolve, limitMs);
    await promise;
    clearTimeout(timer);
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const lines = new LineSplitter(MAX_LINE);
    try {
      for await (const bytes of stream) {
        for (const line of lines.push(bytes)) this.#line(line);
      }
      for (const line of lines.end()) this.#line(line);
    } finally {
      this.#over = true;
      for (const { resolve } of this.#waiting) resolve();
    }
  }

  #line(line: string): void {
    const mark = readMark(this.#mark, line);
    if (!mark) return this.#text(line);
    if (mark.before !== "") this.#text(mark.before);
    this.#test = mark.test;
    this.#size = 0;
    this.#reached = mark.n;
    this.#waiting = this.#waiting.filter(({ n, resolve }) => {
      if (n > mark.n) return true;
      resolve();
      return false;
    });
  }

  #text(text: string): void {
    if (this.#size > MAX_OUTPUT) return;
    this.#size += text.length + 1;
    this.#onText(this.#size > MAX_OUTPUT ? "(more output is not kept)" : text, this.#test);
  }
}
