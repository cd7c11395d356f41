import { registerOptions } from "../values/mod.ts";
import {
  DIR_ENTRY,
  type OpName,
  type OpReply,
  type OpRequest,
  readShape,
  toText,
} from "../wire/mod.ts";
import { ask, linkOf, type OperationOptions } from "./_link.ts";
import { collectValues, fetchFile, type FileData, sendFile } from "./_transfer.ts";
import { modeBits } from "./open_flags.ts";
import { type GuestPath, pathBytes, shownPath } from "./paths.ts";
import {
  type DirEntry,
  dirEntry,
  type FileStat,
  fileStat,
  type FileSystemStat,
  fileSystemStat,
  timeNs,
} from "./stat.ts";

/** Options of {@linkcode FileOperations.readFile}. */
export interface ReadFileOptions extends OperationOptions {
  /** First byte to read. @default {0} */
  offset?: number;
  /** Bytes to read at most; all of them when missing. */
  length?: number;
}

/** Options of {@linkcode FileOperations.writeFile}. */
export interface WriteFileOptions extends OperationOptions {
  /** Permission bits of a file that is created. @default {0o666} */
  mode?: number;
  /** Whether to add to the end instead of replacing the content. @default {false} */
  append?: boolean;
  /** Whether to fail with EEXIST if there is such a file. @default {false} */
  createNew?: boolean;
  /** Whether to create the folders above it. @default {false} */
  parents?: boolean;
}

/** Options of {@linkcode FileOperations.mkdir}. */
export interface MkdirOptions extends OperationOptions {
  /** Whether to create the folders above it, and accept one that is there. @default {false} */
  recursive?: boolean;
  /** Permission bits, before the umask. @default {0o777} */
  mode?: number;
}

/** Options of {@linkcode FileOperations.remove}. */
export interface RemoveOptions extends OperationOptions {
  /** Whether to remove folders with all they hold. @default {false} */
  recursive?: boolean;
}

/** Options of operations that can act on a link itself. */
export interface FollowOptions extends OperationOptions {
  /** Whether to act on what a symbolic link points to. @default {true} */
  followSymlinks?: boolean;
}

const signalOnly = (call: string) =>
  registerOptions<OperationOptions>(call, { signal: "abortSignal" });
const withFollow = (call: string) =>
  registerOptions<FollowOptions>(call, { signal: "abortSignal", followSymlinks: "boolean" });

const wholeNumber = (value: unknown, name: string) => {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return;
  throw new RangeError(`Option ${name} must be a whole number of bytes, got ${String(value)}`);
};
const mode = (value: unknown, name: string) => void modeBits(value as number, `Option ${name}`);

const CHECK = {
  readFile: registerOptions<ReadFileOptions>("vm.readFile()", {
    signal: "abortSignal",
    offset: wholeNumber,
    length: wholeNumber,
  }),
  writeFile: registerOptions<WriteFileOptions>("vm.writeFile()", {
    signal: "abortSignal",
    mode,
    append: "boolean",
    createNew: "boolean",
    parents: "boolean",
  }),
  mkdir: registerOptions<MkdirOptions>("vm.mkdir()", {
    signal: "abortSignal",
    recursive: "boolean",
    mode,
  }),
  remove: registerOptions<RemoveOptions>("vm.remove()", {
    signal: "abortSignal",
    recursive: "boolean",
  }),
  readTextFile: registerOptions<ReadFileOptions>("vm.readTextFile()", {
    signal: "abortSignal",
    offset: wholeNumber,
    length: wholeNumber,
  }),
  stat: signalOnly("vm.stat()"),
  lstat: signalOnly("vm.lstat()"),
  exists: signalOnly("vm.exists()"),
  readDir: signalOnly("vm.readDir()"),
  glob: signalOnly("vm.glob()"),
  rename: signalOnly("vm.rename()"),
  symlink: signalOnly("vm.symlink()"),
  readLink: signalOnly("vm.readLink()"),
  realPath: signalOnly("vm.realPath()"),
  link: signalOnly("vm.link()"),
  chmod: signalOnly("vm.chmod()"),
  chown: withFollow("vm.chown()"),
  truncate: signalOnly("vm.truncate()"),
  utime: withFollow("vm.utime()"),
  mknod: signalOnly("vm.mknod()"),
  statfs: signalOnly("vm.statfs()"),
  getXattr: withFollow("vm.getXattr()"),
  setXattr: withFollow("vm.setXattr()"),
  listXattr: withFollow("vm.listXattr()"),
  removeXattr: withFollow("vm.removeXattr()"),
};

/** Operations on files of the guest, by path. */
export abstract class FileOperations {
  /** The content of a file, of any size. */
  async readFile(path: GuestPath, options: ReadFileOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    CHECK.readFile(options);
    const { signal, ...range } = options;
    const target = { path: pathBytes(path, "readFile()"), text: textOf("readFile", path), signal };
    return await fetchFile(linkOf(this), target, range);
  }

