// deno-lint-ignore-file no-explicit-any -- values of any declared type pass through here
/** Turns the words of a command line and the environment into typed values. */

// deno-lint-ignore no-import-prefix -- deno.json names what JSR has, not its stand-in
import { Command as Parser, CommanderError, Option as ParserOption } from "npm:commander@15.1.0";
import type {
  ArgumentValue,
  OptionOptions,
  TypeHandler,
  TypeObject,
  ValueOptions,
} from "./cliffy_types.ts";

/** Wrong use of the command line; ends the process with status 2 unless `throwErrors()`. */
export class ValidationError extends Error {
  override readonly name: string = "ValidationError";
  readonly exitCode: number;
  /** The command that was called. */
  cmd?: any;

  constructor(message: string, options: ErrorOptions & { exitCode?: number } = {}) {
    super(message, options);
    this.exitCode = options.exitCode ?? 2;
  }
}

/** One of the given values. */
export class EnumType<const T extends string | number | boolean> implements TypeObject<T> {
  #values: readonly T[];

  constructor(values: readonly T[]) {
    this.#values = values;
  }

  parse(type: ArgumentValue): T {
    const found = this.#values.find((value) => String(value) === type.value);
    if (found === undefined) throw wrongType(type, this.#values.join(", "));
    return found;
  }

  values(): T[] {
    return [...this.#values];
  }
}

/** A declared option. */
export interface OptionEntry {
  flags: string;
  description: string;
  group: string | undefined;
  opts: OptionOptions;
}

/** A declared environment variable. */
export interface EnvEntry {
  name: string;
  hint: string;
  key: string;
  description: string;
  opts: ValueOptions;
}

/** A custom type. */
export type AnyType = TypeHandler<any> | TypeObject<any>;

/** What one command declares, with what it inherits. */
export interface Declared {
  options: OptionEntry[];
  envs: EnvEntry[];
  operands: string;
  type(name: string): AnyType | undefined;
}

const BUILTIN_TYPES: Record<string, TypeHandler<unknown>> = {
  string: (type) => type.value,
  file: (type) => type.value,
  number: (type) => toNumber(type, Number.isFinite),
  integer: (type) => toNumber(type, Number.isInteger),
  boolean: (type) => {
    if (["1", "true"].includes(type.value)) return true;
    if (["0", "false"].includes(type.value)) return false;
    throw wrongType(type, "true, false, 1, 0");
  },
};

function toNumber(type: ArgumentValue, isRight: (value: number) => boolean): number {
  const value = Number(type.value);
  if (type.value.trim() === "" || !isRight(value)) throw wrongType(type);
  return value;
}

function wrongType(type: ArgumentValue, values?: string): ValidationError {
  const expected = values ?? `a value of type "${type.type}"`;
  return new ValidationError(
    `${type.label} "${type.name}" cannot be "${type.value}": expected ${expected}`,
  );
}

const camelCase = (name: string): string =>
  name.replace(/[-_]+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** The long name in `-j, --jobs <n:integer>`, without dashes. */
export const longName = (flags: string): string =>
  /--([^\s=,]+)/.exec(flags)?.[1] ?? flags.replace(/^-/, "");

/** All names in `-j, --jobs <n:integer>`, with dashes. */
export const flagNames = (flags: string): string[] =>
  flags.replace(/[<[].*$/, "").match(/--?[^\s=,]+/g) ?? [];

/** Commander takes `<n>`; the type behind the colon is read here. */
export const withoutTypes = (text: string): string => text.replace(/:[^\]>]+/g, "");

/** Reads `BELLJAR_JOBS=<n:integer>`. */
export function envEntry(
  declaration: string,
  description: string,
  opts: ValueOptions & { prefix?: unknown },
): EnvEntry {
  const [name = declaration, hint = ""] = declaration.split(/[= ]/, 2);
  const prefix = typeof opts.prefix === "string" ? opts.prefix : "";
  const key = camelCase(name.slice(name.startsWith(prefix) ? prefix.length : 0).toLowerCase());
  return { name, hint, key, description, opts };
}

/** A parser that knows the declared options and operands, and prints nothing. */
export function makeParser(path: string, declared: Declared): Parser {
  const parser = new Parser(path).exitOverride().allowExcessArguments(false)
    .configureOutput({ writeErr: () => {}, writeOut: () => {} })
    .helpOption(false).helpCommand(false);
  for (const { flags, description, group, opts } of declared.options) {
    const preset = opts.default === undefined ? "" : ` (default: ${JSON.stringify(opts.default)})`;
    const option = new ParserOption(withoutTypes(flags), description + preset).hideHelp(
      opts.hidden ?? false,
    );
    parser.addOption(group ? option.helpGroup(`${group}:`) : option);
  }
  if (declared.operands) parser.arguments(withoutTypes(declared.operands));
  return parser;
}

/** Reads `words` with the given parser. */
export function readWords(
  parser: Parser,
  declared: Declared,
  words: string[],
): { options: Record<string, unknown>; args: unknown[] } {
  const found = new Map<string, unknown>();
  for (const entry of declared.options) {
    parser.on(
      `option:${longName(entry.flags)}`,
      (text?: string | null) => take(declared, entry, text ?? undefined, found),
    );
  }
  try {
    parser.parse(words, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    throw new ValidationError(plainWords(error.message), { cause: error });
  }
  checkCombinations(declared.options, found);
  const options = {
    ...defaults(declared.options),
    ...readEnv(declared),
    ...mapped(declared, found),
  };
  for (const { flags, opts } of declared.options) {
    if (opts.required && options[camelCase(longName(flags))] === undefined) {
      throw new ValidationError(`Option "--${longName(flags)}" is missing`);
    }
  }
  const hints = declared.operands.split(" ").filter(Boolean);
  const args = parser.args.map((value, index) => {
    const hint = hints[index] ?? hints.at(-1) ?? "";
    return convert(declared, hint, "Argument", hint.replace(/[<>[\].]|:.*/g, ""), value);
  });
  return { options, args };
}

/** Commander's `error: unknown option '--fo'`, with its guess on a line of its own, as one sentence. */
function plainWords(message: string): string {
  const text = message.replace(/^error: /, "")
    .replace(
      /\n\(Did you mean (?:one of )?(.*)\?\)$/s,
      (_, names: string) =>
        `: did you mean ${names.split(", ").map((name) => `"${name}"`).join(" or ")}?`,
    )
    .replace(/'([^']*)'/g, '"$1"');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function keyOf(flags: string): string {
  return camelCase(longName(flags).replace(/^no-/, ""));
}

function take(
  declared: Declared,
  entry: OptionEntry,
  text: string | undefined,
  found: Map<string, unknown>,
): void {
  const name = longName(entry.flags);
  const key = keyOf(entry.flags);
  if (found.has(key) && !entry.opts.collect) {
    throw new ValidationError(`Option "--${name}" can be given only once`);
  }
  const hint = /[<[].*$/.exec(entry.flags)?.[0] ?? "";
  const plain = !name.startsWith("no-");
  const one = text === undefined ? plain : convert(declared, hint, "Option", `--${name}`, text);
  found.set(key, entry.opts.collect ? [...(found.get(key) as unknown[] ?? []), one] : one);
}

function convert(
  declared: Declared,
  hint: string,
  label: string,
  name: string,
  value: string,
): unknown {
  const type = /:([^\]>:]+)/.exec(hint)?.[1] ?? "string";
  const handler = declared.type(type) ?? BUILTIN_TYPES[type];
  if (!handler) throw new TypeError(`Cannot read "${name}": there is no type "${type}"`);
  const input = { label, type, name, value };
  return typeof handler === "function" ? handler(input) : handler.parse(input);
}

function mapped(declared: Declared, found: Map<string, unknown>): Record<string, unknown> {
  const values = Object.fromEntries(found);
  for (const { flags, opts } of declared.options) {
    const key = keyOf(flags);
    if (opts.value && found.has(key)) values[key] = opts.value(found.get(key));
  }
  return values;
}

function defaults(entries: OptionEntry[]): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const { flags, opts } of entries) {
    const preset = longName(flags).startsWith("no-") ? opts.default ?? true : opts.default;
    if (preset !== undefined) values[keyOf(flags)] = preset;
  }
  return values;
}

function readEnv(declared: Declared): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const { name, hint, key, opts } of declared.envs) {
    const text = Deno.env.get(name);
    if (text) {
      values[key] = convert(declared, hint || ":boolean", "Environment variable", name, text);
    } else if (opts.required) {
      throw new ValidationError(`Environment variable "${name}" is missing`);
    }
  }
  return values;
}

function checkCombinations(entries: OptionEntry[], found: Map<string, unknown>): void {
  for (const { flags, opts } of entries) {
    if (!found.has(keyOf(flags))) continue;
    const name = longName(flags);
    const other = opts.conflicts?.find((key) => found.has(camelCase(key)));
    if (other) throw new ValidationError(`Options "--${name}" and "--${other}" exclude each other`);
    const missing = opts.depends?.find((key) => !found.has(camelCase(key)));
    if (missing) throw new ValidationError(`Option "--${name}" needs "--${missing}" beside it`);
  }
}
