import { closest } from "./closest.ts";
import { type Duration, seconds } from "./duration.ts";
import { type SignalLike, signalNumber } from "./signal.ts";
import { bytes, type Size } from "./size.ts";

/** The kind of value that an option takes, or a check of its own that throws. */
export type OptionKind =
  | "string"
  | "boolean"
  | "number"
  | "integer"
  | "duration"
  | "durationOrInfinity"
  | "size"
  | "signal"
  | "abortSignal"
  | "function"
  | "object"
  | "array"
  | "strings"
  | "stringRecord"
  | "bytes"
  | "path"
  | "any"
  | readonly (string | number | boolean)[]
  | ((value: unknown, name: string) => void);

/** Every key that an options object may have, with the kind of its value. */
export type OptionTable<T> = { readonly [K in keyof Required<T>]: OptionKind };

/**
 * Declares the options of a call. The type parameter makes the compiler ask for a row per key.
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { checkOptions, optionTable } from "./options.ts";
 *
 * const RUN = optionTable<{ timeout?: number }>()({ timeout: "duration" });
 * assertThrows(() => checkOptions("vm.run()", { timout: 3 }, RUN), TypeError, `did you mean "timeout"`);
 * ```
 */
export function optionTable<T>(): <const Table extends OptionTable<T>>(table: Table) => Table {
  return (table) => table;
}

/** Tables that were declared with {@linkcode registerOptions}, for the table test of misuses. */
export const OPTION_TABLES: Map<string, Record<string, OptionKind>> = new Map();

/** Declares the options of a call under the name that errors use, such as `"vm.run()"`. */
export function registerOptions<T>(
  call: string,
  table: OptionTable<T>,
): (options: unknown) => void {
  OPTION_TABLES.set(call, table as Record<string, OptionKind>);
  return (options) => checkOptions(call, options, table as Record<string, OptionKind>);
}

/**
 * Refuses unknown keys and wrong types by name. `undefined` is the same as a missing key.
 *
 * @param call What is called, as the author wrote it: `"vm.run()"`.
 * @throws {TypeError} If a key is unknown or a value has the wrong type.
 * @throws {RangeError} If a duration, size or number is outside the allowed values.
 */
export function checkOptions(
  call: string,
  options: unknown,
  table: Record<string, OptionKind>,
): void {
  if (options === undefined) return;
  if (options === null || typeof options !== "object" || Array.isArray(options)) {
    throw new TypeError(`The options of ${call} must be an object, got ${typeName(options)}`);
  }
  for (const [key, value] of Object.entries(options)) {
    const kind = Object.hasOwn(table, key) ? table[key] : undefined;
    if (kind === undefined) {
      const near = closest(key, Object.keys(table));
      const hint = near
        ? `: did you mean ${JSON.stringify(near)}?`
        : `: expected ${listed(Object.keys(table))}`;
      throw new TypeError(`Unknown option ${JSON.stringify(key)} for ${call}${hint}`);
    }
    if (value !== undefined) checkValue(kind, value, `${key} of ${call}`);
  }
}

/** Checks one value; `name` is how errors call it, such as `"timeout of vm.run()"`. */
export function checkValue(kind: OptionKind, value: unknown, name: string): void {
  if (typeof kind === "function") return kind(value, name);
  if (typeof kind !== "string") {
    if (!(kind as readonly unknown[]).includes(value)) {
      const allowed = kind.map((item) => JSON.stringify(item)).join(" or ");
      throw new TypeError(`Option ${name} must be ${allowed}, got ${shown(value)}`);
    }
    return;
  }
  const expected = EXPECTED[kind];
  if (expected && !expected.test(value)) {
    throw new TypeError(`Option ${name} must be ${expected.text}, got ${shown(value)}`);
  }
  if (kind === "duration" || kind === "durationOrInfinity") {
    seconds(value as Duration, { name, infinite: kind === "durationOrInfinity" });
  } else if (kind === "size") bytes(value as Size, name);
  else if (kind === "signal") signalNumber(value as SignalLike, `Option ${name}`);
  else if ((kind === "number" || kind === "integer") && Number.isNaN(value)) {
    throw new RangeError(`Option ${name} must be ${expected!.text}, got NaN`);
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;

const EXPECTED: Partial<Record<string, { text: string; test: (value: unknown) => boolean }>> = {
  string: { text: "a string", test: (v) => typeof v === "string" },
  boolean: { text: "true or false", test: (v) => typeof v === "boolean" },
  number: { text: "a number", test: (v) => typeof v === "number" },
  integer: {
    text: "a whole number",
    test: (v) => typeof v === "number" && (Number.isInteger(v) || Number.isNaN(v)),
  },
  duration: { text: 'a duration (seconds, or text such as "10s")', test: isDuration },
  durationOrInfinity: { text: 'a duration (seconds, or text such as "10s")', test: isDuration },
  size: { text: 'a size (bytes, or text such as "64M")', test: isDuration },
  abortSignal: { text: "an AbortSignal", test: (v) => v instanceof AbortSignal },
  function: { text: "a function", test: (v) => typeof v === "function" },
  object: { text: "an object", test: (v) => isObject(v) && !Array.isArray(v) },
  array: { text: "an array", test: Array.isArray },
  strings: {
    text: "an array of strings",
    test: (v) => Array.isArray(v) && v.every((item) => typeof item === "string"),
  },
  stringRecord: {
    text: "an object whose values are strings",
    test: (v) =>
      isObject(v) && !Array.isArray(v) && Object.values(v).every((i) => typeof i === "string"),
  },
  bytes: {
    text: "a string or bytes",
    test: (v) => typeof v === "string" || v instanceof Uint8Array,
  },
  path: {
    text: "a path (a string or bytes)",
    test: (v) => typeof v === "string" || v instanceof Uint8Array,
  },
};

function isDuration(value: unknown): boolean {
  return typeof value === "string" || typeof value === "number";
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

function shown(value: unknown): string {
  if (typeof value === "string") {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  }
  if (value === null || ["number", "boolean", "bigint", "undefined"].includes(typeof value)) {
    return String(value);
  }
  return typeName(value);
}

function listed(keys: string[]): string {
  return keys.length === 0 ? "no options" : keys.map((key) => JSON.stringify(key)).join(", ");
}
