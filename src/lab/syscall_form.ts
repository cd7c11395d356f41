/** Reading and checking what authors pass to `syscall()`, before anything is sent. @module */
import { closest, type Duration, registerOptions } from "../values/mod.ts";
import { LIMITS } from "../wire/mod.ts";
import { File } from "./file.ts";
import { sys } from "./sys.ts";

/** An argument of a system call: a number, an open file for its descriptor, or bytes for their address. */
export type SyscallArg = number | bigint | File | Uint8Array;

/** A buffer's address that is written into another buffer. */
export interface NestedPointer {
  /** Index of the buffer that is written into. */
  parent: number;
  /** Index of the buffer whose address is written. */
  child: number;
  /** Byte of the parent at which the 8 bytes of the address begin. */
  offset: number;
}

/** A system call with buffers, as a table. */
export interface SyscallTable {
  /** Up to six arguments; slots that `ptrs` names are 0 here. */
  args?: readonly (number | bigint | File)[];
  /** Buffers: bytes that are copied in, or the size of one that is zeroed. */
  bufs?: readonly (Uint8Array | number)[];
  /** `ptrs[i]` is the argument, from 0, that becomes the address of `bufs[i]`; buffers beyond its length are nested. */
  ptrs?: readonly number[];
  /** Addresses inside of buffers. */
  nested?: readonly NestedPointer[];
  /** Longest wait for the call's return; 60 s (stretched by the accelerator's factor) when missing. */
  timeout?: Duration;
  /** Ends the call early; it rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** A checked call in the form that the wire carries. */
export interface CallForm {
  nr: number;
  /** Name or number, as errors and reports show it. */
  name: string;
  args: bigint[];
  bufs: (Uint8Array | number)[];
  ptrs: number[];
  nested: number[][];
  files: number[][];
  timeout: Duration | undefined;
  signal: AbortSignal | undefined;
}

/** Who makes the call. */
export interface Caller {
  readonly vm: string;
  readonly principal: number;
  readonly label: string;
  readonly arch: string;
}

const MAX_ARGS = 6;
const POINTER_SIZE = 8;
const MAX_BUFS = 64;
const TABLE_KEYS = ["args", "bufs", "ptrs", "nested", "timeout", "signal"];

const checkTable = registerOptions<SyscallTable>("vm.syscall()", {
  args: "array",
  bufs: "array",
  ptrs: "array",
  nested: "array",
  timeout: "durationOrInfinity",
  signal: "abortSignal",
});

/**
 * Reads either form of a call: `(nr, ...args)` or `(nr, { args, bufs, ptrs, nested })`.
 *
 * @throws {TypeError} If something has the wrong type.
 * @throws {RangeError} If a number or index is out of range, or patches overlap.
 */
export function readCall(
  caller: Caller,
  call: number | string,
  rest: readonly unknown[],
): CallForm {
  const { nr, name } = readNumber(caller, call);
  const first = rest[0];
  const form: CallForm = {
    nr,
    name,
    args: [],
    bufs: [],
    ptrs: [],
    nested: [],
    files: [],
    timeout: undefined,
    signal: undefined,
  };
  if (isTable(first)) {
    if (rest.length > 1) {
      throw new TypeError(`syscall("${name}", { … }) takes nothing after the table`);
    }
    readTable(caller, form, first);
  } else {
    readPositional(caller, form, rest);
  }
  const total = form.bufs.reduce<number>(
    (sum, b) => sum + (typeof b === "number" ? b : b.length),
    0,
  );
  if (total > LIMITS.MAX_SYSCALL_BYTES) {
    throw new RangeError(
      `The buffers of syscall("${name}") have ${total} bytes: at most ${LIMITS.MAX_SYSCALL_BYTES} fit`,
    );
  }
  return form;
}

function readNumber(caller: Caller, call: number | string): { nr: number; name: string } {
  if (typeof call === "string") return { nr: sys.nr(call, caller.arch), name: call };
  if (typeof call !== "number") {
    throw new TypeError(`syscall() takes a name or number first, got ${kindOf(call)}`);
  }
  if (!Number.isInteger(call) || call < 0 || call > 0x7fffffff) {
    throw new RangeError(`syscall() takes a whole number from 0, got ${call}`);
  }
  return { nr: call, name: sys.callName(call, caller.arch) ?? String(call) };
}

function isTable(value: unknown): value is SyscallTable {
  return typeof value === "object" && value !== null && !(value instanceof File) &&
    !(value instanceof Uint8Array) && Object.getPrototypeOf(value) === Object.prototype;
}

function readPositional(caller: Caller, form: CallForm, rest: readonly unknown[]): void {
  tooMany(form, rest.length);
  for (const [slot, value] of rest.entries()) {
    if (!(value instanceof Uint8Array)) {
      readArg(caller, form, slot, value);
      continue;
    }
    form.args[slot] = 0n;
    form.ptrs.push(slot);
    form.bufs.push(value);
  }
}

function readTable(caller: Caller, form: CallForm, table: SyscallTable): void {
  for (const key of Object.keys(table)) {
    // A slip such as `buf` would otherwise read as "unknown option" of a call that has none.
    if (TABLE_KEYS.includes(key)) continue;
    const near = closest(key, TABLE_KEYS);
    throw new TypeError(
      `Unknown key "${key}" in the table of syscall("${form.name}")` +
        (near ? `: did you mean "${near}"?` : `: it takes ${TABLE_KEYS.join(", ")}`),
    );
  }
  checkTable(table);
  const { args = [], bufs = [], ptrs = [], nested = [] } = table;
  tooMany(form, args.length);
  for (const [slot, value] of args.entries()) readArg(caller, form, slot, value);
  readBuffers(form, bufs);
  readPointers(form, args, ptrs);
  readNested(form, nested);
  form.timeout = table.timeout;
  form.signal = table.signal;
}

function tooMany({ name }: CallForm, count: number): void {
  if (count <= MAX_ARGS) return;
  throw new RangeError(`syscall("${name}") takes at most ${MAX_ARGS} arguments, got ${count}`);
}

function readArg(caller: Caller, form: CallForm, slot: number, value: unknown): void {
  const at = `Argument ${slot} of syscall("${form.name}")`;
  if (value instanceof File) {
    if (value.closed) throw new TypeError(`${at} is a file that is closed: "${value.path}"`);
    if (!value.belongsTo(caller)) {
      throw new TypeError(
        `${at} is a file of ${value.owner}, and its descriptor means nothing to ${caller.label}`,
      );
    }
    form.args[slot] = 0n;
    form.files.push([slot, value.id]);
    return;
  }
  if (typeof value === "bigint") {
    if (value < -(2n ** 63n) || value >= 2n ** 64n) {
      throw new RangeError(`${at} does not fit into 64 bits: ${value}`);
    }
    form.args[slot] = value;
    return;
  }
  if (typeof value !== "number") {
    const hint = typeof value === "string"
      ? ": encode text by cstr()"
      : value instanceof Uint8Array
      ? ": name buffers in bufs, and their slots in ptrs"
      : "";
    throw new TypeError(
      `${at} must be a number, a bigint, a File or bytes, got ${kindOf(value)}${hint}`,
    );
  }
  if (!Number.isSafeInteger(value)) {
    throw new RangeError(`${at} must be a whole number below 2^53, or a bigint, got ${value}`);
  }
  form.args[slot] = BigInt(value);
}

function readBuffers(form: CallForm, bufs: readonly unknown[]): void {
  if (bufs.length > MAX_BUFS) {
    throw new RangeError(
      `syscall("${form.name}") takes at most ${MAX_BUFS} buffers, got ${bufs.length}`,
    );
  }
  for (const [i, buffer] of bufs.entries()) {
    const at = `bufs[${i}] of syscall("${form.name}")`;
    if (buffer instanceof Uint8Array) {
      form.bufs.push(buffer);
    } else if (typeof buffer !== "number") {
      throw new TypeError(`${at} must be bytes or a size, got ${kindOf(buffer)}`);
    } else if (!Number.isSafeInteger(buffer) || buffer < 0) {
      throw new RangeError(`${at} must be a whole number of bytes, got ${buffer}`);
    } else {
      form.bufs.push(buffer);
    }
  }
}

function readPointers(form: CallForm, args: readonly unknown[], ptrs: readonly unknown[]): void {
  const at = (i: number) => `ptrs[${i}] of syscall("${form.name}")`;
  if (ptrs.length > form.bufs.length) {
    throw new RangeError(
      `syscall("${form.name}") has ${ptrs.length} ptrs for ${form.bufs.length} bufs`,
    );
  }
  for (const [i, slot] of ptrs.entries()) {
    if (typeof slot !== "number") {
      throw new TypeError(`${at(i)} must be a number, got ${kindOf(slot)}`);
    }
    if (!Number.isInteger(slot) || slot < -1 || slot >= MAX_ARGS) {
      throw new RangeError(`${at(i)} must be an argument from 0 to ${MAX_ARGS - 1}, got ${slot}`);
    }
    form.ptrs.push(slot);
    if (slot === -1) continue; // Nested only.
    if (ptrs.indexOf(slot) !== i) {
      throw new RangeError(
        `${at(i)} names argument ${slot}, which ptrs[${ptrs.indexOf(slot)}] names already`,
      );
    }
    const given = args[slot];
    if (given !== undefined && given !== 0 && given !== 0n) {
      throw new TypeError(
        `${at(i)} names argument ${slot}, which has a value of its own: leave 0 there`,
      );
    }
    while (form.args.length <= slot) form.args.push(0n);
  }
  while (form.ptrs.length < form.bufs.length) form.ptrs.push(-1);
}

function readNested(form: CallForm, nested: readonly unknown[]): void {
  const sizes = form.bufs.map((buffer) => typeof buffer === "number" ? buffer : buffer.length);
  const patches: { parent: number; offset: number }[] = [];
  const reached = new Set<number>(form.ptrs.flatMap((slot, i) => slot >= 0 ? [i] : []));
  for (const [i, entry] of nested.entries()) {
    const at = `nested[${i}] of syscall("${form.name}")`;
    if (typeof entry !== "object" || entry === null || Array.isArray(entry)) {
      throw new TypeError(`${at} must be { parent, child, offset }, got ${kindOf(entry)}`);
    }
    const keys = ["parent", "child", "offset"] as const;
    for (const key of Object.keys(entry)) {
      if ((keys as readonly string[]).includes(key)) continue;
      throw new TypeError(`${at} has an unknown key "${key}": it takes ${keys.join(", ")}`);
    }
    const { parent, child, offset } = entry as NestedPointer;
    for (
      const [key, value, limit] of [
        ["parent", parent, sizes.length],
        ["child", child, sizes.length],
        ["offset", offset, Infinity],
      ] as const
    ) {
      if (typeof value !== "number") {
        throw new TypeError(`${key} of ${at} must be a number, got ${kindOf(value)}`);
      }
      if (Number.isInteger(value) && value >= 0 && value < limit) continue;
      throw new RangeError(
        limit === Infinity
          ? `${key} of ${at} must be a whole number from 0, got ${value}`
          : `${key} of ${at} must be one of the ${limit} bufs, from 0, got ${value}`,
      );
    }
    if (offset + POINTER_SIZE > sizes[parent]!) {
      throw new RangeError(
        `${at} writes 8 bytes at ${offset} into bufs[${parent}], which has ${sizes[parent]}`,
      );
    }
    const clash = patches.findIndex((p) =>
      p.parent === parent && Math.abs(p.offset - offset) < POINTER_SIZE
    );
    if (clash >= 0) throw new RangeError(`${at} overlaps nested[${clash}] in bufs[${parent}]`);
    patches.push({ parent, offset });
    reached.add(child);
    form.nested.push([parent, child, offset]);
  }
  const lost = form.bufs.findIndex((_, i) => !reached.has(i));
  if (lost >= 0) {
    throw new RangeError(`bufs[${lost}] of syscall("${form.name}") is in neither ptrs nor nested`);
  }
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : value instanceof Uint8Array ? "bytes" : typeof value;
}
