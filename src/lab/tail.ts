import { AgentLostError } from "../errors.ts";
import { captureSite, currentScope, formatSite, runScope } from "../scope/mod.ts";
import { registerOptions } from "../values/mod.ts";
import {
  type AgentClient,
  LIMITS,
  type OpName,
  type OpReply,
  type OpRequest,
  toBytes,
} from "../wire/mod.ts";
import { type GuestLink, operate, type OperationOptions, quickLimitMs } from "./_link.ts";
import { shownPath } from "./paths.ts";
import { type ByteSource, Stream } from "./stream.ts";
import { RawWatch } from "./watch.ts";

/** Options of `vm.tail()`. */
export interface TailOptions extends OperationOptions {
  /**
   * Where to begin: at what is written from now on, at the start, or at a byte.
   *
   * @default {"end"}
   */
  from?: "end" | "start" | number;
}

/** Checks the options of `vm.tail()`. */
export const checkTail: (options: unknown) => void = registerOptions<TailOptions>("vm.tail()", {
  signal: "abortSignal",
  from: (value, name) => {
    if (value === "end" || value === "start") return;
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return;
    throw new TypeError(
      `Option ${name} must be "end", "start" or a byte offset, got ${String(value)}`,
    );
  },
});

/** IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE: what can mean new data, or a new file. */
const FOLDER_MASK = 0x2 | 0x40 | 0x80 | 0x100 | 0x200;
/** IN_MODIFY | IN_ATTRIB: for a path that is a symbolic link to another folder. */
const FILE_MASK = 0x2 | 0x4;

/**
 * Opens a stream of what is written to a file. It follows the path: after a truncation it begins at the new end, after a
 * rotation it reads the old file to its end and goes on with the new one.
 */
export async function openTail(
  link: GuestLink,
  path: Uint8Array,
  from: "end" | "start" | number,
  signal?: AbortSignal,
): Promise<Stream> {
  const name = `tail of ${shownPath(path)} on ${link.label}`;
  const site = captureSite();
  const source = new TailSource(link, path);
  await operate(
    link,
    "tail",
    `tail(${shownPath(path)})`,
    signal,
    (client, any) => runScope().run(() => source.open(client, from, any)),
  );
  const entry = { kind: "tail", name: shownPath(path), site: formatSite(site) };
  link.open.add(entry);
  const registration = currentScope().register({
    kind: "stream",
    name,
    close: () => stream.close(),
    site,
  });
  const stream = new Stream(name, source, {
    onClose: () => {
      link.open.delete(entry);
      registration.release();
    },
  });
  return stream;
}

class TailSource implements ByteSource {
  readonly #link: GuestLink;
  readonly #path: Uint8Array;
  #client!: AgentClient;
  #watches: RawWatch[] = [];
  #file: { id: number; ino: bigint; dev: bigint; offset: number } | undefined;
  #changed = Promise.withResolvers<void>();
  #dirty = true;
  #closed = false;

  constructor(link: GuestLink, path: Uint8Array) {
    this.#link = link;
    this.#path = path;
  }

  alarm = () => this.#link.alarm();

  async open(client: AgentClient, from: "end" | "start" | number, signal: AbortSignal) {
    this.#client = client;
    const { folder, name } = split(this.#path);
    const wake = () => {
      this.#dirty = true;
      this.#changed.resolve();
    };
    const { principal } = this.#link;
    client.closed.then(wake);
    try {
      // The watch comes before the first look, so that nothing between the two is missed.
      this.#watches.push(
        await RawWatch.open(client, principal, { path: folder, mask: FOLDER_MASK, signal }, (e) => {
          if (equal(e.name, name) || e.mask & 0x4000) wake();
        }),
      );
      await this.#openFile(from, signal);
      const own = { path: this.#path, mask: FILE_MASK, signal };
      this.#watches.push(await RawWatch.open(client, principal, own, wake));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async read(): Promise<Uint8Array | undefined> {
    while (!this.#closed) {
      this.#changed = Promise.withResolvers<void>();
      const looked = this.#dirty;
      this.#dirty = false;
      const data = await this.#readMore();
      if (this.#closed) return undefined;
      if (data.length > 0) {
        this.#dirty = true; // There may be more.
        return data;
      }
      if (looked && await this.#followPath()) {
        this.#dirty = true;
        continue;
      }
      if (!this.#dirty) await this.#changed.promise;
    }
    return undefined;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#changed.resolve();
    for (const watch of this.#watches.splice(0)) await watch.close();
    await this.#closeFile();
  }

  async #readMore(): Promise<Uint8Array> {
    if (!this.#file) return new Uint8Array(0);
    const { data } = await this.#request("fileRead", {
      file: this.#file.id,
      length: LIMITS.MAX_DATA,
      offset: this.#file.offset,
    });
    this.#file.offset += data.length;
    return data;
  }

  /** Looks whether the file was cut off, or the path stands for another one; true if there may be data now. */
  async #followPath(): Promise<boolean> {
    if (this.#file) {
      const { size } = await this.#request("fileStat", { file: this.#file.id });
      if (Number(size) < this.#file.offset) {
        this.#file.offset = 0;
        return true;
      }
    }
    const now = await this.#request("stat", { path: this.#path, follow: true }).catch(ifMissing);
    if (!now) return false; // Rotated away, and the new file is not there yet.
    if (this.#file && now.ino === this.#file.ino && now.dev === this.#file.dev) return false;
    // What was written to the old file since the last read comes first.
    const rest = await this.#restOfOld();
    if (rest) return true;
    await this.#closeFile();
    return await this.#openFile("start").then(() => true, (error) => ifMissing(error) ?? false);
  }

  async #restOfOld(): Promise<boolean> {
    if (!this.#file) return false;
    const { size } = await this.#request("fileStat", { file: this.#file.id });
    return Number(size) > this.#file.offset;
  }

  async #openFile(from: "end" | "start" | number, signal?: AbortSignal): Promise<void> {
    const id = this.#client.newId();
    const O_CLOEXEC = 0o2000000;
    await this.#request(
      "fileOpen",
      { file: id, path: this.#path, flags: O_CLOEXEC, mode: 0 },
      signal,
    );
    const { ino, dev, size } = await this.#request("fileStat", { file: id }, signal);
    const offset = from === "end" ? Number(size) : from === "start" ? 0 : from;
    this.#file = { id, ino, dev, offset };
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (!file) return;
    await this.#request("fileClose", { file: file.id }).catch((error) => {
      if (!(error instanceof AgentLostError)) throw error; // With the machine the file is closed.
    });
  }

  async #request<K extends OpName>(
    op: K,
    args: OpRequest<K>,
    signal?: AbortSignal,
  ): Promise<OpReply<K>> {
    const { principal } = this.#link;
    return await this.#client.request(op, args, { principal, signal, timeoutMs: quickLimitMs() });
  }
}

function ifMissing(error: unknown): undefined {
  if ((error as { errno?: string }).errno === "ENOENT") return undefined;
  throw error;
}

function split(path: Uint8Array): { folder: Uint8Array; name: Uint8Array } {
  const at = path.lastIndexOf(0x2f);
  if (at < 0) return { folder: toBytes("."), name: path };
  return { folder: at === 0 ? toBytes("/") : path.subarray(0, at), name: path.subarray(at + 1) };
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
