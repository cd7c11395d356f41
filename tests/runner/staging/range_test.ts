import { assertEquals } from "@std/assert";
import { satisfies } from "../../../src/runner/staging/_range.ts";

Deno.test("satisfies() reads the ranges of specifiers", async (t) => {
  const rows: [version: string, range: string, expected: boolean][] = [
    ["1.0.19", "1", true],
    ["1.0.19", "1.0", true],
    ["1.0.19", "1.1", false],
    ["1.0.19", "1.0.19", true],
    ["1.0.19", "=1.0.18", false],
    ["1.0.19", "^1.0.3", true],
    ["1.0.19", "^1.0.20", false],
    ["1.0.19", "^2", false],
    ["1.0.19", "~1.0.3", true],
    ["1.1.0", "~1.0.3", false],
    ["1.9.0", "~1", true],
    ["0.2.5", "^0.2.3", true],
    ["0.3.0", "^0.2.3", false],
    ["0.0.4", "^0.0.3", false],
    ["0.5.0", "^0", true],
    ["1.0.19", "*", true],
    ["1.0.19", "1.x", true],
    ["1.0.19", "", true],
    ["1.0.19", "latest", true],
    ["1.5.0", ">=1.2 <2", true],
    ["1.5.0", ">= 1.2 < 1.5", false],
    ["1.5.0", ">1.5", false],
    ["1.5.0", "<=1.5", true],
    ["2.1.0", "1 || 2", true],
    ["3.0.0", "1 || 2", false],
    ["1.0.19", "v1.0.19", true],
    ["1.0.19", "banana", false],
  ];
  for (const [version, range, expected] of rows) {
    await t.step(`${version} in "${range}" is ${expected}`, () => {
      assertEquals(satisfies(version, range), expected);
    });
  }
});
