import { assertEquals, assertRejects } from "@std/assert";
import { codeFrame, LineIndex } from "../../../src/runner/staging/_position.ts";
import { transpile } from "../../../src/runner/staging/_transpile.ts";
import { StagingError } from "../../../src/runner/staging/mod.ts";

Deno.test("LineIndex finds line and column of an offset", () => {
  const lines = new LineIndex("ab\n\nc");
  assertEquals([0, 2, 3, 4, 5].map((offset) => lines.at(offset)), [
    { line: 0, column: 0 },
    { line: 0, column: 2 },
    { line: 1, column: 0 },
    { line: 2, column: 0 },
    { line: 2, column: 1 },
  ]);
});

Deno.test("codeFrame() keeps tabs, so that the caret stands right", () => {
  assertEquals(
    codeFrame("one\ntwo\n\tthree four\nfive\nsix\nseven\n", { line: 2, column: 7 }),
    [
      "  1 | one",
      "  2 | two",
      "> 3 | \tthree four",
      "    | \t      ^",
      "  4 | five",
      "  5 | six",
    ].join("\n"),
  );
});

Deno.test("transpile() names the column of a syntax error in UTF-16 units", async (t) => {
  const rows = [
    "",
    "\t",
    "\t\t",
    "/*日本*/",
    "/*😀*/",
    "/*e\u0301*/",
    "/*é*/",
    "/*👨‍👩‍👧*/",
    "/*\u0001*/",
  ];
  for (const before of rows) {
    await t.step(JSON.stringify(before), async () => {
      const text = `const a = 1;\n${before}let x: = 1;\n`;
      const error = await assertRejects(
        () => transpile({ url: "file:///a.ts", text, language: "typescript" }),
        StagingError,
      );
      assertEquals(error.site, { file: "file:///a.ts", line: 2, column: before.length + 8 });
    });
  }
});
