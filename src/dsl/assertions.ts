import * as std from "@std/assert";
import { runTolerant } from "../scope/mod.ts";

// deno-lint-ignore no-explicit-any -- the shape that `@std/assert` uses for classes
type AnyClass = abstract new (...args: any[]) => any;
// deno-lint-ignore no-explicit-any -- see above
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** What `assertContains()` can look into. */
export type Container<T = unknown> = string | Uint8Array | readonly T[];

/**
 * The assertions of a test, named as in `@std/assert` and with the same arguments. A failure fails the test even if the
 * error is caught. They return nothing: an `asserts` signature would need `t` to be annotated everywhere.
 */
export interface Assertions {
  /** Fails unless the value is truthy. */
  assert(expr: unknown, msg?: string): void;
  /** Fails unless two numbers differ by less than the tolerance. */
  assertAlmostEquals(actual: number, expected: number, tolerance?: number, msg?: string): void;
  /** Fails unless the first array has all items of the second. */
  assertArrayIncludes<T>(
    actual: ArrayLike<T> & object,
    expected: ArrayLike<T> & object,
    msg?: string,
  ): void;
  /** Fails unless text, bytes or an array contain the text, bytes or item. */
  assertContains(actual: Container, expected: unknown, msg?: string): void;
  /** Fails unless both are deeply equal. */
  assertEquals<T>(actual: T, expected: T, msg?: string): void;
  /** Fails if the value is `null` or `undefined`. */
  assertExists<T>(actual: T, msg?: string): void;
  /** Fails unless the value is falsy. */
  assertFalse(expr: unknown, msg?: string): void;
  /** Fails unless `actual > expected`. */
  assertGreater<T>(actual: T, expected: T, msg?: string): void;
  /** Fails unless `actual >= expected`. */
  assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void;
  /** Fails unless the value is an instance of the class. */
  assertInstanceOf(actual: unknown, expectedType: AnyClass, msg?: string): void;
  /** Fails unless the value is an error of that class and message. */
  assertIsError<E extends Error = Error>(
    error: unknown,
    errorClass?: ErrorClass<E>,
    msgMatches?: string | RegExp,
    msg?: string,
  ): void;
  /** Fails unless `actual < expected`. */
  assertLess<T>(actual: T, expected: T, msg?: string): void;
  /** Fails unless `actual <= expected`. */
  assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void;
  /** Fails unless the text matches. */
  assertMatch(actual: string, expected: RegExp, msg?: string): void;
  /** Fails if both are deeply equal. */
  assertNotEquals<T>(actual: T, expected: T, msg?: string): void;
  /** Fails if the value is an instance of the class. */
  assertNotInstanceOf(actual: unknown, unexpectedType: AnyClass, msg?: string): void;
  /** Fails if the text matches. */
  assertNotMatch(actual: string, expected: RegExp, msg?: string): void;
  /** Fails if both are the same. */
  assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void;
  /** Fails unless the object has at least these properties. */
  assertObjectMatch(
    // deno-lint-ignore no-explicit-any -- as `@std/assert` has it: interfaces have no index signature
    actual: Record<PropertyKey, any>,
    expected: Record<PropertyKey, unknown>,
    msg?: string,
  ): void;
  /** Fails unless the promise rejects with that error. Assertions of `t` that fail inside do not count. */
  assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
  assertRejects<E extends Error = Error>(
    fn: () => PromiseLike<unknown>,
    errorClass: ErrorClass<E>,
    msgIncludes?: string,
    msg?: string,
  ): Promise<E>;
  /** Fails unless both are the same. */
  assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): void;
  /** Fails unless the text contains the other. */
  assertStringIncludes(actual: string, expected: string, msg?: string): void;
  /** Fails unless the function throws that error. Assertions of `t` that fail inside do not count. */
  assertThrows(fn: () => unknown, msg?: string): unknown;
  assertThrows<E extends Error = Error>(
    fn: () => unknown,
    errorClass: ErrorClass<E>,
    msgIncludes?: string,
    msg?: string,
  ): E;
  /** Fails. */
  fail(msg?: string): void;
}

