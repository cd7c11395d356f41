import { assertEquals, assertThrows } from "@std/assert";
import { bytes, formatBytes } from "../../src/values/mod.ts";

Deno.test("bytes() reads every documented unit", async (t) => {
  const rows: [number | string, number][] = [
    [0, 0],
    ["512", 512],
    ["512K", 524_288],
    ["64M", 67_108_864],
    ["64MiB", 67_108_864],
    ["2g", 2_147_483_648],
    ["1.5k", 1536],
  ];
  for (const [text, value] of rows) {
    await t.step(`${text} is ${value}`, () => assertEquals(bytes(text), value));
  }
});

Deno.test("bytes() refuses what is no size, naming it", async (t) => {
  for (const value of [-1, 1.5, NaN, "", "64 M", "64X", "M", "0.3", null, []]) {
    await t.step(JSON.stringify(value) ?? "undefined", () => {
      assertThrows(() => bytes(value as never, "memory"), RangeError, "as memory: expected");
    });
  }
});

Deno.test("formatBytes() writes sizes as people do", () => {
  assertEquals([0, 1023, 1536, 67_108_864].map(formatBytes), [
    "0 B",
    "1023 B",
    "1.5 KiB",
    "64 MiB",
  ]);
});
