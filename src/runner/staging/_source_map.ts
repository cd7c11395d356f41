/**
 * Reads and writes the `mappings` of source maps (version 3), for maps with one source.
 *
 * @module
 */

/** Columns and lines count from 0: generated column, original line, original column. */
export type Segment = readonly [column: number, line: number, originalColumn: number];

/** The segments of each generated line, in the order of their columns. */
export type Mappings = Segment[][];

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUES = new Int8Array(128).fill(-1);
for (let value = 0; value < DIGITS.length; value++) VALUES[DIGITS.charCodeAt(value)] = value;
const COMMA = ",".charCodeAt(0);
const SEMICOLON = ";".charCodeAt(0);

/** Decodes the `mappings` field of a map with one source, or its first `count` lines. */
export function decodeMappings(text: string, count = Infinity): Mappings {
  const lines: Mappings = [[]];
  let column = 0;
  let line = 0;
  let originalColumn = 0;
  let field = 0;
  let value = 0;
  let shift = 0;
  // One pass that allocates nothing but the result: this runs before anything is compiled.
  for (let at = 0; at <= text.length; at++) {
    const char = at < text.length ? text.charCodeAt(at) : SEMICOLON;
    if (char === COMMA || char === SEMICOLON) {
      if (field >= 4) lines[lines.length - 1]!.push([column, line, originalColumn]);
      field = 0;
      if (char === SEMICOLON && at < text.length) {
        if (lines.length >= count) break;
        lines.push([]);
        column = 0;
      }
      continue;
    }
    const digit = char < 128 ? VALUES[char]! : -1;
    if (digit < 0) throw new SyntaxError(`Cannot read source map: bad digit at ${at}`);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    const number = value & 1 ? -(value >>> 1) : value >>> 1;
    if (field === 0) column += number;
    else if (field === 2) line += number;
    else if (field === 3) originalColumn += number;
    field++;
    value = 0;
    shift = 0;
  }
  return lines;
}

/** Encodes segments as a `mappings` field. */
export function encodeMappings(lines: Mappings): string {
  let line = 0;
  let original = 0;
  const rows = lines.map((segments) => {
    let column = 0;
    return segments.map((segment) => {
      const fields = vlq(segment[0] - column) + "A" + vlq(segment[1] - line) +
        vlq(segment[2] - original);
      [column, line, original] = segment;
      return fields;
    }).join(",");
  });
  return rows.join(";");
}

/** The original position of a generated one (both from 0), by the nearest segment before it. */
export function lookUp(
  mappings: Mappings,
  line: number,
  column: number,
): { line: number; column: number } | undefined {
  const segments = mappings[line] ?? [];
  const found = segments.findLast((segment) => segment[0] <= column) ?? segments[0];
  return found && { line: found[1], column: found[2] };
}

/** What stands behind a column of a generated line is elsewhere now. */
export interface Move {
  line: number;
  column: number;
  delta: number;
}

/** Moves the segments that lie at or behind each move's column, on its line. Columns are those from before. */
export function moveColumns(text: string, moves: readonly Move[]): string {
  if (moves.length === 0) return text;
  const rows = text.split(";");
  const lines = Map.groupBy(moves, ({ line }) => line);
  for (const [line, onLine] of lines) {
    let column = 0;
    // Columns are written as differences, so that a move changes the first segment behind it alone.
    let pending = onLine.toSorted((a, b) => a.column - b.column);
    const segments = (rows[line] ?? "").split(",").map((segment) => {
      const end = segment.search(/[A-Za-f]/) + 1; // the first digit without continuation
      const step = decodeMappings(segment.slice(0, end) + "AAA")[0]![0]?.[0] ?? 0;
      column += step;
      const passed = pending.filter((move) => move.column <= column);
      pending = pending.slice(passed.length);
      const delta = passed.reduce((sum, move) => sum + move.delta, 0);
      return delta === 0 ? segment : vlq(step + delta) + segment.slice(end);
    });
    rows[line] = segments.join(",");
  }
  return rows.join(";");
}

function vlq(value: number): string {
  let rest = value < 0 ? (-value << 1) | 1 : value << 1;
  let text = "";
  do {
    const digit = rest & 31;
    rest >>>= 5;
    text += DIGITS[rest > 0 ? digit | 32 : digit];
  } while (rest > 0);
  return text;
}
