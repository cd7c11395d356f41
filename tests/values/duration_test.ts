import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { DurationError, formatSeconds, milliseconds, seconds } from "../../src/values/mod.ts";

Deno.test("seconds() reads every documented form (jobs #86)", async (t) => {
  const rows: [number | string, number][] = [
    [0, 0],
    [1.5, 1.5],
    ["250ms", 0.25],
    ["10s", 10],
    ["2m", 120],
    ["1h", 3600],
    ["1m30s", 90],
    ["1h0m5s", 3605],
    ["0.5s", 0.5],
  ];
  for (const [text, value] of rows) {
    await t.step(`${text} is ${value} s`, () => assertEquals(seconds(text), value));
  }
});

Deno.test("seconds() refuses what is no duration, naming it and the accepted forms (jobs #86)", async (t) => {
  const rows = [
    -1,
    NaN,
    Infinity,
    "",
    "10",
    "10 s",
    "5x",
    "s",
    "-5s",
    "1s1m",
    "1e3s",
    "١s",
    null,
    {},
    true,
  ];
  for (const value of rows) {
    await t.step(JSON.stringify(value) ?? "undefined", () => {
      const error = assertThrows(() => seconds(value as never), DurationError);
      assertStringIncludes(error.message, '"1m30s"');
      if (typeof value === "string") assertStringIncludes(error.message, JSON.stringify(value));
    });
  }
});

Deno.test("seconds() takes Infinity only where stated, and names the option", () => {
  assertEquals(seconds(Infinity, { infinite: true }), Infinity);
  assertThrows(
    () => seconds("x", { name: "grace of kill()" }),
    DurationError,
    "as grace of kill()",
  );
});

Deno.test("milliseconds() never rounds down", () => {
  assertEquals([0.3, "250ms", 0.0001, 1.0005].map((value) => milliseconds(value)), [
    300,
    250,
    1,
    1001,
  ]);
});

Deno.test("formatSeconds() writes durations as people do", () => {
  assertEquals([0.25, 1.5, 12.34, 60, 125].map(formatSeconds), [
    "250 ms",
    "1.5 s",
    "12.3 s",
    "1 min",
    "2 min 5 s",
  ]);
});
