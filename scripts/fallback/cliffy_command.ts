// deno-lint-ignore-file no-explicit-any no-console -- it prints help; `any`: see cliffy_types.ts
/** The part of `jsr:@cliffy/command@1.2.1` that belljar uses, over `npm:commander`. */

// deno-lint-ignore no-import-prefix -- deno.json names what JSR has, not its stand-in
import { Command as Parser } from "npm:commander@15.1.0";
import {
  type AnyType,
  type Declared,
  type EnvEntry,
  envEntry,
  flagNames,
  longName,
  makeParser,
  type OptionEntry,
  readWords,
  ValidationError,
  withoutTypes,
} from "./cliffy_parse.ts";
import type {
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

export { EnumType, ValidationError } from "./cliffy_parse.ts";
export type { ArgumentValue, OptionOptions, TypeHandler } from "./cliffy_types.ts";

interface Handler {
  (this: Command<any>, options: any, ...args: any[]): unknown;
}

type ErrorHandler = (error: Error, cmd: Command<any>) => unknown;

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
  #types = new Map<string, AnyType>();
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
        flags: flagNames(flags),
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
      const declared = this.#declared();
      parsed = readWords(this.#parser(declared), declared, [...globals, ...rest]);
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
      const entry = this.#allGlobals().find((e) => flagNames(e.flags).includes(flag));
      if (!entry) return 0;
      index += /<[^>]+>/.test(entry.flags) && !word.includes("=") ? 2 : 1;
    }
    return index;
  }

  #type(name: string): AnyType | undefined {
    for (const command of this.#chain()) {
      const type = command.#types.get(name);
      if (type) return type;
    }
    return undefined;
  }

  #allGlobals(): OptionEntry[] {
    return this.#chain().flatMap((command) => command.#globals);
  }

  #allGlobalEnvs(): EnvEntry[] {
    return this.#chain().flatMap((command) => command.#globalEnvs);
  }

  #declared(): Declared {
    return {
      options: [...this.#options, ...this.#allGlobals()],
      envs: [...this.#envs, ...this.#allGlobalEnvs()],
      operands: this.#operands,
      type: (name) => this.#type(name),
    };
  }

  #parser(declared: Declared): Parser {
    const parser = makeParser(this.getPath(), declared);
    parser.option("-h, --help", "Show this help").on("option:help", () => {
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
    const declared = this.#declared();
    const parser = this.#parser(declared);
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
        declared.envs.filter((entry) => !entry.opts.hidden),
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