  /** The content of a file as text; what is not UTF-8 becomes U+FFFD. */
  async readTextFile(path: GuestPath, options: ReadFileOptions = {}): Promise<string> {
    CHECK.readTextFile(options);
    return toText(await this.readFile(path, options));
  }

  /**
   * Replaces the content of a file, or creates it.
   *
   * @returns Bytes written.
   */
  async writeFile(
    path: GuestPath,
    data: FileData,
    options: WriteFileOptions = {},
  ): Promise<number> {
    CHECK.writeFile(options);
    if (
      typeof data !== "string" && !(data instanceof Uint8Array) &&
      !(data instanceof ReadableStream)
    ) {
      const got = data === null ? "null" : Array.isArray(data) ? "array" : typeof data;
      throw new TypeError(`The data of writeFile() must be text, bytes or a stream, got ${got}`);
    }
    const { signal, ...mode } = options;
    const target = {
      path: pathBytes(path, "writeFile()"),
      text: textOf("writeFile", path),
      signal,
    };
    return await sendFile(linkOf(this), target, data, mode);
  }

  /** What the guest knows about a file; follows symbolic links. */
  async stat(path: GuestPath, options: OperationOptions = {}): Promise<FileStat> {
    CHECK.stat(options);
    return fileStat(await byPath(this, "stat", path, { follow: true }, options));
  }

  /** What the guest knows about a file, or about the symbolic link itself. */
  async lstat(path: GuestPath, options: OperationOptions = {}): Promise<FileStat> {
    CHECK.lstat(options);
    return fileStat(await byPath(this, "stat", path, { follow: false }, options, "lstat"));
  }

  /** Whether there is something under this path; a symbolic link counts wherever it points. */
  async exists(path: GuestPath, options: OperationOptions = {}): Promise<boolean> {
    CHECK.exists(options);
    try {
      await byPath(this, "stat", path, { follow: false }, options, "exists");
      return true;
    } catch (error) {
      const { errno } = error as { errno?: string };
      if (errno === "ENOENT" || errno === "ENOTDIR") return false;
      throw error;
    }
  }

  /** The entries of a folder, sorted by name, without `.` and `..`. */
  async readDir(path: GuestPath, options: OperationOptions = {}): Promise<DirEntry[]> {
    CHECK.readDir(options);
    const bytes = pathBytes(path, "readDir()");
    const target = { path: bytes, text: textOf("readDir", path), signal: options.signal };
    const values = await collectValues(linkOf(this), "readDir", target, (stream) => ({
      path: bytes,
      stream,
    }));
    return values.map((value) => dirEntry(readShape(DIR_ENTRY, value, "entry of readDir")))
      .sort((a, b) => compareBytes(a.nameBytes, b.nameBytes));
  }

  /** Paths that match a pattern of glob(7), sorted; bytes that are not UTF-8 become U+FFFD. */
  async glob(pattern: GuestPath, options: OperationOptions = {}): Promise<string[]> {
    CHECK.glob(options);
    const bytes = pathBytes(pattern, "glob()");
    const target = { path: bytes, text: textOf("glob", pattern), signal: options.signal };
    const values = await collectValues(linkOf(this), "glob", target, (stream) => ({
      pattern: bytes,
      stream,
    }));
    return values.map((value) => toText(value as Uint8Array)).sort();
  }

  /** Creates a folder. */
  async mkdir(path: GuestPath, options: MkdirOptions = {}): Promise<void> {
    CHECK.mkdir(options);
    const { recursive = false, mode = 0o777 } = options;
    await byPath(this, "mkdir", path, { recursive, mode }, options);
  }

  /** Removes a file, a link or an empty folder; with `recursive` a folder with all it holds. */
  async remove(path: GuestPath, options: RemoveOptions = {}): Promise<void> {
    CHECK.remove(options);
    await byPath(this, "remove", path, { recursive: options.recursive ?? false }, options);
  }

  /** Renames a file or folder, replacing a file of the new name. */
  async rename(path: GuestPath, to: GuestPath, options: OperationOptions = {}): Promise<void> {
    CHECK.rename(options);
    await byPath(this, "rename", path, { to: pathBytes(to, "rename()") }, options);
  }

  /** Creates the symbolic link `path`, which points to `target`. */
  async symlink(target: GuestPath, path: GuestPath, options: OperationOptions = {}): Promise<void> {
    CHECK.symlink(options);
    await byPath(this, "symlink", path, { to: pathBytes(target, "symlink()") }, options);
  }

  /** Where a symbolic link points. */
  async readLink(path: GuestPath, options: OperationOptions = {}): Promise<string> {
    CHECK.readLink(options);
    return toText((await byPath(this, "readLink", path, {}, options)).to);
  }

  /** The absolute path of a file with all symbolic links resolved. */
  async realPath(path: GuestPath, options: OperationOptions = {}): Promise<string> {
    CHECK.realPath(options);
    return toText((await byPath(this, "realPath", path, {}, options)).to);
  }

  /** Creates `path` as another name of the file `target`. */
  async link(target: GuestPath, path: GuestPath, options: OperationOptions = {}): Promise<void> {
    CHECK.link(options);
    await byPath(this, "link", target, { to: pathBytes(path, "link()") }, options);
  }

