/** How a file is opened in the guest. */
export interface OpenOptions {
  read?: boolean;
  write?: boolean;
  /** Every write goes to the end. */
  append?: boolean;
  /** Create it if it is missing; needs `write` or `append`. */
  create?: boolean;
  /** Create it, and fail with EEXIST if it is there; needs `write` or `append`. */
  createNew?: boolean;
  /** Empty it; needs `write`. */
  truncate?: boolean;
  /**
   * Permissions of a file that is created, before the umask.
   *
   * @default {0o666}
   */
  mode?: number;
  /** Ends the wait early; the call rejects with its reason. */
  signal?: AbortSignal;
}

/** Flags of open(2), as in asm-generic/fcntl.h; x86_64 and aarch64 share all of these. */
const FLAGS = {
  O_WRONLY: 0o1,
  O_RDWR: 0o2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_NOCTTY: 0o400,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_CLOEXEC: 0o2000000,
} as const;

/** O_LARGEFILE is 0 where the kernel is 64-bit on x86_64, and differs on aarch64; the kernel sets it by itself. */
const ARCHES = ["x86_64", "aarch64"];

/**
 * The flags of open(2) for these options on a guest's architecture.
 *
 * @throws {TypeError} If the options contradict each other, or ask for no access at all.
 */
export function openFlags(options: OpenOptions, arch: string): number {
  const { read, write, append, create, createNew, truncate } = options;
  const at = `vm.openFile()`;
  if (!ARCHES.includes(arch)) {
    throw new TypeError(
      `Cannot open files on architecture "${arch}": known are ${ARCHES.join(", ")}`,
    );
  }
  if (!read && !write && !append) {
    throw new TypeError(
      `${at} needs at least one of the options read, write and append; ` +
        "beside them it takes create, createNew, truncate and mode",
    );
  }
  for (const [name, value] of Object.entries({ create, createNew })) {
    if (value && !write && !append) {
      throw new TypeError(`Option ${name} of ${at} needs write or append`);
    }
  }
  if (truncate && !write) throw new TypeError(`Option truncate of ${at} needs write`);
  if (truncate && append) {
    throw new TypeError(`Options truncate and append of ${at} contradict each other`);
  }
  const writes = write || append;
  let flags: number = FLAGS.O_CLOEXEC | FLAGS.O_NOCTTY;
  if (read && writes) flags |= FLAGS.O_RDWR;
  else if (writes) flags |= FLAGS.O_WRONLY;
  if (create || createNew) flags |= FLAGS.O_CREAT;
  if (createNew) flags |= FLAGS.O_EXCL;
  if (truncate) flags |= FLAGS.O_TRUNC;
  if (append) flags |= FLAGS.O_APPEND;
  return flags;
}

/**
 * Checks permission bits.
 *
 * @throws {RangeError} If the value is no whole number from 0 to 0o7777.
 */
export function modeBits(mode: number, name: string): number {
  if (typeof mode !== "number") {
    throw new TypeError(`${name} must be a number such as 0o644, got ${typeof mode}`);
  }
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
    throw new RangeError(`${name} must be permission bits from 0 to 0o7777, got ${mode}`);
  }
  return mode;
}
