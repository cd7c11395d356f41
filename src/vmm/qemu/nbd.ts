import { HostError } from "../../errors.ts";
import { errnoName } from "../../values/errno.ts";
import { readAll, writeAll } from "./_exact.ts";

/** Numbers of the NBD protocol, as its specification gives them. */
const OPTION_MAGIC = 0x49484156454F5054n; // "IHAVEOPT"
const GREETING = 0x4e42444d41474943n; // "NBDMAGIC"
const REPLY_MAGIC = 0x3e889045565a9n;
const REQUEST_MAGIC = 0x25609513;
const ANSWER_MAGIC = 0x67446698;
const FIXED_NO_ZEROES = 3;
const OPTION_GO = 7;
const REPLY_ACK = 1;
const REPLY_ERROR = 0x80000000;
const READ = 0, WRITE = 1, DISCONNECT = 2, FLUSH = 3;
/** Bytes of one request. */
const CHUNK = 1024 * 1024;

/** A conversation about one disk with QEMU's server of network block devices. */
export class NbdClient implements Disposable {
  readonly #conn: Deno.Conn;
  #handle = 0n;

  private constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Connects to a server's socket, and chooses one of its exports. */
  static async connect(path: string, name: string): Promise<NbdClient> {
    const client = new NbdClient(await Deno.connect({ transport: "unix", path }));
    try {
      await client.#choose(name);
      return client;
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
  }

  async read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += CHUNK) {
      const part = bytes.subarray(at, at + CHUNK);
      await this.#ask(READ, offset + at, part.length);
      part.set(await readAll(this.#conn, part.length));
    }
    return bytes;
  }

  /** Resolves when the bytes are on the disk, not only in a cache. */
  async write(offset: number, data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += CHUNK) {
      const part = data.subarray(at, at + CHUNK);
      await this.#ask(WRITE, offset + at, part.length, part);
    }
    await this.#ask(FLUSH, 0, 0);
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }

  /** Says good-bye, so that the server forgets this client at once. */
  async end(): Promise<void> {
    await writeAll(this.#conn, this.#request(DISCONNECT, 0, 0));
  }

  async #choose(name: string): Promise<void> {
    const greeting = view(await readAll(this.#conn, 18));
    if (greeting.getBigUint64(0) !== GREETING || greeting.getBigUint64(8) !== OPTION_MAGIC) {
      throw new HostError("Cannot talk to QEMU about a disk: it speaks no NBD");
    }
    const bytes = new TextEncoder().encode(name);
    const hello = new Uint8Array(4 + 16 + 4 + bytes.length + 2);
    const out = view(hello);
    out.setUint32(0, FIXED_NO_ZEROES);
    out.setBigUint64(4, OPTION_MAGIC);
    out.setUint32(12, OPTION_GO);
    out.setUint32(16, 4 + bytes.length + 2);
    out.setUint32(20, bytes.length);
    hello.set(bytes, 24);
    await writeAll(this.#conn, hello);
    while (true) {
      const head = view(await readAll(this.#conn, 20));
      const type = head.getUint32(12);
      const data = await readAll(this.#conn, head.getUint32(16));
      if (head.getBigUint64(0) !== REPLY_MAGIC || type >= REPLY_ERROR) {
        throw new HostError(`Cannot open disk "${name}"`, {
          actual: new TextDecoder().decode(data) || `answer ${type.toString(16)}`,
        });
      }
      if (type === REPLY_ACK) return;
    }
  }

  #request(type: number, offset: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(28);
    const out = view(bytes);
    out.setUint32(0, REQUEST_MAGIC);
    out.setUint16(6, type);
    out.setBigUint64(8, ++this.#handle);
    out.setBigUint64(16, BigInt(offset));
    out.setUint32(24, length);
    return bytes;
  }

  async #ask(type: number, offset: number, length: number, data?: Uint8Array): Promise<void> {
    await writeAll(this.#conn, this.#request(type, offset, length));
    if (data) await writeAll(this.#conn, data);
    const answer = view(await readAll(this.#conn, 16));
    const errno = answer.getUint32(4);
    if (answer.getUint32(0) === ANSWER_MAGIC && errno === 0) return;
    throw new HostError(`Cannot ${type === READ ? "read" : "write"} a disk`, {
      code: "DISK_IO",
      actual: `${errnoName(errno)} at byte ${offset}`,
    });
  }
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
