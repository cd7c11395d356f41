/** Reads JSON with comments and trailing commas, as `deno.json` may have them. Throws what `JSON.parse` throws. */
export function parseJsonc(text: string): unknown {
  return JSON.parse(plainJson(text));
}

/** The same text with blanks for comments and trailing commas, so that offsets stay true. */
export function plainJson(text: string): string {
  const blank = (match: string) => match.replace(/[^\n]/g, " ");
  const plain = text.replace(
    /("(?:[^"\\]|\\.)*")|\/\/[^\n]*|\/\*[^]*?\*\//g,
    (match, string) => string ?? blank(match),
  );
  return plain.replace(/("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])/g, (_, string) => string ?? " ");
}

/** What an error of `JSON.parse` says, without the place and the text, which it names only at times. */
export function jsonErrorReason(error: Error): string {
  return error.message.replace(/(?: at position \d+|, (?:\.\.\.)?").*$/s, "");
}

const TOKEN =
  /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[{}[\],:]/uy;

/** Offset of the first token that cannot stand where it does; the end of the text if something is missing there. */
export function jsonErrorOffset(text: string): number {
  const open: string[] = [];
  let need: "value" | "value or end" | "key" | "key or end" | "colon" | "after" = "value";
  for (let at = 0;;) {
    at += text.slice(at).search(/\S|$/);
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[0];
    if (token === undefined) return Math.min(at, text.trimEnd().length);
    const inObject = open.at(-1) === "{";
    const closes = token === (inObject ? "}" : "]") && open.length > 0;
    if (closes && (need === "after" || need.endsWith("end"))) {
      open.pop();
      need = "after";
    } else if (need === "after") {
      if (token !== "," || open.length === 0) return at;
      need = inObject ? "key" : "value";
    } else if (need === "colon") {
      if (token !== ":") return at;
      need = "value";
    } else if (need.startsWith("key")) {
      if (!token.startsWith('"')) return at;
      need = "colon";
    } else if (token === "{" || token === "[") {
      open.push(token);
      need = token === "{" ? "key or end" : "value or end";
    } else {
      if ("}],:".includes(token)) return at;
      need = "after";
    }
    at += token.length;
  }
}