  /** Sets permission bits. */
  async chmod(path: GuestPath, mode: number, options: OperationOptions = {}): Promise<void> {
    CHECK.chmod(options);
    await byPath(this, "chmod", path, { mode: modeBits(mode, "The mode of chmod()") }, options);
  }

  /** Sets owner and group; `-1` leaves one as it is. */
  async chown(
    path: GuestPath,
    uid: number,
    gid: number,
    options: FollowOptions = {},
  ): Promise<void> {
    CHECK.chown(options);
    const ids = { uid: idNumber(uid, "uid"), gid: idNumber(gid, "gid") };
    await byPath(this, "chown", path, { ...ids, follow: follow(options) }, options);
  }

  /** Cuts a file off, or extends it with zeros. */
  async truncate(path: GuestPath, size = 0, options: OperationOptions = {}): Promise<void> {
    CHECK.truncate(options);
    wholeNumber(size, "size of vm.truncate()");
    await byPath(this, "truncate", path, { size }, options);
  }

  /** Sets the times of last access and change: Dates, seconds, or nanoseconds as bigint. */
  async utime(
    path: GuestPath,
    atime: Date | number | bigint,
    mtime: Date | number | bigint,
    options: FollowOptions = {},
  ): Promise<void> {
    CHECK.utime(options);
    const times = {
      atimeNs: timeNs(atime, "atime of utime()"),
      mtimeNs: timeNs(mtime, "mtime of utime()"),
    };
    await byPath(this, "utime", path, { ...times, follow: follow(options) }, options);
  }

  /** Creates a special file; `mode` includes the type bits of mknod(2). */
  async mknod(
    path: GuestPath,
    mode: number,
    dev: number | bigint = 0,
    options: OperationOptions = {},
  ): Promise<void> {
    CHECK.mknod(options);
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o177777) {
      throw new RangeError(`The mode of mknod() must be type and permission bits, got ${mode}`);
    }
    await byPath(this, "mknod", path, { mode, dev: BigInt(dev) }, options);
  }

  /** Space and limits of the file system that holds a path. */
  async statfs(path: GuestPath, options: OperationOptions = {}): Promise<FileSystemStat> {
    CHECK.statfs(options);
    return fileSystemStat(await byPath(this, "statfs", path, {}, options));
  }

  /** The value of an extended attribute, such as `"user.note"`. */
  async getXattr(
    path: GuestPath,
    name: string,
    options: FollowOptions = {},
  ): Promise<Uint8Array> {
    CHECK.getXattr(options);
    const args = { name: pathBytes(name, "getXattr()"), follow: follow(options) };
    return (await byPath(this, "getXattr", path, args, options)).data;
  }

  /** Sets an extended attribute. */
  async setXattr(
    path: GuestPath,
    name: string,
    data: string | Uint8Array,
    options: FollowOptions = {},
  ): Promise<void> {
    CHECK.setXattr(options);
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    if (!(bytes instanceof Uint8Array)) {
      throw new TypeError(`The data of setXattr() must be text or bytes, got ${typeof data}`);
    }
    const args = { name: pathBytes(name, "setXattr()"), data: bytes, follow: follow(options) };
    await byPath(this, "setXattr", path, args, options);
  }

  /** Names of the extended attributes of a file. */
  async listXattr(path: GuestPath, options: FollowOptions = {}): Promise<string[]> {
    CHECK.listXattr(options);
    const reply = await byPath(this, "listXattr", path, { follow: follow(options) }, options);
    return reply.names.map(toText);
  }

  /** Removes an extended attribute. */
  async removeXattr(path: GuestPath, name: string, options: FollowOptions = {}): Promise<void> {
    CHECK.removeXattr(options);
    const args = { name: pathBytes(name, "removeXattr()"), follow: follow(options) };
    await byPath(this, "removeXattr", path, args, options);
  }
}

/** Operations whose request names a path. */
type PathOp = { [K in OpName]: OpRequest<K> extends { path: Uint8Array } ? K : never }[OpName];

async function byPath<K extends PathOp>(
  target: object,
  op: K,
  path: GuestPath,
  args: Omit<OpRequest<K>, "path">,
  { signal }: OperationOptions,
  call: string = op,
): Promise<OpReply<K>> {
  const request = { path: pathBytes(path, `${call}()`), ...args } as unknown as OpRequest<K>;
  return await ask(linkOf(target), op, request, { text: textOf(call, path), signal });
}

function textOf(call: string, path: GuestPath): string {
  return `${call}(${shownPath(path)})`;
}

function follow(options: FollowOptions): boolean {
  return options.followSymlinks ?? true;
}

function idNumber(value: number, name: string): number {
  if (Number.isInteger(value) && value >= -1 && value < 2 ** 32) return value;
  throw new RangeError(`The ${name} of chown() must be a whole number or -1, got ${String(value)}`);
}

/** Order of names as the guest's kernel would sort them: byte by byte. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] !== b[i]) return a[i]! - b[i]!;
  }
  return a.length - b.length;
}
