/**
 * Lines, columns and code frames.
 *
 * @module
 */

/** A place in a text, both from 0. */
export interface Position {
  line: number;
  column: number;
}

/** Turns offsets of one text into lines and columns. */
export class LineIndex {
  readonly #starts: number[] = [0];

  constructor(text: string) {
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) {
      this.#starts.push(at + 1);
    }
  }

  /** How many lines there are. */
  get count(): number {
    return this.#starts.length;
  }

  /** The place of an offset. */
  at(offset: number): Position {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low, column: offset - this.#starts[low]! };
  }
}

/** The lines around a place, with a caret under it. */
export function codeFrame(text: string, { line, column }: Position, around = 2): string {
  const lines = text.trimEnd().split(/\r?\n/);
  const first = Math.max(0, line - around);
  const last = Math.min(lines.length - 1, line + around);
  const width = String(last + 1).length;
  const rows: string[] = [];
  for (let i = first; i <= last; i++) {
    const mark = i === line ? ">" : " ";
    rows.push(`${mark} ${String(i + 1).padStart(width)} | ${lines[i]}`.trimEnd());
    if (i !== line) continue;
    // Tabs stay, so that the caret stands right whatever their width is.
    const indent = lines[i]!.slice(0, column).replace(/[^\t]/g, " ");
    rows.push(`  ${" ".repeat(width)} | ${indent}^`);
  }
  return rows.join("\n");
}

const ZERO_WIDTH = /[\p{Mn}\p{Me}\p{Cf}\p{Cc}]/u;
const WIDE =
  /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]/u;

/** The column (UTF-16 units) that swc means: it counts a tab as four, wide characters one more, marks as none. */
export function columnOfDisplay(line: string, display: number): number {
  let column = 0;
  let shown = 0;
  for (const char of line) {
    if (shown >= display) break;
    const extra = char === "\t" ? 3 : WIDE.test(char) ? 1 : ZERO_WIDTH.test(char) ? -1 : 0;
    shown += char.length + extra;
    column += char.length;
  }
  return column;
}
