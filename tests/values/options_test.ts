import { assertEquals, assertThrows } from "@std/assert";
import { checkOptions, closest, type OptionKind } from "../../src/values/mod.ts";

const TABLE: Record<string, OptionKind> = {
  timeout: "duration",
  limit: "durationOrInfinity",
  memory: "size",
  sig: "signal",
  name: "string",
  count: "integer",
  ratio: "number",
  check: "boolean",
  args: "strings",
  env: "stringRecord",
  data: "bytes",
  signal: "abortSignal",
  fn: "function",
  mode: ["a", "b"],
  any: "any",
};

Deno.test("checkOptions() takes every right value, and undefined for a missing key", () => {
  checkOptions("f()", undefined, TABLE);
  checkOptions("f()", {
    timeout: "1s",
    limit: Infinity,
    memory: "64M",
    sig: "TERM",
    name: "",
    count: 3,
    ratio: 0.5,
    check: false,
    args: [],
    env: { A: "b" },
    data: new Uint8Array(0),
    signal: new AbortController().signal,
    fn: () => {},
    mode: "a",
    any: null,
  }, TABLE);
  checkOptions("f()", { timeout: undefined }, TABLE);
});

Deno.test("checkOptions() refuses the rest by name", async (t) => {
  const rows: [unknown, string][] = [
    [{ timout: 1 }, 'Unknown option "timout" for f(): did you mean "timeout"?'],
    [{ TIMEOUT: 1 }, 'did you mean "timeout"?'],
    [{ zzzzzz: 1 }, 'Unknown option "zzzzzz" for f(): expected "timeout", "limit"'],
    [{ toString: 1 }, 'Unknown option "toString"'],
    [3, "The options of f() must be an object, got number"],
    [null, "got null"],
    [[], "got array"],
    [{ timeout: "10" }, 'Cannot use "10" as timeout of f()'],
    [{ timeout: {} }, "Option timeout of f() must be a duration"],
    [{ timeout: Infinity }, "as timeout of f()"],
    [{ memory: "64X" }, 'Cannot use "64X" as memory of f()'],
    [{ sig: "BOGUS" }, '"BOGUS"'],
    [{ sig: {} }, "got object"],
    [{ name: 3 }, "Option name of f() must be a string, got 3"],
    [{ count: 1.5 }, "must be a whole number, got 1.5"],
    [{ ratio: NaN }, "must be a number, got NaN"],
    [{ check: "yes" }, 'must be true or false, got "yes"'],
    [{ args: "ls" }, "must be an array of strings"],
    [{ args: ["a", 1] }, "must be an array of strings"],
    [{ env: { A: 1 } }, "whose values are strings"],
    [{ data: [1] }, "must be a string or bytes, got array"],
    [{ signal: {} }, "must be an AbortSignal"],
    [{ fn: "x" }, "must be a function"],
    [{ mode: "c" }, 'must be "a" or "b", got "c"'],
  ];
  for (const [options, text] of rows) {
    await t.step(text, () => {
      const error = assertThrows(() => checkOptions("f()", options, TABLE), Error, text);
      assertEquals(error instanceof TypeError || error instanceof RangeError, true);
    });
  }
});

Deno.test("closest() finds what was meant, and nothing when nothing is near", () => {
  const names = ["timeout", "interval", "desc"];
  assertEquals(["timout", "tiemout", "intervall", "dsc"].map((word) => closest(word, names)), [
    "timeout",
    "timeout",
    "interval",
    "desc",
  ]);
  assertEquals(closest("memory", names), undefined);
});
