// deno-lint-ignore-file no-explicit-any ban-types -- see cliffy_types.ts
/** The part of `jsr:@cliffy/command@1.2.1` that belljar uses, over `npm:commander`. */

import { Command as Parser, CommanderError, Option as ParserOption } from "npm:commander@15.1.0";
import type {
  ArgumentValue,
  BuiltinTypes,
  EnvOf,
  Merge,
  Operands,
  OptionOf,
  OptionOptions,
  Options,
  OptionValue,
  TypeHandler,
  TypeObject,
  Unless,
  ValueOptions,
} from "./cliffy_types.ts";

export type { ArgumentValue, OptionOptions, TypeHandler } from "./cliffy_types.ts";

/** Wrong use of the command line; ends the process with status 2 unless `throwErrors()`. */
export class ValidationError extends Error {
  override readonly name: string = "ValidationError";
  readonly exitCode: number;
  cmd?: Command<any>;

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

interface OptionEntry {
  flags: string;
  description: string;
  group: string | undefined;
  opts: OptionOptions;
}

interface EnvEntry {
  name: string;
  hint: string;
  key: string;
  description: string;
  opts: ValueOptions;
}

interface Handler {
  (this: Command<any>, options: any, ...args: any[]): unknown;
}

type ErrorHandler = (error: Error, cmd: Command<any>) => unknown;

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
const longName = (flags: string): string => /--([^\s=,]+)/.exec(flags)?.[1] ?? flags;
const typeName = (hint: string): string => /:([^\]>:]+)/.exec(hint)?.[1] ?? "string";
/** Commander takes `<n>`; the type behind the colon is read here. */
const withoutTypes = (flags: string): string => flags.replace(/:[^\]>]+/g, "");

/** A command, its options, operands and sub-commands. Every method returns the command. */
export class Command<
  PG extends Record<string, unknown> | void = void,
  O extends Record<string, unknown> | void = Unless<PG, void>,
  A extends unknown[] = Unless<PG, []>,
  G extends Record<string, unknown> | void = Unless<PG, void>,
  T = Unless<PG, BuiltinTypes>,
