import { captureSite } from "../scope/mod.ts";
import type { TestContext } from "./context.ts";
import { rowName } from "./each.ts";
import type { TestMeta } from "./meta.ts";
import { currentRegistry, type TestFunction } from "./registry.ts";

/** Defines a test: `test(name, fn)` or `test(name, meta, fn)`. */
export interface DefineTest {
  (name: string, fn: TestFunction): void;
  (name: string, meta: TestMeta, fn: TestFunction): void;
}

/** The arguments of a row's test: an array is spread. */
export type RowArguments<Row> = Row extends readonly unknown[] ? Row : [Row];

/** Defines one test per row. */
export interface DefineRows<Row> {
  (nameTemplate: string, fn: (t: TestContext, ...row: RowArguments<Row>) => unknown): void;
  (
    nameTemplate: string,
    meta: TestMeta,
    fn: (t: TestContext, ...row: RowArguments<Row>) => unknown,
  ): void;
}

/** The `test` function with its variants. */
export interface Test extends DefineTest {
  /** Defines a test beside which only tests run that are marked so too. */
  only: DefineTest;
  /** Defines a test that is skipped. */
  skip: DefineTest;
  /** Names a test that is still to be written. */
  todo(name: string, reason?: string): void;
  /**
   * Defines one test per row. In the name `%s`, `%d` and `%j` stand for the next value of the row, `%#` for its number
   * from 0 and `{field}` for a field of it; without any of them the row's input is appended.
   */
  each<const Row>(rows: Iterable<Row>): DefineRows<Row>;
}

function define(args: unknown[], flags: { only?: boolean; skip?: boolean }): void {
  const [name, second, third] = args;
  const hasMeta = args.length > 2 || (typeof second === "object" && second !== null);
  currentRegistry().addTest({
    name,
    meta: (hasMeta ? second : {}) as TestMeta,
    fn: hasMeta ? third : second,
    site: captureSite(),
    ...flags,
  });
}

function each(rows: Iterable<unknown>): DefineRows<unknown> {
  if (typeof rows !== "object" || rows === null || !(Symbol.iterator in rows)) {
    throw new TypeError(
      `test.each() takes an array of rows, got ${rows === null ? "null" : typeof rows}`,
    );
  }
  return (template: string, ...rest: unknown[]) => {
    const fn = rest.at(-1);
    if (typeof template !== "string") {
      throw new TypeError(`The name of a test must be text, got ${typeof template}`);
    }
    if (typeof fn !== "function") {
      throw new TypeError(
        `Test ${
          JSON.stringify(template)
        } must have a function as its last argument, got ${typeof fn}`,
      );
    }
    let index = 0;
    for (const row of rows) {
      const values = Array.isArray(row) ? row : [row];
      const body = (t: TestContext) => fn(t, ...values);
      define([rowName(template, row, index++), ...rest.slice(0, -1), body], {});
    }
  };
}

/**
 * Defines a test.
 *
 * Tests of a file run in order, files run in parallel. What a test opens is closed when it ends, newest first.
 *
 * @example A test with meta data
 * ```ts ignore
 * import { test } from "belljar";
 *
 * test("adds", { tags: ["math"], timeout: "5s" }, (t) => {
 *   t.assertEquals(1 + 1, 2);
 * });
 * ```
 *
 * @throws {TypeError} If the name is taken, or something has the wrong type.
 */
export const test: Test = Object.assign((...args: unknown[]): void => define(args, {}), {
  only: (...args: unknown[]): void => define(args, { only: true }),
  skip: (...args: unknown[]): void => define(args, { skip: true }),
  todo: (name: string, reason = ""): void => {
    if (typeof reason !== "string") {
      throw new TypeError(
        `test.todo() takes a reason as its second argument, got ${typeof reason}`,
      );
    }
    currentRegistry().addTest({ name, meta: {}, fn: undefined, todo: reason, site: captureSite() });
  },
  each: each as Test["each"],
});
