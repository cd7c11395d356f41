/** One entry of a cpio archive. Paths may be written with or without a leading slash. */
export type CpioEntry =
  | CpioFile
  | { type: "directory"; path: string; mode?: number; uid?: number; gid?: number }
  | { type: "symlink"; path: string; target: string }
  | {
    type: "char" | "block";
    path: string;
    major: number;
    minor: number;
    mode?: number;
    uid?: number;
    gid?: number;
  };

/** A regular file in a cpio archive. */
export interface CpioFile {
  type: "file";
  path: string;
  content: Uint8Array;
  /**
   * Permission bits.
   *
   * @default {0o644}
   */
  mode?: number;
  uid?: number;
  gid?: number;
}

const FORMAT_BITS = {
  file: 0o100000,
  directory: 0o040000,
  symlink: 0o120000,
  char: 0o020000,
  block: 0o060000,
} as const;

const DEFAULT_MODE = { file: 0o644, directory: 0o755, symlink: 0o777, char: 0o600, block: 0o600 };

/** Largest size that eight hexadecimal digits hold. */
const MAX_FILE_BYTES = 0xffff_ffff;
const HEADER_BYTES = 110;
/** The kernel's PATH_MAX: it skips longer names without a word. */
const MAX_NAME_BYTES = 4096;

const encoder = new TextEncoder();

/**
 * Yields a cpio archive in the "newc" format that the kernel unpacks as initramfs.
 *
 * The same entries always give the same bytes: times are 0 and inode numbers count up. Archives may
 * be concatenated; the kernel lets later entries win. Parents must come before their children.
 *
 * @throws {TypeError} If a path is not usable in an archive.
 * @throws {RangeError} If a file, mode, or device number does not fit the format.
 */
export function* cpioChunks(entries: Iterable<CpioEntry>): Generator<Uint8Array> {
  let inode = 0;
  for (const entry of entries) {
    inode += 1;
    const data = entryData(entry);
    if (data.length > MAX_FILE_BYTES) {
      throw new RangeError(
        `Cannot archive "${entry.path}": ${data.length} bytes is more than ${MAX_FILE_BYTES}`,
      );
    }
    yield header(entry, inode, data.length);
    if (data.length > 0) yield data;
    if (data.length % 4 !== 0) yield new Uint8Array(4 - data.length % 4);
  }
  yield rawHeader({ name: encoder.encode("TRAILER!!!"), nlink: 1 });
}

/** Returns a whole archive as one array; see {@linkcode cpioChunks}. */
export function cpioBytes(entries: Iterable<CpioEntry>): Uint8Array<ArrayBuffer> {
  const chunks = [...cpioChunks(entries)];
  const result = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    result.set(chunk, offset);
    offset += chunk.length;
  }
  return result;
}

/**
 * Checks a path for use in an archive or a guest and strips its leading slash.
 *
 * @throws {TypeError} If it is empty, climbs by "..", or holds a NUL.
 */
export function archivePath(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.length === 0) throw new TypeError(`Cannot archive "${path}": the path names no entry`);
  if (parts.includes("..")) throw new TypeError(`Cannot archive "${path}": the path contains ".."`);
  if (path.includes("\0")) {
    throw new TypeError(`Cannot archive ${JSON.stringify(path)}: the path contains a NUL`);
  }
  return parts.join("/");
}

function entryData(entry: CpioEntry): Uint8Array {
  if (entry.type === "file") return entry.content;
  if (entry.type === "symlink") return encoder.encode(entry.target);
  return new Uint8Array();
}

function header(entry: CpioEntry, inode: number, size: number): Uint8Array {
  const name = encoder.encode(archivePath(entry.path));
  if (name.length >= MAX_NAME_BYTES) {
    throw new RangeError(
      `Cannot archive "${entry.path}": the path has ${name.length} bytes, the limit is ${
        MAX_NAME_BYTES - 1
      }`,
    );
  }
  const permissions = entry.type === "symlink" ? DEFAULT_MODE.symlink : permissionBits(entry);
  const owner = entry.type === "symlink" ? {} : { uid: entry.uid, gid: entry.gid };
  const device = "major" in entry ? { rmajor: entry.major, rminor: entry.minor } : {};
  return rawHeader({
    name,
    inode,
    mode: FORMAT_BITS[entry.type] | permissions,
    nlink: entry.type === "directory" ? 2 : 1,
    size,
    ...owner,
    ...device,
  });
}

function permissionBits(entry: Exclude<CpioEntry, { type: "symlink" }>): number {
  const mode = entry.mode ?? DEFAULT_MODE[entry.type];
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
    throw new RangeError(
      `Cannot archive "${entry.path}": mode is ${mode}, expected 0 to 0o7777`,
    );
  }
  return mode;
}

interface RawHeader {
  name: Uint8Array;
  inode?: number;
  mode?: number;
  uid?: number;
  gid?: number;
  nlink: number;
  size?: number;
  rmajor?: number;
  rminor?: number;
}

function rawHeader(fields: RawHeader): Uint8Array {
  const { name, inode = 0, mode = 0, uid = 0, gid = 0, nlink, size = 0 } = fields;
  const { rmajor = 0, rminor = 0 } = fields;
  // Order fixed by the format: time, device and checksum stay 0.
  const values = [inode, mode, uid, gid, nlink, 0, size, 0, 0, rmajor, rminor, name.length + 1, 0];
  const text = "070701" + values.map(hex).join("");
  const length = HEADER_BYTES + name.length + 1;
  const bytes = new Uint8Array(length + (4 - length % 4) % 4);
  encoder.encodeInto(text, bytes);
  bytes.set(name, HEADER_BYTES);
  return bytes;
}

function hex(value: number): string {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new RangeError(`Cannot archive: the header value ${value} does not fit 32 bits`);
  }
  return value.toString(16).padStart(8, "0");
}
