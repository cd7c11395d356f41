/** Building and reading C structures, laid out as the compilers of x86_64 and aarch64 do. @module */
import { closest } from "../values/mod.ts";
import { toBytes, toText } from "../wire/mod.ts";

/** How a value lies in memory, little endian unless its name says otherwise. */
export interface CType<T, In = T> {
  readonly size: number;
  readonly align: number;
  /** How errors call it. */
  readonly label: string;
  read(view: DataView, at: number): T;
  write(view: DataView, at: number, value: In, name: string): void;
}

/** Types of numbers that go by their name. `ptr` is an address: leave it out, and name it in `nested` of a call. */
export type CTypeName =
  | "u8"
  | "i8"
  | "u16"
  | "i16"
  | "u32"
  | "i32"
  | "u64"
  | "i64"
  | "usize"
  | "ptr"
  | "u16be"
  | "u32be";

/** A field of a structure. */
// deno-lint-ignore no-explicit-any -- any type of C, whatever it reads and writes
export type CField = CTypeName | CType<any, any>;

type Wide = "u64" | "i64" | "usize" | "ptr";
/** What a field is read as. */
export type CRead<F> = F extends Wide ? bigint : F extends CTypeName ? number
: F extends CType<infer T, infer _> ? T
: never;
/** What a field can be written from. */
export type CWrite<F> = F extends CTypeName ? number | bigint
  : F extends CType<infer _, infer In> ? In
  : never;

/** A structure as it is read. */
export type StructValue<F extends Record<string, CField>> = { [K in keyof F]: CRead<F[K]> };
/** A structure as it is written: fields that are missing are zero. */
export type StructInput<F extends Record<string, CField>> = { [K in keyof F]?: CWrite<F[K]> };

/** A structure's layout. It can be a field of another one. */
export interface Struct<F extends Record<string, CField>>
  extends CType<StructValue<F>, StructInput<F>> {
  /** Byte at which each field begins. */
  readonly offsets: { readonly [K in keyof F]: number };
  /** Bytes of a structure with these values. */
  encode(value?: StructInput<F>): Uint8Array<ArrayBuffer>;
  /**
   * Reads a structure.
   *
   * @param offset Byte at which it begins.
   * @throws {RangeError} If the bytes end before it does.
   */
  decode(bytes: Uint8Array, offset?: number): StructValue<F>;
}

/** Options of {@linkcode struct}. */
export interface StructOptions {
  /** Whether fields follow each other without gaps, as by `__attribute__((packed))`. @default {false} */
  packed?: boolean;
  /** Name for errors. @default {"struct"} */
  name?: string;
}

const MASKS = { 1: 0xffn, 2: 0xffffn, 4: 0xffffffffn, 8: 0xffffffffffffffffn } as const;

function integer(
  label: string,
  size: 1 | 2 | 4 | 8,
  options: { signed?: boolean; big?: boolean; wide?: boolean } = {},
): CType<number | bigint, number | bigint> {
  const { signed = false, big = false, wide = false } = options;
  const bits = BigInt(size * 8);
  const max = MASKS[size];
  const min = -(1n << (bits - 1n));
  return {
    size,
    align: size,
    label,
    read(view, at) {
      let value = 0n;
      for (let i = 0; i < size; i++) {
        const byte = view.getUint8(big ? at + i : at + size - 1 - i);
        value = (value << 8n) | BigInt(byte);
      }
      if (signed) value = BigInt.asIntN(Number(bits), value);
      return wide ? value : Number(value);
    },
    write(view, at, value, name) {
      const number = wholeNumber(value, name, label);
      // Either sign is taken, since C code writes -1 for all ones.
      if (number < min || number > max) {
        throw new RangeError(`${name} must fit into ${label}, got ${value}`);
      }
      let rest = number & max;
      for (let i = 0; i < size; i++) {
        view.setUint8(big ? at + size - 1 - i : at + i, Number(rest & 0xffn));
        rest >>= 8n;
      }
    },
  };
}

function wholeNumber(value: unknown, name: string, label: string): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  const got = typeof value === "number" ? String(value) : value === null ? "null" : typeof value;
  throw new TypeError(`${name} must be a whole number for ${label}, got ${got}`);
}

const NUMBERS: Record<CTypeName, CType<number | bigint, number | bigint>> = {
  u8: integer("u8", 1),
  i8: integer("i8", 1, { signed: true }),
  u16: integer("u16", 2),
  i16: integer("i16", 2, { signed: true }),
  u32: integer("u32", 4),
  i32: integer("i32", 4, { signed: true }),
  u64: integer("u64", 8, { wide: true }),
  i64: integer("i64", 8, { wide: true, signed: true }),
  usize: integer("usize", 8, { wide: true }),
  ptr: integer("ptr", 8, { wide: true }),
  u16be: integer("u16be", 2, { big: true }),
  u32be: integer("u32be", 4, { big: true }),
};

function typeOf(field: CField, name: string): CType<unknown, unknown> {
  if (typeof field === "string" && Object.hasOwn(NUMBERS, field)) {
    return NUMBERS[field] as CType<unknown, unknown>;
  }
  if (typeof field === "object" && field !== null && "align" in field) return field;
  const near = typeof field === "string" ? closest(field, Object.keys(NUMBERS)) : undefined;
  throw new TypeError(
    `${name} has no type ${JSON.stringify(field)}${near ? `: did you mean "${near}"?` : ""}`,
  );
}

