/**
 * Finds what a JavaScript module imports, and the syntax that no engine reads.
 *
 * @module
 */

import { type Token, tokenize } from "./_tokens.ts";

/** One place where a module names another; offsets count UTF-16 units of the scanned text. */
export interface FoundImport {
  kind: "static" | "dynamic";
  /** The decoded specifier; absent where it is computed. */
  specifier?: string;
  /** What to replace: the literal of a static import, the keyword of a dynamic one. */
  start: number;
  end: number;
  /** Where a reader looks: the literal if there is one, else the `import`. */
  position: number;
  /** The `type` of the import attributes. */
  type?: string;
}

/** What {@linkcode scanModule} found. */
export interface ModuleScan {
  imports: FoundImport[];
  /** Where `import.meta` stands. */
  metas: { start: number; end: number }[];
  /** Offset of the first decorator. */
  decorator?: number;
}

/** Scans one module's JavaScript. */
export function scanModule(source: string): ModuleScan {
  const tokens = tokenize(source);
  const scan: ModuleScan = { imports: [], metas: [] };
  let depth = 0;
  for (let i = 0; i < tokens.length; i++) {
    const { kind, text, start } = tokens[i]!;
    if (kind === "punct") {
      if (text === "{" || text === "(" || text === "[") depth++;
      else if (text === "}" || text === ")" || text === "]") depth--;
      else if (text === "@") scan.decorator ??= start;
    } else if (kind === "name" && !isMemberName(tokens, i)) {
      if (text === "import" && tokens[i + 1]?.text === "." && tokens[i + 2]?.text === "meta") {
        scan.metas.push({ start, end: tokens[i + 2]!.end });
        continue;
      }
      const dynamic = text === "import" && tokens[i + 1]?.text === "(";
      const found = dynamic
        ? dynamicImport(tokens, i)
        : depth === 0 && (text === "import" || text === "export")
        ? staticImport(tokens, i)
        : undefined;
      if (found) scan.imports.push(found);
    }
  }
  return scan;
}

function isMemberName(tokens: Token[], index: number): boolean {
  const before = tokens[index - 1]?.text;
  return before === "." || before === "?.";
}

function dynamicImport(tokens: Token[], index: number): FoundImport | undefined {
  const close = closingIndex(tokens, index + 1);
  // A method of that name, `{ import(x) {} }`: a call is never followed by a brace.
  if (tokens[close + 1]?.text === "{") return undefined;
  const { start, end } = tokens[index]!;
  const argument = tokens[index + 2];
  const literal = argument?.kind === "string" && [",", ")"].includes(tokens[index + 3]?.text ?? "");
  if (!literal) return { kind: "dynamic", start, end, position: start };
  const specifier = stringValue(argument.text);
  const type = attributeType(tokens, index + 3, close);
  return { kind: "dynamic", specifier, start, end, position: argument.start, type };
}

function staticImport(tokens: Token[], index: number): FoundImport | undefined {
  const at = specifierIndex(tokens, index);
  const literal = tokens[at];
  if (literal?.kind !== "string") return undefined;
  const { start, end } = literal;
  const brace = ["with", "assert"].includes(tokens[at + 1]?.text ?? "") ? at + 2 : -1;
  const type = tokens[brace]?.text === "{"
    ? attributeType(tokens, brace, closingIndex(tokens, brace))
    : undefined;
  return {
    kind: "static",
    specifier: stringValue(literal.text),
    start,
    end,
    position: start,
    type,
  };
}

/** Index of the specifier of the declaration at `index`, or -1. */
function specifierIndex(tokens: Token[], index: number): number {
  const next = tokens[index + 1];
  if (next?.kind === "string") return tokens[index]!.text === "import" ? index + 1 : -1;
  if (tokens[index]!.text === "export") {
    const end = next?.text === "{" ? closingIndex(tokens, index + 1) : index + 1;
    if (next?.text !== "{" && next?.text !== "*") return -1;
    // `export * from`, `export * as name from`, `export { … } from`.
    const from = tokens[end + 1]?.text === "as" ? end + 3 : end + 1;
    return tokens[from]?.text === "from" ? from + 1 : -1;
  }
  for (let i = index + 1; i < tokens.length; i++) {
    const { kind, text } = tokens[i]!;
    if (kind === "string" && tokens[i - 1]!.text === "from") return i;
    const clause = kind === "name" || kind === "string" || ["{", "}", ",", "*"].includes(text);
    if (!clause) return -1;
  }
  return -1;
}

/** Index of the bracket that closes the one at `open`; past the end when none does. */
function closingIndex(tokens: Token[], open: number): number {
  let depth = 0;
  for (let i = open; i < tokens.length; i++) {
    const { kind, text } = tokens[i]!;
    if (kind !== "punct") continue;
    if (text === "(" || text === "[" || text === "{") depth++;
    else if ((text === ")" || text === "]" || text === "}") && --depth === 0) return i;
  }
  return tokens.length;
}

/** Value of the `type` key between two indexes. */
function attributeType(tokens: Token[], from: number, to: number): string | undefined {
  for (let i = from; i < to; i++) {
    const key = tokens[i]!.text;
    const value = tokens[i + 2];
    const isType = key === "type" || key === '"type"' || key === "'type'";
    if (isType && tokens[i + 1]?.text === ":" && value?.kind === "string") {
      return stringValue(value.text);
    }
  }
  return undefined;
}

const ESCAPES: Record<string, string> = {
  n: "\n",
  r: "\r",
  t: "\t",
  b: "\b",
  f: "\f",
  v: "\v",
  0: "\0",
};

/** The value of a string literal. */
function stringValue(literal: string): string {
  return literal.slice(1, -1).replace(
    /\\(?:u\{([\da-fA-F]+)\}|u([\da-fA-F]{4})|x([\da-fA-F]{2})|(\r\n|[^]))/g,
    (_, braced, four, two, one: string | undefined) => {
      if (one === undefined) return String.fromCodePoint(parseInt(braced ?? four ?? two, 16));
      return /^[\r\n\u2028\u2029]/.test(one) ? "" : ESCAPES[one] ?? one;
    },
  );
}
