import { closest, ERRNO_NAMES, errnoName } from "../values/mod.ts";
import { AARCH64_CALLS, IOCTLS, X86_64_CALLS } from "./_sys_tables.ts";

/** Architectures whose system calls are known. */
export type Arch = "x86_64" | "aarch64";
/** Name of a system call on at least one architecture. */
export type SyscallName = keyof typeof X86_64_CALLS | keyof typeof AARCH64_CALLS;
/** Name of an ioctl that {@linkcode sys} knows. */
export type IoctlName = keyof typeof IOCTLS;

const CALLS: Record<Arch, Readonly<Record<string, number>>> = {
  x86_64: X86_64_CALLS,
  aarch64: AARCH64_CALLS,
};
const NAMES = new Map<string, Map<number, string>>(
  Object.entries(CALLS).map(([arch, calls]) => [
    arch,
    new Map(Object.entries(calls).map(([name, nr]) => [nr, name])),
  ]),
);
const ERRNOS: Readonly<Record<string, number>> = Object.fromEntries(
  Object.entries(ERRNO_NAMES).map(([number, name]) => [name, Number(number)]),
);

function callTable(arch: string): Readonly<Record<string, number>> {
  if (Object.hasOwn(CALLS, arch)) return CALLS[arch as Arch];
  throw new RangeError(
    `Unknown architecture ${JSON.stringify(arch)}: known are ${Object.keys(CALLS).join(", ")}`,
  );
}

/**
 * The number of a system call.
 *
 * @throws {RangeError} If the architecture has no such call.
 */
function nr(name: string, arch: Arch | (string & Record<never, never>) = "x86_64"): number {
  const table = callTable(arch);
  if (Object.hasOwn(table, name)) return table[name]!;
  const near = closest(name, Object.keys(table));
  const elsewhere = Object.keys(CALLS).filter((other) => Object.hasOwn(CALLS[other as Arch], name));
  const hint = elsewhere.length > 0
    ? `: it exists on ${elsewhere.join(", ")} only`
    : near
    ? `: did you mean ${JSON.stringify(near)}?`
    : "";
  throw new RangeError(`${arch} has no system call ${JSON.stringify(name)}${hint}`);
}

/** Bits of an ioctl number, as in asm-generic/ioctl.h, which x86_64 and aarch64 share. */
const IOC = { NR: 0, TYPE: 8, SIZE: 16, DIR: 30, WRITE: 1, READ: 2, SIZE_LIMIT: 2 ** 14 };

function encode(dir: number, type: string | number, number: number, size: number): number {
  const letter = typeof type === "string" ? type.charCodeAt(0) : type;
  if (typeof type === "string" && type.length !== 1) {
    throw new RangeError(
      `The type of an ioctl is one character or a number, got ${JSON.stringify(type)}`,
    );
  }
  const parts = [["type", letter, 256], ["number", number, 256], ["size", size, IOC.SIZE_LIMIT]];
  for (const [name, value, limit] of parts as [string, number, number][]) {
    if (Number.isInteger(value) && value >= 0 && value < limit) continue;
    throw new RangeError(`The ${name} of an ioctl must be from 0 to ${limit - 1}, got ${value}`);
  }
  return ((dir << IOC.DIR) | (size << IOC.SIZE) | (letter << IOC.TYPE) | number) >>> 0;
}

/** What an ioctl number says about its argument. */
export interface IoctlParts {
  /** The argument's direction, seen from the caller. */
  dir: "none" | "write" | "read" | "readWrite";
  type: number;
  nr: number;
  size: number;
}

/** Numbers and names of the guest's kernel: system calls, errnos, ioctls. */
export const sys = {
  /** Numbers of system calls by name, per architecture. */
  calls: { x86_64: X86_64_CALLS, aarch64: AARCH64_CALLS },
  nr,
  /** The name of a system call, or `undefined`. */
  callName(number: number, arch: Arch | (string & Record<never, never>) = "x86_64") {
    callTable(arch);
    return NAMES.get(arch)!.get(number);
  },
  /** Numbers of errnos by name; both architectures share them. */
  errno: ERRNOS,
  errnoName,
  /** Numbers of ioctls by name; both architectures share them. */
  ioctls: IOCTLS,
  /** The number of an ioctl without an argument, as the macro `_IO`. */
  io: (type: string | number, number: number): number => encode(0, type, number, 0),
  /** The number of an ioctl that the guest fills in, as the macro `_IOR`; `size` is that of its argument. */
  ior: (type: string | number, number: number, size: number): number =>
    encode(IOC.READ, type, number, size),
  /** The number of an ioctl that the guest reads, as the macro `_IOW`. */
  iow: (type: string | number, number: number, size: number): number =>
    encode(IOC.WRITE, type, number, size),
  /** The number of an ioctl whose argument goes both ways, as the macro `_IOWR`. */
  iowr: (type: string | number, number: number, size: number): number =>
    encode(IOC.READ | IOC.WRITE, type, number, size),
  /** Takes an ioctl number apart. */
  ioctlParts(command: number): IoctlParts {
    return {
      dir: (["none", "write", "read", "readWrite"] as const)[(command >>> IOC.DIR) & 3]!,
      type: (command >>> IOC.TYPE) & 0xff,
      nr: command & 0xff,
      size: (command >>> IOC.SIZE) & (IOC.SIZE_LIMIT - 1),
    };
  },
} as const;
