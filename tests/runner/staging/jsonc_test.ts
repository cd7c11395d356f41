import { assertEquals, assertThrows } from "@std/assert";
import {
  jsonErrorOffset,
  jsonErrorReason,
  parseJsonc,
} from "../../../src/runner/staging/_jsonc.ts";

Deno.test("parseJsonc() skips comments and trailing commas, not strings", () => {
  const text = `{ // "a": 0
  "a": "// no comment, /* neither */ ,]", /* , */
  "b\\"//": [1, 2, ],
}`;
  assertEquals(parseJsonc(text), { "a": "// no comment, /* neither */ ,]", 'b"//': [1, 2] });
});

Deno.test("jsonErrorOffset() finds the token that cannot stand there", async (t) => {
  const rows: [text: string, offset: number, reason: RegExp][] = [
    ['{"a": ]}', 6, /^Unexpected token '\]'$/],
    ['{"a" 1}', 5, /^Expected ':' after property name in JSON$/],
    ['{"a": 1 "b"}', 8, /^Expected ',' or '}' after property value in JSON$/],
    ['{"a": 1,}', 8, /^Expected double-quoted property name in JSON$/],
    ["[1, 2", 5, /^Expected ',' or '\]' after array element in JSON$/],
    ["[1 2]", 3, /^Expected ',' or '\]' after array element in JSON$/],
    ["[]]", 2, /^Unexpected non-whitespace character after JSON$/],
    ["  tru", 2, /^Unexpected token|^Unexpected end/],
    ["", 0, /^Unexpected end of JSON input$/],
    ['{"a": "\\x"}', 6, /^Bad escaped character in JSON$/],
    ['["abc\n]', 1, /^Bad control character in string literal in JSON$/],
    ["\n\n{'a': 1}", 3, /^Expected property name or '}' in JSON$/],
  ];
  for (const [text, offset, reason] of rows) {
    await t.step(JSON.stringify(text), () => {
      const error = assertThrows(() => JSON.parse(text), SyntaxError);
      assertEquals(jsonErrorOffset(text), offset);
      assertEquals(reason.test(jsonErrorReason(error)), true, jsonErrorReason(error));
    });
  }
});
