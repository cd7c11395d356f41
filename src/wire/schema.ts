/** Types of values on the wire, each with its check at run time. */

/** A value on the wire: how TypeScript sees it, and how it is checked. */
export interface Field<T> {
  /** Checks a decoded value and returns it in the form that TypeScript code uses. */
  read(value: unknown, at: string): T;
  /** Whether the key may be missing. */
  readonly optional?: boolean;
  /** How documentation and generated code call the type. */
  readonly type: string;
  /** Keys of the maps inside, for the generated key table. */
  readonly keys?: readonly string[];
}

/** A key that may be missing. */
export interface OptionalField<T> extends Field<T | undefined> {
  readonly optional: true;
}

/** The fields of a map. */
export type Shape = Record<string, Field<unknown>>;

type RequiredKeys<S extends Shape> = {
  [K in keyof S]: S[K] extends OptionalField<unknown> ? never : K;
}[keyof S];

type Read<F> = F extends Field<infer T> ? T : never;

/** The TypeScript type of a map with these fields. */
export type ValueOf<S extends Shape> =
  & { [K in RequiredKeys<S>]: Read<S[K]> }
  & { [K in Exclude<keyof S, RequiredKeys<S>>]?: Read<S[K]> };

/** What came over the wire is not what the schema says. */
export class WireFormatError extends Error {
  override readonly name = "WireFormatError";
}

function mismatch(at: string, expected: string, value: unknown): never {
  const got = value === null
    ? "nil"
    : value instanceof Uint8Array
    ? `${value.length} bytes`
    : Array.isArray(value)
    ? "a list"
    : typeof value === "object"
    ? "a map"
    : `${typeof value} ${String(value).slice(0, 40)}`;
  throw new WireFormatError(`${at}: expected ${expected}, got ${got}`);
}

/** An integer that a JavaScript number holds exactly. */
export const int: Field<number> = {
  type: "int",
  read(value, at) {
    if (typeof value === "number" && Number.isSafeInteger(value)) return value;
    if (typeof value === "bigint") {
      const number = Number(value);
      if (Number.isSafeInteger(number)) return number;
    }
    return mismatch(at, "an integer below 2^53", value);
  },
};

/** A 64-bit integer of either sign, as a bigint. */
export const big: Field<bigint> = {
  type: "int",
  read(value, at) {
    if (typeof value === "bigint") return value;
    if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
    return mismatch(at, "an integer", value);
  },
};

/** True or false. */
export const bool: Field<boolean> = {
  type: "bool",
  read: (value, at) => typeof value === "boolean" ? value : mismatch(at, "a boolean", value),
};

/** Text that belljar itself makes, such as codes; never names or output of the guest. */
export const str: Field<string> = {
  type: "str",
  read: (value, at) => typeof value === "string" ? value : mismatch(at, "text", value),
};

/** Bytes: paths, names, arguments, file contents. */
export const bin: Field<Uint8Array> = {
  type: "bin",
  read: (value, at) => value instanceof Uint8Array ? value : mismatch(at, "bytes", value),
};

/** A buffer of a system call: its content, or the size of a zeroed one. */
export const binOrInt: Field<Uint8Array | number> = {
  type: "bin or int",
  read: (value, at) => value instanceof Uint8Array ? value : int.read(value, at),
};

/** A list of values of one type. */
export function list<T>(item: Field<T>): Field<T[]> {
  return {
    type: `list of ${item.type}`,
    keys: item.keys ?? [],
    read(value, at) {
      if (!Array.isArray(value)) return mismatch(at, "a list", value);
      return value.map((entry, i) => item.read(entry, `${at}[${i}]`));
    },
  };
}

/** A map with the given fields; unknown keys are left out. */
export function map<S extends Shape>(shape: S): Field<ValueOf<S>> {
  return {
    type: "map",
    keys: shapeKeys(shape),
    read: (value, at) => readShape(shape, value, at),
  };
}

/** Marks a key that may be missing. */
export function optional<T>(field: Field<T>): OptionalField<T> {
  return {
    type: `${field.type}, optional`,
    keys: field.keys ?? [],
    optional: true,
    read: (value, at) => value === undefined ? undefined : field.read(value, at),
  };
}

/** Checks a decoded map against its fields; only own keys count. */
export function readShape<S extends Shape>(shape: S, value: unknown, at: string): ValueOf<S> {
  if (
    typeof value !== "object" || value === null || Array.isArray(value) ||
    value instanceof Uint8Array
  ) {
    return mismatch(at, "a map", value);
  }
  const result: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(shape)) {
    const present = Object.hasOwn(value, key);
    if (!present && !field.optional) throw new WireFormatError(`${at}: key ${key} is missing`);
    if (present) result[key] = field.read((value as Record<string, unknown>)[key], `${at}.${key}`);
  }
  return result as ValueOf<S>;
}

/** All keys of a shape and of the maps inside it. */
export function shapeKeys(shape: Shape): string[] {
  return Object.entries(shape).flatMap(([key, field]) => [key, ...field.keys ?? []]);
}
