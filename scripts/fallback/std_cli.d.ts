// The part of `jsr:@std/cli@1.0.32/parse-args` that is used: flags are listed, never guessed.

/** What {@linkcode parseArgs} is told about the flags. */
export interface ParseOptions<
  B extends string = string,
  S extends string = string,
  C extends string = string,
> {
  "--"?: boolean;
  alias?: Record<string, string | readonly string[]>;
  boolean?: readonly B[];
  string?: readonly S[];
  collect?: readonly C[];
  negatable?: readonly string[];
  default?: { [K in B]?: boolean } & { [K in S]?: string | readonly string[] };
  stopEarly?: boolean;
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** Flags by name, operands in `_`, and what follows `--` where asked for. */
export type Args<
  B extends string = never,
  S extends string = never,
  C extends string = never,
  D = unknown,
  DD extends boolean | undefined = undefined,
> =
  & { [K in B]: boolean }
  & { [K in Extract<S, C>]: string[] }
  & { [K in Exclude<S, C> as K extends keyof D ? K : never]: string }
  & { [K in Exclude<S, C> as K extends keyof D ? never : K]?: string }
  & { _: Array<string | number> }
  & (DD extends true ? { "--": string[] } : unknown);

export declare function parseArgs<
  const B extends string = never,
  const S extends string = never,
  const C extends string = never,
  const D = unknown,
  const DD extends boolean | undefined = undefined,
>(
  args: readonly string[],
  options?: Omit<ParseOptions<B, S, C>, "default" | "--"> & { default?: D; "--"?: DD },
): Args<B, S, C, D, DD>;
