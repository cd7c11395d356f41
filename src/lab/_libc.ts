/**
 * The host's file calls by the C library: Deno has neither names that are not UTF-8 nor paths relative to an open folder,
 * without which a tree with hostile links cannot be written safely.
 *
 * @module
 */
import { HostError } from "../errors.ts";
import { errnoName } from "../values/mod.ts";
import { shownPath } from "./paths.ts";

const SYMBOLS = {
  openat: { parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  symlinkat: { parameters: ["buffer", "i32", "buffer"], result: "i32" },
  readlinkat: { parameters: ["i32", "buffer", "buffer", "usize"], result: "isize" },
  unlinkat: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  getdents64: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Flags of the host's fcntl.h; O_DIRECTORY and O_NOFOLLOW differ between architectures. */
const ARM = Deno.build.arch === "aarch64";
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  NONBLOCK: 0o4000,
  CLOEXEC: 0o2000000,
  DIRECTORY: ARM ? 0o40000 : 0o200000,
  NOFOLLOW: ARM ? 0o100000 : 0o400000,
} as const;
/** The folder that relative paths of the process begin at. */
export const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const STATX_BASIC_STATS = 0x7ff;

let library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;

function libc() {
  return (library ??= Deno.dlopen("libc.so.6", SYMBOLS)).symbols;
}

/** A call of the host's C library failed. */
export class HostFileError extends HostError {
  /** Symbolic errno. */
  readonly errno: string;

  constructor(what: string, path: Uint8Array, errno: string) {
    super(`Cannot ${what} ${shownPath(path)} on the host: ${errno}`);
    this.errno = errno;
  }
}

/** Text of the C library: with a NUL at its end. */
function text(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const ended = new Uint8Array(bytes.length + 1);
  ended.set(bytes);
  return ended;
}

function check(result: number | bigint, what: string, path: Uint8Array): number {
  const value = Number(result);
  if (value >= 0) return value;
  const pointer = libc().__errno_location();
  const errno = pointer === null ? 0 : new Deno.UnsafePointerView(pointer).getInt32();
  throw new HostFileError(what, path, errnoName(errno));
}

/** Opens a file of a folder. */
export function openAt(folder: number, name: Uint8Array, flags: number, mode = 0): number {
  return check(libc().openat(folder, text(name), flags | O.CLOEXEC, mode), "open", name);
}

/** Closes a descriptor. */
export function closeFd(fd: number): void {
  libc().close(fd);
}

/** Reads into `buffer`; 0 at the end. */
export function readFd(fd: number, buffer: Uint8Array<ArrayBuffer>, path: Uint8Array): number {
  return check(libc().read(fd, buffer, BigInt(buffer.length)), "read", path);
}

/** Writes all of `data`. */
export function writeFd(fd: number, data: Uint8Array, path: Uint8Array): void {
  for (let at = 0; at < data.length;) {
    const piece = data.subarray(at) as Uint8Array<ArrayBuffer>;
    at += check(libc().write(fd, piece, BigInt(piece.length)), "write", path);
  }
}

/** Creates a folder in a folder. */
export function mkdirAt(folder: number, name: Uint8Array, mode: number): void {
  check(libc().mkdirat(folder, text(name), mode), "create folder", name);
}

/** Creates a symbolic link in a folder. */
export function symlinkAt(target: Uint8Array, folder: number, name: Uint8Array): void {
  check(libc().symlinkat(text(target), folder, text(name)), "create link", name);
}

/** Where a symbolic link points. */
export function readLinkAt(folder: number, name: Uint8Array): Uint8Array {
  const buffer = new Uint8Array(4096);
  const size = libc().readlinkat(folder, text(name), buffer, BigInt(buffer.length));
  return buffer.slice(0, check(size, "read link", name));
}

/** Removes a file or link of a folder. */
export function unlinkAt(folder: number, name: Uint8Array): void {
  check(libc().unlinkat(folder, text(name), 0), "remove", name);
}

/** Sets permission bits. */
export function fchmod(fd: number, mode: number, path: Uint8Array): void {
  check(libc().fchmod(fd, mode), "chmod", path);
}

/** Type (as in readdir(3)) and permission bits of a file. */
export function statAt(
  folder: number,
  name: Uint8Array,
  options: { follow: boolean },
): { type: number; mode: number; size: number } {
  const buffer = new Uint8Array(256);
  const flags = options.follow ? 0 : AT_SYMLINK_NOFOLLOW;
  check(libc().statx(folder, text(name), flags, STATX_BASIC_STATS, buffer), "stat", name);
  const view = new DataView(buffer.buffer);
  // struct statx: stx_mode at 28, stx_size at 40 on every architecture.
  const mode = view.getUint16(28, true);
  return { type: mode >> 12, mode: mode & 0o7777, size: Number(view.getBigUint64(40, true)) };
}

/** Names in an open folder, without `.` and `..`, in no order. */
export function readNames(fd: number, path: Uint8Array): Uint8Array[] {
  const names: Uint8Array[] = [];
  const buffer = new Uint8Array(64 * 1024);
  const view = new DataView(buffer.buffer);
  while (true) {
    const size = check(libc().getdents64(fd, buffer, BigInt(buffer.length)), "read folder", path);
    if (size === 0) return names;
    // struct linux_dirent64: d_reclen at 16, d_name at 19.
    for (let at = 0; at < size; at += view.getUint16(at + 16, true)) {
      const end = buffer.indexOf(0, at + 19);
      const name = buffer.slice(at + 19, end);
      const dots = name[0] === 0x2e &&
        (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
      if (!dots) names.push(name);
    }
  }
}
