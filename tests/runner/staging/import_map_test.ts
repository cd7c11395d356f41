import { assertEquals } from "@std/assert";
import { ImportMap } from "../../../src/runner/staging/_import_map.ts";

const MAP = new ImportMap({
  imports: {
    "lib": "./src/lib.ts",
    "lib/": "./src/",
    "lib/special/": "./special/",
    "@std/assert": "jsr:@std/assert@^1",
    "zod": "npm:zod@3",
    "./old.ts": "./new.ts",
  },
  scopes: {
    "./vendor/": { "lib": "./vendor/lib.ts" },
    "./vendor/deep/": { "lib": "./deeper.ts" },
  },
}, "file:///p/deno.json");

Deno.test("ImportMap resolves as the web does, and below packages as Deno does", async (t) => {
  const rows: [specifier: string, importer: string, target: string, mapped: boolean][] = [
    ["lib", "file:///p/t/a.ts", "file:///p/src/lib.ts", true],
    ["lib/x/y.ts", "file:///p/t/a.ts", "file:///p/src/x/y.ts", true],
    ["lib/special/y.ts", "file:///p/t/a.ts", "file:///p/special/y.ts", true],
    ["lib", "file:///p/vendor/a.ts", "file:///p/vendor/lib.ts", true],
    ["lib", "file:///p/vendor/deep/a.ts", "file:///p/deeper.ts", true],
    ["@std/assert", "file:///p/a.ts", "jsr:@std/assert@^1", true],
    ["@std/assert/equals", "file:///p/a.ts", "jsr:/@std/assert@^1/equals", true],
    ["zod/v4", "file:///p/a.ts", "npm:/zod@3/v4", true],
    ["./old.ts", "file:///p/a.ts", "file:///p/new.ts", true],
    ["../old.ts", "file:///p/t/a.ts", "file:///p/new.ts", true],
    ["./other.ts", "file:///p/t/a.ts", "file:///p/t/other.ts", false],
    ["unknown", "file:///p/a.ts", "unknown", false],
    ["node:fs", "file:///p/a.ts", "node:fs", false],
  ];
  for (const [specifier, importer, target, mapped] of rows) {
    await t.step(`"${specifier}" in ${importer}`, () => {
      assertEquals(MAP.resolve(specifier, importer), { target, mapped });
    });
  }
});
