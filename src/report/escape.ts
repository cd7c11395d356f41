/** Shows control characters as `\x1b`, so that nothing which a guest wrote can steer a terminal. Line feeds stay. */
export function escapeControl(text: string): string {
  // deno-lint-ignore no-control-regex -- what is to be replaced; U+202A-E and U+2066-9 turn text around
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, (char) => {
    const code = char.charCodeAt(0);
    if (char === "\r") return "\\r";
    return code > 0xff
      ? `\\u${code.toString(16).padStart(4, "0")}`
      : `\\x${code.toString(16).padStart(2, "0")}`;
  });
}

/** The same on one line. */
export function escapeLine(text: string): string {
  return escapeControl(text).replaceAll("\n", "\\n");
}

/**
 * Text for XML: markup is escaped, and shown as `\x00` is what XML 1.0 cannot hold or discourages, and what turns the text
 * around that follows it in a browser.
 */
export function escapeXml(text: string): string {
  const valid = text.toWellFormed().replace(
    // deno-lint-ignore no-control-regex -- the characters that are to be replaced
    /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g,
    (char) => {
      const code = char.charCodeAt(0);
      return code > 0xff
        ? `\\u${code.toString(16).padStart(4, "0")}`
        : `\\x${code.toString(16).padStart(2, "0")}`;
    },
  );
  return valid.replace(/[&<>"'\r]/g, (char) => XML[char]!);
}

const XML: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&apos;",
  // A parser would turn a bare carriage return into a line feed.
  "\r": "&#13;",
};
