import { type OpReply, toText } from "../wire/mod.ts";

/** What a name in a folder stands for. */
export type FileType =
  | "file"
  | "directory"
  | "symlink"
  | "fifo"
  | "socket"
  | "block"
  | "char"
  | "unknown";

/** What the guest's kernel knows about a file. */
export interface FileStat {
  type: FileType;
  /** Permission bits, with set-user-id, set-group-id and sticky; without the type. */
  mode: number;
  /** Bytes. */
  size: number;
  uid: number;
  gid: number;
  nlink: number;
  /** Inode number; above 2^53 it is rounded. */
  ino: number;
  dev: number;
  /** Device that a special file stands for. */
  rdev: number;
  /** Units of 512 bytes. */
  blocks: number;
  blockSize: number;
  atime: Date;
  mtime: Date;
  ctime: Date;
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly isSymlink: boolean;
}

/** An entry of a folder. */
export interface DirEntry {
  /** The name as text; what is not UTF-8 becomes U+FFFD. */
  name: string;
  /** The name as the guest has it. */
  nameBytes: Uint8Array;
  type: FileType;
  ino: number;
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly isSymlink: boolean;
}

/** Space and limits of a file system. */
export interface FileSystemStat {
  /** Magic number of statfs(2). */
  type: number;
  blockSize: number;
  blocks: number;
  free: number;
  /** Free for users without privileges. */
  available: number;
  files: number;
  filesFree: number;
  nameMax: number;
  /** Bytes in all. */
  totalBytes: number;
  /** Bytes that users without privileges may still write. */
  availableBytes: number;
}

/** Types by the four bits that readdir(3) and st_mode share. */
const TYPES: Record<number, FileType> = {
  1: "fifo",
  2: "char",
  4: "directory",
  6: "block",
  8: "file",
  10: "symlink",
  12: "socket",
};

/** The type behind the number of readdir(3), or the type bits of `st_mode`. */
export function fileType(number: number): FileType {
  return TYPES[number > 15 ? number >> 12 : number] ?? "unknown";
}

/** A stat as authors see it. */
export function fileStat(reply: OpReply<"stat">): FileStat {
  const { atimeNs, mtimeNs, ctimeNs } = reply;
  const type = fileType(reply.type);
  return {
    type,
    mode: reply.mode & 0o7777,
    size: Number(reply.size),
    uid: reply.uid,
    gid: reply.gid,
    nlink: reply.nlink,
    ino: Number(reply.ino),
    dev: Number(reply.dev),
    rdev: Number(reply.rdev),
    blocks: Number(reply.blocks),
    blockSize: reply.blockSize,
    atime: dateOf(atimeNs),
    mtime: dateOf(mtimeNs),
    ctime: dateOf(ctimeNs),
    atimeNs,
    mtimeNs,
    ctimeNs,
    ...flags(type),
  };
}

/** A folder's entry as authors see it. */
export function dirEntry(entry: { name: Uint8Array; type: number; ino: bigint }): DirEntry {
  const type = fileType(entry.type);
  return {
    name: toText(entry.name),
    nameBytes: entry.name,
    type,
    ino: Number(entry.ino),
    ...flags(type),
  };
}

/** A file system's figures as authors see them. */
export function fileSystemStat(reply: OpReply<"statfs">): FileSystemStat {
  const numbers = Object.fromEntries(
    Object.entries(reply).map(([key, value]) => [key, Number(value)]),
  ) as { [K in keyof OpReply<"statfs">]: number };
  const { blockSize, blocks, available } = numbers;
  return { ...numbers, totalBytes: blocks * blockSize, availableBytes: available * blockSize };
}

/** A point in time as nanoseconds since the epoch: from a Date, seconds, or nanoseconds. */
export function timeNs(time: Date | number | bigint, name: string): bigint {
  if (typeof time === "bigint") return time;
  const ms = time instanceof Date ? time.getTime() : typeof time === "number" ? time * 1000 : NaN;
  if (!Number.isFinite(ms)) {
    const got = time instanceof Date || typeof time === "number" ? String(time) : typeof time;
    throw new TypeError(`${name} must be a valid Date, seconds or nanoseconds, got ${got}`);
  }
  const whole = Math.floor(ms);
  return BigInt(whole) * 1_000_000n + BigInt(Math.round((ms - whole) * 1e6));
}

function dateOf(ns: bigint): Date {
  return new Date(Number(ns / 1_000_000n));
}

function flags(type: FileType) {
  return {
    isFile: type === "file",
    isDirectory: type === "directory",
    isSymlink: type === "symlink",
  };
}
