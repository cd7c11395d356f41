/**
 * Splits JavaScript into tokens, exactly enough to find imports and decorators without being misled by strings,
 * comments, templates and regular expressions.
 *
 * @module
 */

/** What a {@linkcode Token} is. */
export type TokenKind = "name" | "private" | "number" | "string" | "template" | "regex" | "punct";

/** One token; offsets count UTF-16 units. */
export interface Token {
  kind: TokenKind;
  start: number;
  end: number;
  /** The source text; empty for templates and regular expressions, which nobody compares. */
  text: string;
}

/** Keywords after which an operand begins: a `/` opens a regular expression, a brace an object literal. */
const OPERATORS = new Set(
  "await case default delete do else extends in instanceof new of return throw typeof void yield"
    .split(" "),
);
/** Keywords whose parenthesis is not an operand: `if (x) /re/.test(y)`. */
const CONDITIONS = new Set(["if", "for", "while", "with"]);
const NAME =
  /(?:[\p{ID_Start}$_]|\\u(?:[\da-fA-F]{4}|\{[\da-fA-F]+\}))(?:[\p{ID_Continue}$\u200c\u200d]|\\u(?:[\da-fA-F]{4}|\{[\da-fA-F]+\}))*/uy;
const NUMBER =
  /0[xX][\da-fA-F_]+n?|0[bB][01_]+n?|0[oO][0-7_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?[\d_]+)?n?/y;
const REGEX = /\/(?:[^/\\[\n\r]|\\.|\[(?:[^\]\\\n\r]|\\.)*\])+\/[\p{ID_Continue}$]*/uy;
const PUNCT = /=>|\+\+|--|\?\.(?!\d)|\.\.\.|[^]/y;

/** What an open bracket is, for what its closing one means. */
type Bracket = "block" | "object" | "template" | "group" | "condition" | "index";

/** Reads the tokens of `source`. Text that is not JavaScript yields tokens too: the runtime judges the syntax. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  const open: Bracket[] = [];
  let at = source.startsWith("#!") ? source.search(/[\n\r]|$/) : 0;
  let closed: Bracket = "block";

  const endOf = (pattern: RegExp): number => matchEnd(pattern, source, at);
  const push = (kind: TokenKind, end: number): void => {
    const bare = kind === "template" || kind === "regex";
    tokens.push({ kind, start: at, end, text: bare ? "" : source.slice(at, end) });
    at = end;
  };
  const pushTemplate = (): void => {
    const end = templateEnd(source, at + 1);
    if (source[end - 1] === "{") open.push("template");
    push("template", end);
  };
  const endsTemplate = (token: Token): boolean => source[token.end - 1] === "`";
  /** The previous token when it is a keyword, and not a member's name. */
  const keyword = (): string | undefined => {
    const last = tokens.at(-1);
    const before = tokens.at(-2)?.text;
    return last?.kind === "name" && before !== "." && before !== "?." ? last.text : undefined;
  };
  /** Whether the previous token ends an operand, so that `/` divides. */
  const afterOperand = (): boolean => {
    const last = tokens.at(-1);
    if (!last) return false;
    if (last.kind === "name") return !OPERATORS.has(keyword() ?? "");
    if (last.kind === "template") return endsTemplate(last);
    if (last.kind !== "punct") return true;
    if (last.text === ")") return closed === "group";
    if (last.text === "}") return closed === "object";
    return ["]", "++", "--"].includes(last.text);
  };
  const braceKind = (): Bracket => {
    const last = tokens.at(-1);
    if (!last) return "block";
    if (last.kind === "name") {
      const word = keyword() ?? "";
      return OPERATORS.has(word) && word !== "else" && word !== "do" ? "object" : "block";
    }
    if (last.kind === "template") return endsTemplate(last) ? "block" : "object";
    if (last.kind !== "punct") return "block";
    if (last.text === ":") return open.length === 0 || open.at(-1) === "block" ? "block" : "object";
    return [")", ";", "{", "}", "=>", "]"].includes(last.text) ? "block" : "object";
  };
  const groupKind = (): Bracket => {
    const word = keyword();
    const condition = word === "await" ? tokens.at(-2)?.text === "for" : CONDITIONS.has(word ?? "");
    return condition ? "condition" : "group";
  };

  for (at = spaceEnd(source, at); at < source.length; at = spaceEnd(source, at)) {
    const char = source[at]!;
    const name = nameEnd(source, at);
    if (name > at) {
      push("name", name);
    } else if (char === '"' || char === "'") {
      push("string", stringEnd(source, at));
    } else if (char === "`") {
      pushTemplate();
    } else if (char === "." || (char >= "0" && char <= "9")) {
      const number = endOf(NUMBER);
      if (number > 0) push("number", number);
      else push("punct", endOf(PUNCT));
    } else if (char === "#" && nameEnd(source, at + 1) > at + 1) {
      push("private", nameEnd(source, at + 1));
    } else if (char === "/" && !afterOperand() && endOf(REGEX) > 0) {
      push("regex", endOf(REGEX));
    } else if (char === "(" || char === "{" || char === "[") {
      open.push(char === "{" ? braceKind() : char === "(" ? groupKind() : "index");
      push("punct", at + 1);
    } else if (char === ")" || char === "}" || char === "]") {
      closed = open.pop() ?? "block";
      if (char === "}" && closed === "template") pushTemplate();
      else push("punct", at + 1);
    } else {
      push("punct", endOf(PUNCT));
    }
  }
  return tokens;
}

