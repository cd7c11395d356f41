import {
  AT_FDCWD,
  closeFd,
  fchmod,
  HostFileError,
  mkdirAt,
  O,
  openAt,
  readFd,
  readLinkAt,
  readNames,
  statAt,
  symlinkAt,
  unlinkAt,
  writeFd,
} from "./_libc.ts";
import { joinBytes } from "./paths.ts";
import { type FileType, fileType } from "./stat.ts";

/** An entry of a tree on the host. */
export interface HostEntry {
  path: Uint8Array;
  /** Path below the top; empty for the top itself. */
  relative: Uint8Array;
  type: FileType;
  mode: number;
}

const EMPTY = new Uint8Array(0);
const CHUNK = 128 * 1024;

/** Walks a tree of the host: folders before what they hold, the rest in the order of names. */
export async function walkHost(
  top: Uint8Array,
  visit: (entry: HostEntry) => Promise<void>,
): Promise<void> {
  const walk = async (path: Uint8Array, relative: Uint8Array, follow: boolean): Promise<void> => {
    const { type: number, mode } = statAt(AT_FDCWD, path, { follow });
    const type = fileType(number);
    await visit({ path, relative, type, mode });
    if (type !== "directory") return;
    const fd = openAt(AT_FDCWD, path, O.RDONLY | O.DIRECTORY);
    let names: Uint8Array[];
    try {
      names = readNames(fd, path);
    } finally {
      closeFd(fd);
    }
    for (const name of names.sort(compare)) {
      const inner = relative.length === 0 ? name : joinBytes(relative, name);
      await walk(joinBytes(path, name), inner, false);
    }
  };
  await walk(top, EMPTY, true);
}

/** Where a symbolic link of the host points. */
export function hostLink(path: Uint8Array): Uint8Array {
  return readLinkAt(AT_FDCWD, path);
}

/**
 * The content of a file of the host, read as it is asked for. Each piece is only valid until the next is asked for: a
 * buffer per piece would be garbage as large as the file.
 */
export function hostFile(path: Uint8Array): ReadableStream<Uint8Array> {
  let fd = -1;
  const buffer = new Uint8Array(CHUNK);
  const close = () => {
    if (fd >= 0) closeFd(fd);
    fd = -1;
  };
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      try {
        if (fd < 0) fd = openAt(AT_FDCWD, path, O.RDONLY);
        const size = readFd(fd, buffer, path);
        if (size > 0) return controller.enqueue(buffer.subarray(0, size));
        close();
        controller.close();
      } catch (error) {
        close();
        throw error;
      }
    },
    cancel: close,
  }, { highWaterMark: 0 });
}

/** A file that is being written. */
export interface HostSink extends AsyncDisposable {
  write(data: Uint8Array): Promise<void>;
}

/**
 * Where a tree of a guest is written to. Every path is walked from the top by open folders and without following a link,
 * so that links which the guest has planted lead nowhere.
 */
export class HostTarget implements AsyncDisposable {
  /** The top itself, or the folder that holds it when the top is a file. */
  readonly #top: number;
  readonly #name: Uint8Array;

  private constructor(top: number, name: Uint8Array) {
    this.#top = top;
    this.#name = name;
  }

  /** Opens the target, and creates it when it is a folder that is missing. */
  static open(path: Uint8Array, isFolder: boolean): HostTarget {
    if (isFolder) {
      ignoring("EEXIST", () => mkdirAt(AT_FDCWD, path, 0o700));
      return new HostTarget(openAt(AT_FDCWD, path, O.RDONLY | O.DIRECTORY), EMPTY);
    }
    const slash = path.lastIndexOf(0x2f);
    const folder = slash < 0 ? new Uint8Array([0x2e]) : path.subarray(0, Math.max(1, slash));
    const top = openAt(AT_FDCWD, folder, O.RDONLY | O.DIRECTORY);
    return new HostTarget(top, path.subarray(slash + 1));
  }

  /** Creates a folder that nobody else can look into until it gets its mode. */
  mkdir(relative: Uint8Array): void {
    this.#inFolder(relative, (folder, name) => {
      ignoring("EEXIST", () => mkdirAt(folder, name, 0o700));
      // What is there under this name may be a link instead.
      const fd = openAt(folder, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
      try {
        fchmod(fd, 0o700, relative);
      } finally {
        closeFd(fd);
      }
    });
  }

  /** Creates a symbolic link, in place of a file or link that is there. */
  symlink(relative: Uint8Array, to: Uint8Array): void {
    this.#inFolder(relative, (folder, name) => {
      ignoring("ENOENT", () => unlinkAt(folder, name));
      symlinkAt(to, folder, name);
    });
  }

  /** Creates a file, or empties one that is there. */
  create(relative: Uint8Array, mode: number): HostSink {
    const path = relative.length === 0 ? this.#name : relative;
    const flags = O.WRONLY | O.CREAT | O.TRUNC | O.NONBLOCK |
      // The author may name a link; the guest may not.
      (relative.length === 0 ? 0 : O.NOFOLLOW);
    const fd = this.#inFolder(path, (folder, name) => openAt(folder, name, flags, 0o600));
    return {
      write: async (data) => await writeFd(fd, data, path),
      [Symbol.asyncDispose]: () => {
        try {
          fchmod(fd, mode, path);
        } finally {
          closeFd(fd);
        }
        return Promise.resolve();
      },
    };
  }

  /** Sets the mode of a folder. */
  chmod(relative: Uint8Array, mode: number): void {
    if (relative.length === 0) return fchmod(this.#top, mode, relative);
    this.#inFolder(relative, (folder, name) => {
      const fd = openAt(folder, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW);
      try {
        fchmod(fd, mode, relative);
      } finally {
        closeFd(fd);
      }
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    closeFd(this.#top);
    return Promise.resolve();
  }

  #inFolder<T>(relative: Uint8Array, fn: (folder: number, name: Uint8Array) => T): T {
    let folder = this.#top;
    let rest = relative;
    try {
      for (let slash = rest.indexOf(0x2f); slash >= 0; slash = rest.indexOf(0x2f)) {
        const flags = O.RDONLY | O.DIRECTORY | O.NOFOLLOW;
        const next = openAt(folder, rest.subarray(0, slash), flags);
        if (folder !== this.#top) closeFd(folder);
        folder = next;
        rest = rest.subarray(slash + 1);
      }
      return fn(folder, rest);
    } finally {
      if (folder !== this.#top) closeFd(folder);
    }
  }
}

function ignoring(errno: string, fn: () => void): void {
  try {
    fn();
  } catch (error) {
    if (!(error instanceof HostFileError) || error.errno !== errno) throw error;
  }
}

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] !== b[i]) return a[i]! - b[i]!;
  }
  return a.length - b.length;
}
