/** Uses every imported name with its exact type, so that JSR and the fallback stay alike. */
import * as asserts from "@std/assert";
import {
  assert,
  assertEquals,
  assertExists,
  assertFalse,
  assertInstanceOf,
  AssertionError,
  assertIsError,
  assertNotInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
  equal,
} from "@std/assert";
import { deadline, delay, retry, RetryError } from "@std/async";
import { parseArgs } from "@std/cli/parse-args";
import * as colors from "@std/fmt/colors";
import { decode, encode, type ValueMap, type ValueType } from "@std/msgpack";
import { transformSync } from "@swc/wasm-typescript";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;

/** Compiles only where both types are the same. */
function same<A, B>(_: Same<A, B>): void {}

Deno.test("@std/assert narrows what it has checked", () => {
  const text = "7" as unknown;
  assert(typeof text === "string");
  same<typeof text, string>(true);
  const maybe = "x" as string | undefined;
  assertExists(maybe);
  same<typeof maybe, string>(true);
  const flag = 0 as 0 | 1;
  assertFalse(flag);
  same<typeof flag, 0>(true);
  const value = new Uint8Array(2) as unknown;
  assertInstanceOf(value, Uint8Array);
  assertEquals(value.length, 2);
  const either = "a" as string | Date;
  assertNotInstanceOf(either, Date);
  same<typeof either, string>(true);
  const error = new RangeError("out") as unknown;
  assertIsError(error, RangeError, "out");
  same<typeof error, RangeError>(true);
  const fixed = 3 as unknown;
  assertStrictEquals(fixed, 3 as const);
  same<typeof fixed, 3>(true);
});

Deno.test("@std/assert hands on what was thrown", async () => {
  const thrown = assertThrows(() => asserts.fail("no"), AssertionError, "no");
  same<typeof thrown, AssertionError>(true);
  const rejected = await assertRejects(
    () => Promise.reject(new TypeError("bad")),
    TypeError,
    "bad",
  );
  same<typeof rejected, TypeError>(true);
  const anything = assertThrows(() => asserts.unreachable());
  same<typeof anything, unknown>(true);
  assertThrows(() => asserts.unimplemented("later"), AssertionError, "later");
  assertEquals(equal({ a: [1] }, { a: [1] }), true);
});

Deno.test("@std/assert accepts what holds and refuses what does not", async (t) => {
  const rows: [string, () => void, () => void][] = [
    [
      "assertAlmostEquals",
      () => asserts.assertAlmostEquals(1, 1.01, 0.1),
      () => asserts.assertAlmostEquals(1, 2),
    ],
    [
      "assertArrayIncludes",
      () => asserts.assertArrayIncludes([1, 2], [2]),
      () => asserts.assertArrayIncludes([1], [2]),
    ],
    ["assertGreater", () => asserts.assertGreater(2, 1), () => asserts.assertGreater(1, 1)],
    [
      "assertGreaterOrEqual",
      () => asserts.assertGreaterOrEqual(1, 1),
      () => asserts.assertGreaterOrEqual(0, 1),
    ],
    ["assertLess", () => asserts.assertLess(1, 2), () => asserts.assertLess(1, 1)],
    [
      "assertLessOrEqual",
      () => asserts.assertLessOrEqual(1, 1),
      () => asserts.assertLessOrEqual(2, 1),
    ],
    ["assertMatch", () => asserts.assertMatch("ab", /b$/), () => asserts.assertMatch("a", /b/)],
    [
      "assertNotMatch",
      () => asserts.assertNotMatch("a", /b/),
      () => asserts.assertNotMatch("b", /b/),
    ],
    ["assertNotEquals", () => asserts.assertNotEquals(1, 2), () => asserts.assertNotEquals(1, 1)],
    [
      "assertNotStrictEquals",
      () => asserts.assertNotStrictEquals(1, 2),
      () => asserts.assertNotStrictEquals(1, 1),
    ],
    [
      "assertObjectMatch",
      () => asserts.assertObjectMatch({ a: 1, b: 2 }, { a: 1 }),
      () => asserts.assertObjectMatch({ a: 1 }, { a: 2 }),
    ],
    [
      "assertStringIncludes",
      () => asserts.assertStringIncludes("ab", "b"),
      () => asserts.assertStringIncludes("ab", "c"),
    ],
  ];
  for (const [name, holds, fails] of rows) {
    await t.step(name, () => {
      holds();
      assertThrows(fails, AssertionError);
    });
  }
});

Deno.test("@std/async waits, gives up and tries again", async () => {
  const waited: void = await delay(1, { signal: new AbortController().signal });
  assertEquals(waited, undefined);
  const stopped = new AbortController();
  const late = delay(60_000, { signal: stopped.signal });
  const error = await assertRejects(() => deadline(late, 1), DOMException);
  assertEquals(error.name, "TimeoutError");
  stopped.abort(new RangeError("enough"));
  await assertRejects(() => late, RangeError, "enough");
  let calls = 0;
  const result = await retry(() => ++calls < 3 ? Promise.reject(new Error("no")) : calls, {
    minTimeout: 1,
    jitter: 0,
  });
  same<typeof result, number>(true);
  assertEquals(result, 3);
  await assertRejects(
    () => retry(() => Promise.reject(new Error("no")), { maxAttempts: 1 }),
    RetryError,
  );
});

Deno.test("parseArgs() types flags by their lists", () => {
  const args = parseArgs(["--name", "x", "-v", "--tag=a", "--tag=b", "rest", "--", "-v"], {
    string: ["name", "tag", "mode"],
    boolean: ["verbose"],
    collect: ["tag"],
    alias: { verbose: "v" },
    default: { mode: "fast" },
    "--": true,
  });
  const name: string | undefined = args.name;
  const mode: string = args.mode;
  const verbose: boolean = args.verbose;
  const tags: string[] = args.tag;
  const literal: string[] = args["--"];
  assertEquals([name, mode, verbose, tags, literal, args._], [
    "x",
    "fast",
    true,
    ["a", "b"],
    ["-v"],
    ["rest"],
  ]);
});

Deno.test("@std/fmt colours only when asked to", () => {
  const before: boolean = colors.getColorEnabled();
  try {
    colors.setColorEnabled(true);
    const painted: string = [colors.red, colors.green, colors.yellow, colors.cyan, colors.gray]
      .reduce((text, paint) => paint(text), colors.bold(colors.dim("x")));
    assertEquals(painted === "x", Deno.noColor);
    assertEquals(colors.stripAnsiCode(painted), "x");
    assertEquals(colors.stripAnsiCode(colors.rgb24("y", { r: 1, g: 2, b: 3 })), "y");
    colors.setColorEnabled(false);
    assertEquals(colors.red("x"), "x");
  } finally {
    colors.setColorEnabled(before);
  }
});

Deno.test("@std/msgpack keeps values and types", () => {
  const value: ValueMap = {
    n: -1,
    big: 2n ** 40n,
    s: "é",
    b: new Uint8Array([1]),
    l: [null, true],
  };
  const bytes = encode(value);
  same<typeof bytes, Uint8Array<ArrayBuffer>>(true);
  const back: ValueType = decode(bytes);
  assertEquals(back, value);
});

Deno.test("@swc/wasm-typescript turns TypeScript into JavaScript with a source map", () => {
  const output = transformSync("enum A { B }\nlet x: A = A.B;", {
    mode: "transform",
    sourceMap: true,
  });
  const code: string = output.code;
  asserts.assertNotMatch(code, /: A|enum/);
  asserts.assertStringIncludes(output.map ?? "", "mappings");
});
