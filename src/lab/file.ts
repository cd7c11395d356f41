import { AgentLostError, StateError } from "../errors.ts";
import { captureSite, currentScope, formatSite, type Registration } from "../scope/mod.ts";
import { registerOptions } from "../values/mod.ts";
import { LIMITS, type OpName, type OpReply, type OpRequest, toBytes, toText } from "../wire/mod.ts";
import { ask, type GuestLink, type OperationOptions } from "./_link.ts";
import { modeBits, openFlags, type OpenOptions } from "./open_flags.ts";
import { type GuestPath, pathBytes, shownPath } from "./paths.ts";
import { type FileStat, fileStat } from "./stat.ts";
import type { Stream } from "./stream.ts";
import { openTail } from "./tail.ts";

const checkOpen = registerOptions<OpenOptions>("vm.openFile()", {
  read: "boolean",
  write: "boolean",
  append: "boolean",
  create: "boolean",
  createNew: "boolean",
  truncate: "boolean",
  mode: (value, name) => void modeBits(value as number, `Option ${name}`),
  signal: "abortSignal",
});
const checkOp = registerOptions<OperationOptions>("file.read()", { signal: "abortSignal" });

const WHENCE = { start: 0, current: 1, end: 2 } as const;
const token = Symbol("File");

/** An open file of the guest. It has one position, so its operations run one after the other. */
export class File implements AsyncDisposable {
  /** Path under which it was opened. */
  readonly path: string;
  /**
   * Its descriptor in the guest. It is valid in system calls of the principal that opened the file; pass the `File`
   * itself there, and a wrong principal is noticed.
   */
  readonly fd: number;
  readonly #link: GuestLink;
  readonly #id: number;
  readonly #pathBytes: Uint8Array;
  readonly #registration: Registration;
  readonly #entry: { kind: string; name: string; site: string };
  #turn: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /** Made by `vm.openFile()` only. */
  constructor(
    key: symbol,
    link: GuestLink,
    opened: { id: number; fd: number; path: Uint8Array },
  ) {
    if (key !== token) throw new TypeError("Cannot construct a File: use vm.openFile()");
    this.#link = link;
    this.#id = opened.id;
    this.fd = opened.fd;
    this.#pathBytes = opened.path;
    this.path = toText(opened.path);
    const site = captureSite();
    this.#entry = { kind: "file", name: shownPath(this.path), site: formatSite(site) };
    link.open.add(this.#entry);
    this.#registration = currentScope().register({
      kind: "file",
      name: `${shownPath(this.path)} (descriptor ${this.fd}) of ${link.label}`,
      close: () => this.close(),
      leaked: () => true,
      site,
    });
  }

  /** Number by which the agent knows it. */
  get id(): number {
    return this.#id;
  }

  /** Whose descriptor it is: `machine "db"` or `worker 3 of machine "db"`. */
  get owner(): string {
    return this.#link.label;
  }

  /** Whether it was opened by this machine or worker. */
  belongsTo(link: { readonly vm: string; readonly principal: number }): boolean {
    return this.#link.vm === link.vm && this.#link.principal === link.principal;
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Up to `length` bytes from the current position; empty at the end of the file. */
  async read(length: number, options: OperationOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    checkOp(options);
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new RangeError(`read() takes a whole number of bytes, got ${String(length)}`);
    }
    return await this.#inTurn(() => this.#read(length, options));
  }

  /** Everything from the current position to the end of the file. */
  async readAll(options: OperationOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    checkOp(options);
    return await this.#inTurn(() => this.#read(Infinity, options));
  }

  /**
   * Writes everything at the current position, or at the end of a file that was opened with `append`.
   *
   * @returns Bytes written.
   */
  async write(data: string | Uint8Array, options: OperationOptions = {}): Promise<number> {
    checkOp(options);
    if (typeof data !== "string" && !(data instanceof Uint8Array)) {
      throw new TypeError(
        `write() takes text or bytes, got ${data === null ? "null" : typeof data}`,
      );
    }
    const bytes = toBytes(data);
    return await this.#inTurn(async () => {
      let at = 0;
      do {
        const piece = bytes.subarray(at, at + LIMITS.MAX_FILE_IO);
        const { size } = await this.#ask("fileWrite", { data: piece }, options);
        at += size;
      } while (at < bytes.length);
      return at;
    });
  }

  /**
   * Moves the position.
   *
   * @returns The new position from the start.
   */
  async seek(
    offset: number,
    whence: "start" | "current" | "end" = "start",
    options: OperationOptions = {},
  ): Promise<number> {
    checkOp(options);
    if (!Number.isSafeInteger(offset)) {
      throw new RangeError(`seek() takes a whole number as offset, got ${String(offset)}`);
    }
    if (!Object.hasOwn(WHENCE, whence)) {
      throw new TypeError(
        `seek() takes "start", "current" or "end", got ${JSON.stringify(whence)}`,
      );
    }
    return await this.#inTurn(async () =>
      (await this.#ask("fileSeek", { offset, whence: WHENCE[whence] }, options)).offset
    );
  }

  /** The current position. */
  async tell(options: OperationOptions = {}): Promise<number> {
    return await this.seek(0, "current", options);
  }

  /** What the guest knows about it, whatever its path stands for by now. */
  async stat(options: OperationOptions = {}): Promise<FileStat> {
    checkOp(options);
    return fileStat(await this.#ask("fileStat", {}, options));
  }

  /** Cuts it off, or extends it with zeros; the position stays. */
  async truncate(size = 0, options: OperationOptions = {}): Promise<void> {
    checkOp(options);
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new RangeError(`truncate() takes a whole number of bytes, got ${String(size)}`);
    }
    await this.#ask("fileTruncate", { size }, options);
  }

  /** Waits until everything written is on the guest's disk. */
  async sync(options: OperationOptions = {}): Promise<void> {
    checkOp(options);
    await this.#inTurn(() => this.#ask("fileSync", {}, options));
  }

  /** What is written to its path from the current position on; survives truncation and rotation. */
  async tail(): Promise<Stream> {
    const from = await this.tell();
    return await openTail(this.#link, this.#pathBytes, from);
  }

  /** Closes it; harmless when called again, or when the machine has ended. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      await Promise.resolve();
      this.#registration.release();
      this.#link.open.delete(this.#entry);
      try {
        await this.#request("fileClose", {}, {});
      } catch (error) {
        // With the machine or the worker the descriptor is gone as well.
        if (error instanceof AgentLostError || error instanceof StateError) return;
        if ((error as { code?: string }).code === "WORKERGONE") return;
        throw error;
      }
    })();
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #read(length: number, options: OperationOptions): Promise<Uint8Array<ArrayBuffer>> {
    const parts: Uint8Array[] = [];
    let total = 0;
    while (total < length) {
      const wanted = Math.min(length - total, LIMITS.MAX_FILE_IO);
      const { data } = await this.#ask("fileRead", { length: wanted }, options);
      parts.push(data);
      total += data.length;
      // A short read is the end of a regular file, and all there is for now of a pipe or terminal.
      if (data.length === 0 || (length !== Infinity && data.length < wanted)) break;
    }
    const all = new Uint8Array(total);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  async #inTurn<T>(fn: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(fn);
    this.#turn = result.catch(() => {}); // Whoever called it gets the error; the next one only waits.
    return await result;
  }

  async #ask<K extends FileOp>(
    op: K,
    args: Omit<OpRequest<K>, "file">,
    options: OperationOptions,
  ): Promise<OpReply<K>> {
    if (this.#closing) {
      throw new StateError(
        `Cannot ${op} ${shownPath(this.path)} on ${this.#link.label}: it is closed`,
        {
          next: "open it again with openFile()",
        },
      );
    }
    return await this.#request(op, args, options);
  }

  async #request<K extends FileOp>(
    op: K,
    args: Omit<OpRequest<K>, "file">,
    { signal }: OperationOptions,
  ): Promise<OpReply<K>> {
    const request = { file: this.#id, ...args } as unknown as OpRequest<K>;
    const text = `${op}(${shownPath(this.path)})`;
    return await ask(this.#link, op, request, { text, signal });
  }
}

type FileOp = { [K in OpName]: OpRequest<K> extends { file: number } ? K : never }[OpName];

/** Opens a file in the guest; it is closed with the scope of the caller. */
export async function openFile(
  link: GuestLink,
  path: GuestPath,
  options: OpenOptions,
): Promise<File> {
  checkOpen(options);
  const bytes = pathBytes(path, "openFile()");
  const client = link.client("openFile");
  const flags = openFlags(options, client.agent.arch);
  const id = client.newId();
  const { fd } = await ask(link, "fileOpen", {
    file: id,
    path: bytes,
    flags,
    mode: options.mode ?? 0o666,
  }, { text: `openFile(${shownPath(path)})`, signal: options.signal });
  return new File(token, link, { id, fd, path: bytes });
}