/** What becomes of an error of an assertion: thrown on, or recorded. */
export type OnFailure = (error: unknown) => void;

type Checks = { [K in keyof Assertions]: (...args: never[]) => unknown };

const CHECKS: Checks = {
  assert: std.assert,
  assertAlmostEquals: std.assertAlmostEquals,
  assertArrayIncludes: std.assertArrayIncludes,
  assertContains,
  assertEquals: std.assertEquals,
  assertExists: std.assertExists,
  assertFalse: std.assertFalse,
  assertGreater: std.assertGreater,
  assertGreaterOrEqual: std.assertGreaterOrEqual,
  assertInstanceOf: std.assertInstanceOf,
  assertIsError: std.assertIsError,
  assertLess: std.assertLess,
  assertLessOrEqual: std.assertLessOrEqual,
  assertMatch: std.assertMatch,
  assertNotEquals: std.assertNotEquals,
  assertNotInstanceOf: std.assertNotInstanceOf,
  assertNotMatch: std.assertNotMatch,
  assertNotStrictEquals: std.assertNotStrictEquals,
  assertObjectMatch: std.assertObjectMatch,
  assertRejects: (fn: () => PromiseLike<unknown>, ...rest: never[]) =>
    (std.assertRejects as (...args: unknown[]) => Promise<unknown>)(() => runTolerant(fn), ...rest),
  assertStrictEquals: std.assertStrictEquals,
  assertStringIncludes: std.assertStringIncludes,
  assertThrows: (fn: () => unknown, ...rest: never[]) =>
    (std.assertThrows as (...args: unknown[]) => unknown)(() => runTolerant(fn), ...rest),
  fail: (msg?: string) => std.fail(msg),
};

/** The assertions whose failures go to `onFailure`. */
export function makeAssertions(onFailure: OnFailure): Assertions {
  const made: Record<string, (...args: never[]) => unknown> = {};
  for (const [name, check] of Object.entries(CHECKS)) {
    made[name] = (...args) => {
      try {
        const result = check(...args);
        if (!(result instanceof Promise)) return RETURNS.has(name) ? result : undefined;
        return result.catch((error: unknown) => onFailure(error));
      } catch (error) {
        return onFailure(error);
      }
    };
  }
  return made as unknown as Assertions;
}

const RETURNS: ReadonlySet<string> = new Set(["assertThrows"]);

function assertContains(actual: Container, expected: unknown, msg?: string): void {
  if (typeof actual === "string") {
    if (typeof expected !== "string") throw wrongNeedle("text", "text", expected);
    return std.assertStringIncludes(actual, expected, msg);
  }
  if (actual instanceof Uint8Array) {
    const needle = typeof expected === "string" ? new TextEncoder().encode(expected) : expected;
    if (!(needle instanceof Uint8Array)) throw wrongNeedle("bytes", "bytes or text", expected);
    if (indexOfBytes(actual, needle) >= 0) return;
    throw new std.AssertionError(
      msg ?? `Expected ${actual.length} bytes to contain ${Deno.inspect(needle)}`,
    );
  }
  if (!Array.isArray(actual)) {
    throw new TypeError(
      `assertContains() looks into text, bytes or an array, got ${typeof actual}`,
    );
  }
  if (actual.some((item) => std.equal(item, expected))) return;
  throw new std.AssertionError(
    msg ?? `Expected actual: ${Deno.inspect(actual)} to contain: ${Deno.inspect(expected)}`,
  );
}

function wrongNeedle(haystack: string, wanted: string, got: unknown): TypeError {
  return new TypeError(`assertContains() looks for ${wanted} in ${haystack}, got ${typeof got}`);
}

function indexOfBytes(bytes: Uint8Array, needle: Uint8Array): number {
  for (let at = 0; at + needle.length <= bytes.length; at++) {
    let length = 0;
    while (length < needle.length && bytes[at + length] === needle[length]) length++;
    if (length === needle.length) return at;
  }
  return -1;
}
