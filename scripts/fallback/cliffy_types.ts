// deno-lint-ignore-file no-explicit-any ban-types -- type-level code: `any` opts out, `{}` is empty
/** How the types of options and operands follow from the text that declares them. */

/** Names that may stand behind the colon in `<value:name>`. */
export interface BuiltinTypes {
  string: string;
  number: number;
  integer: number;
  boolean: boolean;
  file: string;
}

/** What a custom type gets to read. */
export interface ArgumentValue {
  /** "Option", "Argument" or "Environment variable". */
  label: string;
  type: string;
  name: string;
  value: string;
}

/** Reads one value; throws a `ValidationError` where it cannot. */
export type TypeHandler<T> = (type: ArgumentValue) => T;

/** A custom type as an object. */
export interface TypeObject<T> {
  parse(type: ArgumentValue): T;
  values?(): readonly T[];
}

/** What becomes of an option or an environment variable. */
export interface ValueOptions {
  hidden?: boolean;
  required?: boolean;
}

/** Settings of `option()`; names of other options are in camel case. */
export interface OptionOptions<V = any, D = unknown, M = unknown> extends ValueOptions {
  collect?: boolean;
  default?: D;
  conflicts?: string[];
  depends?: string[];
  value?: (value: V) => M;
}

/** `any` where the first parameter is `any`, as in `Command<any>`. */
export type Unless<P, T> = P extends number ? any : T;

type CamelCase<S extends string> = S extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;
type EnvCase<S extends string> = CamelCase<Dashed<Lowercase<S>>>;
type Dashed<S extends string> = S extends `${infer Head}_${infer Tail}` ? `${Head}-${Dashed<Tail>}`
  : S;
type Inner<A extends string> = A extends `<${infer I}>` ? I : A extends `[${infer I}]` ? I : A;
type One<A extends string, T> = Inner<A> extends `${string}:${infer N}`
  ? N extends keyof T ? T[N] : unknown
  : string;
type ArgValue<A extends string, T> = Inner<A> extends `${string}...${string}` ? One<A, T>[]
  : One<A, T>;

/** `<image> [paths...:file]` as the operands of an action. */
export type Operands<S extends string, T> = S extends `${infer Head} ${infer Tail}`
  ? Head extends `[${string}` ? [ArgValue<Head, T>?, ...Operands<Tail, T>]
  : [ArgValue<Head, T>, ...Operands<Tail, T>]
  : Inner<S> extends `${string}...${string}`
    ? S extends `[${string}` ? One<S, T>[] : [One<S, T>, ...One<S, T>[]]
  : S extends `[${string}` ? [One<S, T>?]
  : [One<S, T>];

type Long<F extends string> = F extends `${string}--${infer R}` ? R
  : F extends `-${infer R}` ? R
  : never;
type Flag<F extends string> = Long<F> extends `${infer N} ${string}` ? N : Long<F>;
type Hint<F extends string> = Long<F> extends `${string} ${infer A}` ? A : "";

/** The value of one occurrence of an option. */
export type OptionValue<F extends string, T> = Hint<F> extends "" ? true
  : Hint<F> extends `[${string}` ? ArgValue<Hint<F>, T> | true
  : ArgValue<Hint<F>, T>;

type Collected<V, C> = [C] extends [true] ? V[] : V;
type Mapped<V, M> = [M] extends [undefined] ? V : M;
type Keyed<K extends string, V, R, D> = [D] extends [undefined]
  ? [R] extends [true] ? { [N in K]: V } : { [N in K]?: V }
  : { [N in K]: V | Widen<D> };
type Widen<D> = D extends readonly (infer E)[] ? E[] : D;

/** `-j, --jobs <n:integer>` as a property of the options. */
export type OptionOf<F extends string, T, R, C, D, M> = Flag<F> extends `no-${infer N}`
  ? { [K in CamelCase<N>]: boolean }
  : Keyed<CamelCase<Flag<F>>, Mapped<Collected<OptionValue<F, T>, C>, M>, R, D>;

type Unprefixed<N extends string, P> = P extends string ? N extends `${P}${infer R}` ? R : N : N;

/** `BELLJAR_JOBS=<n:integer>` as a property of the options. */
export type EnvOf<E extends string, T, P, R> = E extends `${infer N}=${infer A}`
  ? Keyed<EnvCase<Unprefixed<N, P>>, ArgValue<A, T>, R, undefined>
  : Keyed<EnvCase<Unprefixed<E, P>>, boolean, R, undefined>;

/** Later properties win over earlier ones of the same name. */
export type Merge<A, B> = A extends void ? B : Omit<A, keyof B> & B;
/** What an action gets as its first argument. */
export type Options<PG, G, O> = Simplify<
  (PG extends void ? {} : PG) & (G extends void ? {} : G) & (O extends void ? {} : O)
>;
type Simplify<T> = { [K in keyof T]: T[K] };