function matchEnd(pattern: RegExp, source: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(source) ? pattern.lastIndex : -1;
}

// By hand where a pattern would be slow, or run out of stack in a string of megabytes.

/** Skips blanks and comments. */
function spaceEnd(source: string, start: number): number {
  let at = start;
  for (;;) {
    const char = source.charCodeAt(at);
    if (char === 0x20 || (char >= 0x09 && char <= 0x0d)) {
      at++;
    } else if (char === 0x2f && source[at + 1] === "/") {
      while (at < source.length && !isLineEnd(source.charCodeAt(at))) at++;
    } else if (char === 0x2f && source[at + 1] === "*") {
      const end = source.indexOf("*/", at + 2);
      at = end < 0 ? source.length : end + 2;
    } else if (char >= 0x80 && /\s/.test(source[at]!)) {
      at++;
    } else {
      return at;
    }
  }
}

/** End of the name at `start`; `start` itself if there is none. */
function nameEnd(source: string, start: number): number {
  let at = start;
  for (;; at++) {
    const char = source.charCodeAt(at);
    const isLetter = (char >= 0x61 && char <= 0x7a) || (char >= 0x41 && char <= 0x5a) ||
      char === 0x24 || char === 0x5f;
    if (isLetter || (at > start && char >= 0x30 && char <= 0x39)) continue;
    // Anything but ASCII, and escapes, are left to the pattern.
    return char >= 0x80 || char === 0x5c ? Math.max(matchEnd(NAME, source, start), start) : at;
  }
}

function stringEnd(source: string, start: number): number {
  const quote = source[start];
  for (let at = start + 1; at < source.length; at++) {
    const char = source[at];
    if (char === quote) return at + 1;
    if (char === "\n" || char === "\r") return at; // unterminated
    if (char === "\\") at += source.startsWith("\r\n", at + 1) ? 2 : 1;
  }
  return source.length;
}

/** End of a template's part: behind its closing mark, or behind the opening of a substitution. */
function templateEnd(source: string, start: number): number {
  for (let at = start; at < source.length; at++) {
    const char = source[at];
    if (char === "`") return at + 1;
    if (char === "$" && source[at + 1] === "{") return at + 2;
    if (char === "\\") at++;
  }
  return source.length;
}

function isLineEnd(char: number): boolean {
  return char === 0x0a || char === 0x0d || char === 0x2028 || char === 0x2029;
}
