import { assert, assertStringIncludes } from "@std/assert";
import "../../src/mod.ts";
import { checkOptions, OPTION_TABLES, type OptionKind } from "../../src/values/mod.ts";

/** Values that each kind of option must refuse. */
const WRONG: Record<string, unknown[]> = {
  string: [5, {}],
  boolean: ["yes", 1],
  number: ["5", NaN],
  integer: [1.5, "5"],
  duration: ["10 s", "10", -1, NaN, {}],
  durationOrInfinity: ["10 s", "10", -1, NaN, {}],
  size: ["5 X", -1, {}],
  signal: [{}, "BOGUS", 0],
  abortSignal: [{}, 5],
  function: [5, {}],
  object: [5, []],
  array: [{}, "x"],
  strings: [[5], "x"],
  stringRecord: [{ a: 1 }, []],
  bytes: [5, {}],
  path: [5, {}],
};
/** Values of which a check of its own must refuse at least one. */
const ODD: unknown[] = [{ bogus: 1 }, "\0", -1.5, NaN, [{}], () => {}];

function misuses(kind: OptionKind): unknown[] {
  if (typeof kind === "string") return WRONG[kind] ?? [];
  return typeof kind === "function" ? ODD : ["§", {}];
}

function attempt(call: string, key: string, value: unknown): Error | undefined {
  try {
    checkOptions(call, { [key]: value }, OPTION_TABLES.get(call)!);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

Deno.test("every option of every call refuses wrong values by name", async (t) => {
  assert(OPTION_TABLES.size > 40, `only ${OPTION_TABLES.size} calls have options`);
  for (const [call, table] of OPTION_TABLES) {
    await t.step(call, () => {
      for (const [key, kind] of Object.entries(table)) {
        if (kind === "any") continue;
        const errors = misuses(kind).map((value) => attempt(call, key, value));
        const all = typeof kind !== "function";
        const refused = errors.filter((error) => error !== undefined);
        assert(
          all ? refused.length === errors.length : refused.length > 0,
          `${call} takes anything as ${key}`,
        );
        for (const error of refused) {
          assert(error instanceof TypeError || error instanceof RangeError, String(error));
        }
      }
    });
  }
});

Deno.test("every call refuses an unknown option, and names it", async (t) => {
  for (const [call, table] of OPTION_TABLES) {
    await t.step(call, () => {
      const error = attempt(call, "bogusKey", 1)!;
      assert(error instanceof TypeError);
      assertStringIncludes(error.message, `Unknown option "bogusKey" for ${call}`);
      for (const key of Object.keys(table).filter((key) => key.length > 4)) {
        const typo = key.slice(0, -2) + key.at(-1) + key.at(-2);
        if (Object.hasOwn(table, typo)) continue;
        assertStringIncludes(attempt(call, typo, 1)!.message, "did you mean");
      }
    });
  }
});