> {
  #name = "COMMAND";
  #description = "";
  #version: string | undefined;
  #usage: string | undefined;
  #isHidden = false;
  #operands = "";
  #group: string | undefined;
  #handler: Handler | undefined;
  #onError: ErrorHandler | undefined;
  #throwErrors = false;
  #parent: Command<any> | undefined;
  #literal: string[] = [];
  #types = new Map<string, TypeHandler<any> | TypeObject<any>>();
  #options: OptionEntry[] = [];
  #globals: OptionEntry[] = [];
  #envs: EnvEntry[] = [];
  #globalEnvs: EnvEntry[] = [];
  #examples: { name: string; description: string }[] = [];
  #commands = new Map<string, Command<any>>();
  #aliases: string[] = [];

  name(name: string): this {
    this.#name = name;
    return this;
  }

  description(description: string): this {
    this.#description = description;
    return this;
  }

  version(version: string): this {
    this.#version = version;
    return this;
  }

  usage(usage: string): this {
    this.#usage = usage;
    return this;
  }

  hidden(): this {
    this.#isHidden = true;
    return this;
  }

  alias(name: string): this {
    this.#aliases.push(name);
    return this;
  }

  /** Puts the options that follow under this heading of the help. */
  group(name: string | null): this {
    this.#group = name ?? undefined;
    return this;
  }

  example(name: string, description: string): this {
    this.#examples.push({ name, description });
    return this;
  }

  type<N extends string, V>(
    name: N,
    handler: TypeHandler<V> | TypeObject<V>,
  ): Command<PG, O, A, G, Merge<T, { [K in N]: V }>> {
    this.#types.set(name, handler);
    return this as Command<any>;
  }

  arguments<S extends string>(operands: S): Command<PG, O, Operands<S, T>, G, T> {
    this.#operands = operands;
    return this as Command<any>;
  }

  option<
    F extends string,
    R extends boolean | undefined = undefined,
    C extends boolean | undefined = undefined,
    const D = undefined,
    M = undefined,
  >(
    flags: F,
    description: string,
    opts: OptionOptions<C extends true ? OptionValue<F, T>[] : OptionValue<F, T>, D, M> & {
      required?: R;
      collect?: C;
    } = {},
  ): Command<PG, Merge<O, OptionOf<F, T, R, C, D, M>>, A, G, T> {
    this.#options.push({ flags, description, group: this.#group, opts });
    return this as Command<any>;
  }

  globalOption<
    F extends string,
    R extends boolean | undefined = undefined,
    C extends boolean | undefined = undefined,
    const D = undefined,
    M = undefined,
  >(
    flags: F,
    description: string,
    opts: OptionOptions<C extends true ? OptionValue<F, T>[] : OptionValue<F, T>, D, M> & {
      required?: R;
      collect?: C;
    } = {},
  ): Command<PG, O, A, Merge<G, OptionOf<F, T, R, C, D, M>>, T> {
    this.#globals.push({ flags, description, group: this.#group, opts });
    return this as Command<any>;
  }

  env<E extends string, R extends boolean | undefined = undefined, const P = undefined>(
    declaration: E,
    description: string,
    opts: ValueOptions & { required?: R; prefix?: P } = {},
  ): Command<PG, Merge<O, EnvOf<E, T, P, R>>, A, G, T> {
    this.#envs.push(envEntry(declaration, description, opts));
    return this as Command<any>;
  }

  globalEnv<E extends string, R extends boolean | undefined = undefined, const P = undefined>(
    declaration: E,
    description: string,
    opts: ValueOptions & { required?: R; prefix?: P } = {},
  ): Command<PG, O, A, Merge<G, EnvOf<E, T, P, R>>, T> {
    this.#globalEnvs.push(envEntry(declaration, description, opts));
    return this as Command<any>;
  }

  action(
    fn: (this: Command<any>, options: Options<PG, G, O>, ...args: A) => unknown,
  ): this {
    this.#handler = fn as Handler;
    return this;
  }

  command(name: string, command: Command<any>): this {
    command.#name = name;
    command.#parent = this as Command<any>;
    this.#commands.set(name, command);
    return this;
  }

  error(handler: ErrorHandler): this {
    this.#onError = handler;
    return this;
  }

  throwErrors(): this {
    this.#throwErrors = true;
    return this;
  }

  getName(): string {
    return this.#name;
  }

  getPath(): string {
    return this.#parent ? `${this.#parent.getPath()} ${this.#name}` : this.#name;
  }

  getDescription(): string {
    return this.#description;
  }

  getVersion(): string | undefined {
    return this.#version ?? this.#parent?.getVersion();
  }

  getParent(): Command<any> | undefined {
    return this.#parent;
  }

  getMainCommand(): Command<any> {
    return this.#parent?.getMainCommand() ?? this as Command<any>;
  }

  /** Sub-commands; hidden ones only where asked for. */
  getCommands(hidden = false): Command<any>[] {
    return [...this.#commands.values()].filter((command) => hidden || !command.#isHidden);
  }

  /** Options with those of the commands above that work anywhere. */
  getOptions(hidden = false): { name: string; flags: string[]; description: string }[] {
    return [...this.#options, ...this.#allGlobals()]
      .filter((entry) => hidden || !entry.opts.hidden)
      .map(({ flags, description }) => ({
        name: longName(flags),
        flags: flags.match(/--?[^\s=,]+/g) ?? [],
        description,
      }));
  }

  /** What stood behind `--`. */
  getLiteralArgs(): string[] {
    return this.#literal;
  }

  getHelp(): string {
    return this.#helpParser().helpInformation();
  }

  showHelp(): void {
    console.log(this.getHelp());
  }

  async parse(args: string[] = Deno.args): Promise<
    { options: Options<PG, G, O>; args: A; cmd: Command<any>; literal: string[] }
  > {
    const end = args.indexOf("--");
    const literal = end < 0 ? [] : args.slice(end + 1);
    return await this.#route(end < 0 ? args : args.slice(0, end), [], literal) as any;
  }

  /** Finds the sub-command behind the global options, then lets that one read its own. */
  async #route(rest: string[], globals: string[], literal: string[]): Promise<unknown> {
    const [first] = rest;
    const sub = first === undefined ? undefined : this.#find(first);
    if (sub) return await sub.#route(rest.slice(1), globals, literal);
    const length = first?.startsWith("-") ? this.#globalLength(rest) : 0;
    const next = length > 0 ? this.#find(rest[length] ?? "") : undefined;
    if (next) {
      return await next.#route(
        rest.slice(length + 1),
        [...globals, ...rest.slice(0, length)],
        literal,
      );
    }
    this.#literal = literal;
    let parsed: { options: Record<string, unknown>; args: unknown[] };
    try {
      parsed = this.#read([...globals, ...rest]);
      if (!this.#handler && parsed.args.length === 0 && this.#commands.size > 0) {
        this.showHelp();
        Deno.exit(0);
      }
    } catch (error) {
      return this.#fail(error);
    }
    try {
      await this.#handler?.call(this as Command<any>, parsed.options, ...parsed.args);
    } catch (error) {
      return this.#fail(error);
    }
    return { ...parsed, cmd: this, literal };
  }

  #find(name: string): Command<any> | undefined {
    return this.#commands.get(name) ??
      [...this.#commands.values()].find((command) => command.#aliases.includes(name));
  }

  /** How many leading words are global options with their values. */
  #globalLength(words: string[]): number {
    let index = 0;
    for (let word = words[0]; word?.startsWith("-"); word = words[index]) {
      const [flag = word] = word.split("=", 1);
      const entry = this.#allGlobals().find((e) => e.flags.match(/--?[^\s=,]+/g)?.includes(flag));
      if (!entry) return 0;
      index += /<[^>]+>/.test(entry.flags) && !word.includes("=") ? 2 : 1;
    }
    return index;
  }

  #read(words: string[]): { options: Record<string, unknown>; args: unknown[] } {
    const entries = [...this.#options, ...this.#allGlobals()];
    const found = new Map<string, unknown>();
    const parser = this.#parser(entries);
    for (const entry of entries) {
      const name = longName(entry.flags);
      parser.on(`option:${name}`, (text?: string | null) => this.#take(entry, text, found));
    }
    try {
      parser.parse(words, { from: "user" });
    } catch (error) {
      if (!(error instanceof CommanderError)) throw error;
      throw new ValidationError(error.message.replace(/^error: /, ""), { cause: error });
    }
    this.#checkCombinations(entries, found);
    const options = {
      ...this.#defaults(entries),
      ...this.#readEnv(),
      ...Object.fromEntries(found),
    };
    for (const { flags, opts } of entries) {
      if (opts.required && options[camelCase(longName(flags))] === undefined) {
        throw new ValidationError(`Option "--${longName(flags)}" is missing`);
      }
    }
    const hints = this.#operands.split(" ").filter(Boolean);
    const args = parser.args.map((value, index) => {
      const hint = hints[index] ?? hints.at(-1) ?? "";
      return this.#convert(hint, "Argument", hint.replace(/[<>[\].]|:.*/g, ""), value);
    });
    return { options, args };
  }

  #take(entry: OptionEntry, text: string | null | undefined, found: Map<string, unknown>): void {
    const name = longName(entry.flags);
    const isNegated = name.startsWith("no-");
    const key = camelCase(isNegated ? name.slice(3) : name);
    if (found.has(key) && !entry.opts.collect) {
      throw new ValidationError(`Option "--${name}" can be given only once`);
    }
    const hint = /[<[].*$/.exec(entry.flags)?.[0] ?? "";
    const one = isNegated
      ? false
      : typeof text !== "string"
      ? true
      : this.#convert(hint, "Option", `--${name}`, text);
    const all = entry.opts.collect ? [...(found.get(key) as unknown[] ?? []), one] : one;
    found.set(key, entry.opts.value ? entry.opts.value(all) : all);
  }

  #convert(hint: string, label: string, name: string, value: string): unknown {
    const type = typeName(hint);
    const handler = this.#type(type) ?? BUILTIN_TYPES[type];
    if (!handler) throw new TypeError(`Cannot read "${name}": there is no type "${type}"`);
    const input = { label, type, name, value };
    return typeof handler === "function" ? handler(input) : handler.parse(input);
  }

  #type(name: string): TypeHandler<any> | TypeObject<any> | undefined {
    for (const command of this.#chain()) {
      const type = command.#types.get(name);
      if (type) return type;
    }
    return undefined;
  }

  #defaults(entries: OptionEntry[]): Record<string, unknown> {
    const values: Record<string, unknown> = {};
    for (const { flags, opts } of entries) {
      const name = longName(flags);
      if (name.startsWith("no-")) values[camelCase(name.slice(3))] = opts.default ?? true;
      else if (opts.default !== undefined) values[camelCase(name)] = opts.default;
    }
    return values;
  }

  #readEnv(): Record<string, unknown> {
    const values: Record<string, unknown> = {};
    for (const { name, hint, key, opts } of [...this.#envs, ...this.#allGlobalEnvs()]) {
      const text = Deno.env.get(name);
      if (text) {
        values[key] = this.#convert(hint || ":boolean", "Environment variable", name, text);
      } else if (opts.required) {
        throw new ValidationError(`Environment variable "${name}" is missing`);
      }
    }
    return values;
  }

  #checkCombinations(entries: OptionEntry[], found: Map<string, unknown>): void {
    for (const { flags, opts } of entries) {
      const name = longName(flags);
      if (!found.has(camelCase(name))) continue;
      const other = opts.conflicts?.find((key) => found.has(camelCase(key)));
      if (other) {
        throw new ValidationError(`Options "--${name}" and "--${other}" exclude each other`);
      }
      const missing = opts.depends?.find((key) => !found.has(camelCase(key)));
      if (missing) throw new ValidationError(`Option "--${name}" needs "--${missing}" beside it`);
    }
  }

  #allGlobals(): OptionEntry[] {
    return this.#chain().flatMap((command) => command.#globals);
  }

  #allGlobalEnvs(): EnvEntry[] {
    return this.#chain().flatMap((command) => command.#globalEnvs);
  }

  #parser(entries: OptionEntry[]): Parser {
    const parser = new Parser(this.getPath()).exitOverride().allowExcessArguments(false)
      .configureOutput({ writeErr: () => {}, writeOut: () => {} })
      .helpOption(false).helpCommand(false);
    for (const { flags, description, group, opts } of entries) {
      const option = new ParserOption(withoutTypes(flags), description);
      if (opts.hidden) option.hideHelp();
      if (opts.default !== undefined) option.defaultValueDescription = JSON.stringify(opts.default);
      parser.addOption(group ? option.helpGroup(`${group}:`) : option);
    }
    if (this.#operands) parser.arguments(withoutTypes(this.#operands));
    const help = new ParserOption("-h, --help", "Show this help").argParser(() => {
      this.showHelp();
      Deno.exit(0);
    });
    parser.addOption(help).on("option:help", () => {
      this.showHelp();
      Deno.exit(0);
    });
    if (!this.#parent && this.#version) {
      parser.option("-V, --version", "Show the version").on("option:version", () => {
        console.log(`${this.#name} ${this.#version}`);
        Deno.exit(0);
      });
    }
    return parser;
  }

  #helpParser(): Parser {
    const parser = this.#parser([...this.#options, ...this.#allGlobals()]);
    parser.description(this.#description);
    if (this.#usage) parser.usage(this.#usage);
    for (const command of this.getCommands()) {
      const shown = new Parser(command.#name).description(command.#description).helpOption(false);
      if (command.#operands) shown.arguments(withoutTypes(command.#operands));
      parser.addCommand(shown);
    }
    const rows = [
      ...section(
        "Environment variables",
        [...this.#envs, ...this.#allGlobalEnvs()].filter((entry) => !entry.opts.hidden),
      ),
      ...section("Examples", this.#examples),
    ];
    // Commander adds such text only where it prints the help itself.
    const plain = parser.helpInformation.bind(parser);
    parser.helpInformation = () => [plain().trimEnd(), ...rows].join("\n");
    return parser;
  }

  #fail(error: unknown): never {
    const failure = error instanceof Error ? error : new Error(String(error));
    if (failure instanceof ValidationError) failure.cmd = this as Command<any>;
    const handler = this.#chain().map((command) => command.#onError).find(Boolean);
    handler?.(failure, this as Command<any>);
    const isThrown = this.#chain().some((command) => command.#throwErrors);
    if (!(failure instanceof ValidationError) || isThrown) throw failure;
    this.showHelp();
    console.error(`error: ${failure.message}`);
    Deno.exit(failure.exitCode);
  }

  /** This command and those above it. */
  #chain(): Command<any>[] {
    const chain: Command<any>[] = [];
    for (let at: Command<any> | undefined = this as Command<any>; at; at = at.#parent) {
      chain.push(at);
    }
    return chain;
  }
}

function envEntry(
  declaration: string,
  description: string,
  opts: ValueOptions & { prefix?: unknown },
): EnvEntry {
  const [name = declaration, hint = ""] = declaration.split(/[= ]/, 2);
  const prefix = typeof opts.prefix === "string" ? opts.prefix : "";
  const key = camelCase(name.slice(name.startsWith(prefix) ? prefix.length : 0).toLowerCase());
  return { name, hint, key, description, opts };
}

function section(title: string, rows: { name: string; description: string }[]): string[] {
  if (rows.length === 0) return [];
  const width = Math.max(...rows.map((row) => row.name.length));
  const lines = rows.map((row) =>
    row.description.includes("\n") || title === "Examples"
      ? `  ${row.name}:\n${row.description.replace(/^/gm, "    ")}`
      : `  ${row.name.padEnd(width)}  ${row.description}`
  );
  return ["", `${title}:`, ...lines];
}
