import { assertStrictEquals, assertThrows } from "@std/assert";
import { refuseDenoTests, StagingError } from "../../../src/runner/staging/mod.ts";

Deno.test("refuseDenoTests() can be undone", () => {
  const { test, bench } = Deno;
  {
    using _refusal = refuseDenoTests();
    assertThrows(() => Deno.test("x", () => {}), StagingError, "Cannot run `Deno.test()`");
    assertThrows(() => Deno.test.ignore("x", () => {}), StagingError, "`Deno.test.ignore()`");
  }
  assertStrictEquals(Deno.test, test);
  assertStrictEquals(Deno.bench, bench);
});
