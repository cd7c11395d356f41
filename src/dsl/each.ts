/** The name of a row: `%s %d %j %#` and `{field}` are filled in; a template without any gets the input appended. */
export function rowName(template: string, row: unknown, index: number): string {
  const args = Array.isArray(row) ? row : [row];
  let next = 0;
  let filled = false;
  const name = template.replace(/%([sdj#%])|\{([\w$.]+)\}/g, (whole, letter, field) => {
    if (letter === "%") return "%";
    if (field !== undefined) {
      const value = fieldOf(row, field);
      if (value === MISSING) return whole;
      filled = true;
      return text(value);
    }
    filled = true;
    if (letter === "#") return String(index);
    const value = args[next++];
    if (letter === "j") return json(value);
    return letter === "d" ? String(Number(value)) : text(value);
  });
  return filled ? name : `${name} (${args.map(json).join(", ")})`;
}

const MISSING = Symbol("missing");

function fieldOf(row: unknown, path: string): unknown {
  let value: unknown = row;
  for (const key of path.split(".")) {
    if (value === null || typeof value !== "object" || !(key in value)) return MISSING;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : json(value);
}

function json(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    const isPlain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
    if (isPlain) {
      try {
        return JSON.stringify(value, (_, item) => typeof item === "bigint" ? `${item}n` : item);
      } catch {
        // A cycle: shown as the inspector does.
      }
    }
    return Deno.inspect(value, { depth: 3, compact: true, breakLength: Infinity });
  }
  if (typeof value === "string") return JSON.stringify(value);
  return Deno.inspect(value);
}
