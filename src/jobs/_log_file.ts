import { emitEvent } from "../scope/mod.ts";
import type { OutputBuffer } from "./output_buffer.ts";

/** Bytes after which a log file takes no more. */
const MAX_LOG_BYTES = 256 * 1024 * 1024;

/** A file that takes the whole output of a job as it comes, both streams together, up to a limit. */
export class LogFile {
  readonly path: string;
  #file: Deno.FsFile | undefined;
  #left: number;
  #stops: (() => void)[] = [];

  private constructor(path: string, file: Deno.FsFile, maxBytes: number) {
    this.path = path;
    this.#file = file;
    this.#left = maxBytes;
  }

  /** Creates the file, readable for its owner only; one that is there is emptied. */
  static async create(path: string, maxBytes: number = MAX_LOG_BYTES): Promise<LogFile> {
    const file = await Deno.open(path, { write: true, create: true, truncate: true, mode: 0o600 });
    return new LogFile(path, file, maxBytes);
  }

  /** Takes what these buffers are given from now on. */
  follow(...buffers: OutputBuffer[]): void {
    for (const buffer of buffers) {
      this.#stops.push(buffer.tap((chunk) => chunk && this.#write(chunk)));
    }
  }

  /** Ends the file; harmless when called again. */
  close(): void {
    for (const stop of this.#stops.splice(0)) stop();
    this.#file?.close();
    this.#file = undefined;
  }

  #write(chunk: Uint8Array): void {
    if (!this.#file || this.#left <= 0) return;
    try {
      // Synchronous on purpose: a queue of writes to a slow disk would have no limit.
      this.#writeAll(chunk.subarray(0, this.#left));
      this.#left -= chunk.length;
      if (this.#left < 0) this.#writeAll(new TextEncoder().encode("\n[… log truncated …]\n"));
    } catch (error) {
      emitEvent("warning", { message: `Cannot write log file "${this.path}": ${error}` });
      this.close();
    }
  }

  #writeAll(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) at += this.#file!.writeSync(bytes.subarray(at));
  }
}
