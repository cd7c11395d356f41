import { assertEquals, assertThrows } from "@std/assert";
import {
  decodeMappings,
  encodeMappings,
  lookUp,
  type Mappings,
  moveColumns,
} from "../../../src/runner/staging/_source_map.ts";

const MAPPINGS: Mappings = [
  [],
  [[0, 0, 0], [4, 0, 8], [20, 1, 2]],
  [],
  [[2, 100_000, 70_000], [9, 3, 0]],
];

Deno.test("decodeMappings() reads what encodeMappings() writes", () => {
  assertEquals(decodeMappings(encodeMappings(MAPPINGS)), MAPPINGS);
  assertEquals(encodeMappings([[[0, 0, 16]]]), "AAAgB");
});

Deno.test("decodeMappings() reads no more lines than asked for", () => {
  assertEquals(decodeMappings(encodeMappings(MAPPINGS), 2), MAPPINGS.slice(0, 2));
});

Deno.test("decodeMappings() skips segments without a source, and names", () => {
  assertEquals(decodeMappings("A,CAACA,C"), [[[1, 0, 1]]]);
});

Deno.test("decodeMappings() refuses what is no mapping", () => {
  assertThrows(() => decodeMappings("AA*A"), SyntaxError, "bad digit at 2");
});

Deno.test("lookUp() takes the nearest segment before a column", async (t) => {
  const rows: [line: number, column: number, expected: ReturnType<typeof lookUp>][] = [
    [1, 0, { line: 0, column: 0 }],
    [1, 3, { line: 0, column: 0 }],
    [1, 19, { line: 0, column: 8 }],
    [3, 0, { line: 100_000, column: 70_000 }],
    [0, 5, undefined],
    [9, 0, undefined],
  ];
  for (const [line, column, expected] of rows) {
    await t.step(`${line}:${column}`, () => assertEquals(lookUp(MAPPINGS, line, column), expected));
  }
});

Deno.test("moveColumns() moves what lies behind, on the same line only", () => {
  const moved = moveColumns(encodeMappings(MAPPINGS), [
    { line: 1, column: 10, delta: -3 },
    { line: 1, column: 4, delta: 5 },
    { line: 3, column: 50, delta: 7 },
  ]);
  assertEquals(decodeMappings(moved), [
    [],
    [[0, 0, 0], [9, 0, 8], [22, 1, 2]],
    [],
    [[2, 100_000, 70_000], [9, 3, 0]],
  ]);
});
