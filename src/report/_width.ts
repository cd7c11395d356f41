/** Ranges of characters that take two columns of a terminal. */
const WIDE: readonly [number, number][] = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x1f300, 0x1faff],
  [0x20000, 0x3fffd],
];

function widthOf(char: string): number {
  const code = char.codePointAt(0)!;
  if (/\p{Mn}|\p{Me}|\p{Cf}/u.test(char)) return 0;
  return WIDE.some(([from, to]) => code >= from && code <= to) ? 2 : 1;
}

/** Cuts a line without escape sequences to a number of columns; an ellipsis shows the cut. */
export function cutToWidth(line: string, columns: number): string {
  let width = 0;
  let kept = "";
  let beforeLast = "";
  for (const char of line) {
    const next = width + widthOf(char);
    if (next > columns) return `${beforeLast}…`;
    if (next <= columns - 1) beforeLast = kept + char;
    kept += char;
    width = next;
  }
  return line;
}