/** An array of a fixed length; missing elements are zero. */
export function array<F extends CField>(
  field: F,
  length: number,
): CType<CRead<F>[], readonly CWrite<F>[]> {
  const type = typeOf(field, "array()");
  checkLength(length, "array()");
  const label = `${type.label}[${length}]`;
  return {
    size: type.size * length,
    align: type.align,
    label,
    read: (view, at) =>
      Array.from({ length }, (_, i) => type.read(view, at + i * type.size) as CRead<F>),
    write(view, at, value, name) {
      if (!Array.isArray(value)) throw new TypeError(`${name} must be an array for ${label}`);
      if (value.length > length) {
        throw new RangeError(`${name} must have at most ${length} elements, got ${value.length}`);
      }
      value.forEach((item, i) => type.write(view, at + i * type.size, item, `${name}[${i}]`));
    },
  };
}

/** Bytes of a fixed number; missing ones are zero. */
export function blob(length: number): CType<Uint8Array, Uint8Array> {
  checkLength(length, "blob()");
  return {
    size: length,
    align: 1,
    label: `u8[${length}]`,
    read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, length).slice(),
    write(view, at, value, name) {
      if (!(value instanceof Uint8Array)) throw new TypeError(`${name} must be bytes`);
      if (value.length > length) {
        throw new RangeError(`${name} must have at most ${length} bytes, got ${value.length}`);
      }
      new Uint8Array(view.buffer, view.byteOffset + at, length).set(value);
    },
  };
}

/** Text in a field of a fixed number of bytes, up to its first NUL. */
export function text(length: number): CType<string, string> {
  const bytes = blob(length);
  return {
    ...bytes,
    label: `char[${length}]`,
    read(view, at) {
      const all = bytes.read(view, at);
      const end = all.indexOf(0);
      return toText(end < 0 ? all : all.subarray(0, end));
    },
    write(view, at, value, name) {
      if (typeof value !== "string") {
        throw new TypeError(`${name} must be text, got ${typeof value}`);
      }
      bytes.write(view, at, toBytes(value), name);
    },
  };
}

/** Text as C functions take it: with a NUL at its end. */
export function cstr(value: string): Uint8Array<ArrayBuffer> {
  if (typeof value !== "string") throw new TypeError(`cstr() takes text, got ${typeof value}`);
  if (value.includes("\0")) throw new TypeError("cstr() takes text without NUL");
  const bytes = toBytes(value);
  const ended = new Uint8Array(bytes.length + 1);
  ended.set(bytes);
  return ended;
}

/**
 * Declares a structure: fields in their order, each with the name of a number's type, or {@linkcode array},
 * {@linkcode blob}, {@linkcode text} or another structure.
 *
 * @example Two numbers with a gap
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { struct } from "./struct.ts";
 *
 * const pollfd = struct({ fd: "i32", events: "i16", revents: "i16" });
 * assertEquals(pollfd.size, 8);
 * assertEquals(pollfd.decode(pollfd.encode({ fd: 3, events: 1 })), { fd: 3, events: 1, revents: 0 });
 * ```
 */
export function struct<const F extends Record<string, CField>>(
  fields: F,
  options: StructOptions = {},
): Struct<F> {
  const { packed = false, name = "struct" } = options;
  const rows: { key: string; type: CType<unknown, unknown>; at: number }[] = [];
  let end = 0;
  let align = 1;
  for (const [key, field] of Object.entries(fields)) {
    const type = typeOf(field, `${name}.${key}`);
    const own = packed ? 1 : type.align;
    const at = roundUp(end, own);
    rows.push({ key, type, at });
    end = at + type.size;
    align = Math.max(align, own);
  }
  const size = roundUp(end, align);
  const keys = rows.map(({ key }) => key);
  const layout: Struct<F> = {
    size,
    align,
    label: name,
    offsets: Object.fromEntries(rows.map(({ key, at }) => [key, at])) as Struct<F>["offsets"],
    read: (view, at) =>
      Object.fromEntries(
        rows.map(({ key, type, at: inner }) => [key, type.read(view, at + inner)]),
      ) as StructValue<F>,
    write(view, at, value, where) {
      if (typeof value !== "object" || value === null) {
        throw new TypeError(
          `${where} must be an object, got ${value === null ? "null" : typeof value}`,
        );
      }
      for (const key of Object.keys(value)) {
        if (keys.includes(key)) continue;
        const near = closest(key, keys);
        throw new TypeError(
          `${where} has no field "${key}": ${
            near ? `did you mean "${near}"?` : `it has ${keys.join(", ")}`
          }`,
        );
      }
      for (const { key, type, at: inner } of rows) {
        const item = (value as Record<string, unknown>)[key];
        if (item !== undefined) type.write(view, at + inner, item, `${where}.${key}`);
      }
    },
    encode(value = {}) {
      const bytes = new Uint8Array(size);
      layout.write(new DataView(bytes.buffer), 0, value, name);
      return bytes;
    },
    decode(bytes, offset = 0) {
      if (!(bytes instanceof Uint8Array)) {
        throw new TypeError(`decode() takes bytes, got ${bytes === null ? "null" : typeof bytes}`);
      }
      if (!Number.isInteger(offset) || offset < 0 || offset + size > bytes.length) {
        throw new RangeError(
          `Cannot read ${name} (${size} bytes) at ${offset} of ${bytes.length} bytes`,
        );
      }
      return layout.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), offset);
    },
  };
  return layout;
}

function checkLength(length: number, call: string): void {
  if (Number.isInteger(length) && length >= 0) return;
  throw new RangeError(`${call} takes a whole number as length, got ${length}`);
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
