import { assertEquals } from "@std/assert";
import { tokenize } from "../../../src/runner/staging/_tokens.ts";

/** Tokens as text, with what the tokenizer keeps no text of taken from the source. */
function texts(source: string): string[] {
  return tokenize(source).map(({ start, end }) => source.slice(start, end));
}

Deno.test("tokenize() tells regular expressions from divisions", async (t) => {
  const rows: [string, string[]][] = [
    ["a / b / c", []],
    ["(a) / b / c", []],
    ["a[0] / b / c", []],
    ["x = /b/g", ["/b/g"]],
    ["return /[/]'/.test(a)", ["/[/]'/"]],
    ["a.return / b / c", []],
    ["if (a) /b'/.test(c)", ["/b'/"]],
    ["for await (a of b) /c'/.test(d)", ["/c'/"]],
    ["while (/a'/.test(b)) c / d", ["/a'/"]],
    ["i++ / 2 / 1", []],
    ["x = {} / 2 / 1", []],
    ["f(() => {}); {} /a'/.test(b)", ["/a'/"]],
    ["else {} /a'/.test(b)", ["/a'/"]],
    ["`${a / b}` / c / d", []],
    ["case /a'/.test(b): c", ["/a'/"]],
    ["/\\/[\\]/'](?<n>x)/v", ["/\\/[\\]/'](?<n>x)/v"]],
    ["typeof /a'/", ["/a'/"]],
  ];
  for (const [source, expected] of rows) {
    await t.step(source, () => {
      const found = tokenize(source).filter(({ kind }) => kind === "regex");
      assertEquals(found.map(({ start, end }) => source.slice(start, end)), expected);
    });
  }
});

Deno.test("tokenize() sees no code in strings, comments and templates", async (t) => {
  const rows: [string, string[]][] = [
    ["'import(1)' /* import(2) */ // import(3)\nx", ["'import(1)'", "x"]],
    ['"a\\"b" c', ['"a\\"b"', "c"]],
    ["`a ${b + `c ${d}` + '}'} e` f", [
      "`a ${",
      "b",
      "+",
      "`c ${",
      "d",
      "}`",
      "+",
      "'}'",
      "} e`",
      "f",
    ]],
    ["`\\`${'`'}\\${`", ["`\\`${", "'`'", "}\\${`"]],
    ["#!/usr/bin/env 'deno\nx", ["x"]],
    ["'a\\\r\nb' c", ["'a\\\r\nb'", "c"]],
    ["this.#x?.y", ["this", ".", "#x", "?.", "y"]],
    ["a?.5:1n", ["a", "?", ".5", ":", "1n"]],
    ["été\\u0061 + 0x1F_n", ["été\\u0061", "+", "0x1F_n"]],
  ];
  for (const [source, expected] of rows) {
    await t.step(JSON.stringify(source), () => assertEquals(texts(source), expected));
  }
});

Deno.test("tokenize() comes to an end on text that is not JavaScript", async (t) => {
  for (const source of ["'abc", "`abc ${", "/* abc", "/abc", "\\", "#", "}})", "\u{1f600}@"]) {
    await t.step(JSON.stringify(source), () => {
      assertEquals(tokenize(source).at(-1)?.end ?? source.length, source.length);
    });
  }
});

Deno.test("tokenize() reads a string of megabytes", () => {
  const literal = `"${"\\x41b".repeat(1_000_000)}"`;
  assertEquals(texts(`${literal};\`${literal}\``).map(({ length }) => length), [
    literal.length,
    1,
    literal.length + 2,
  ]);
});
