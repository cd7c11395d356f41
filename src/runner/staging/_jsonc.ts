/** Reads JSON with comments and trailing commas, as `deno.json` may have them. Throws what `JSON.parse` throws. */
export function parseJsonc(text: string): unknown {
  // Blanks instead of comments, so that positions in messages stay true.
  const blank = (match: string) => match.replace(/[^\n]/g, " ");
  const plain = text.replace(
    /("(?:[^"\\]|\\.)*")|\/\/[^\n]*|\/\*[^]*?\*\//g,
    (match, string) => string ?? blank(match),
  );
  return JSON.parse(
    plain.replace(/("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])/g, (_, string) => string ?? " "),
  );
}

/** What a message of `JSON.parse` says, without the place. */
export function jsonErrorReason(error: Error): string {
  return error.message.replace(/ at position \d+.*$/s, "");
}

/** The offset that a message of `JSON.parse` names; the end of the text when it names none. */
export function jsonErrorOffset(error: Error, text: string): number {
  const match = /at position (\d+)/.exec(error.message);
  return match ? Number(match[1]) : text.trimEnd().length;
}
