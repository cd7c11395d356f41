import { registerOptions } from "../values/mod.ts";
import {
  currentRegistry,
  type EachHookFunction,
  type FileOptions,
  type HookFunction,
} from "./registry.ts";

/** Runs `fn` once before the first test of the file. What it opens belongs to the file. */
export function beforeAll(fn: HookFunction): void {
  currentRegistry().addHook("beforeAll", fn);
}

/** Runs `fn` once after the last test of the file, before the file's resources are closed. Later hooks run first. */
export function afterAll(fn: HookFunction): void {
  currentRegistry().addHook("afterAll", fn);
}

/** Runs `fn` before each test, in that test's scope and within its timeout. */
export function beforeEach(fn: EachHookFunction): void {
  currentRegistry().addHook("beforeEach", fn);
}

/** Runs `fn` after each test, even a failed one, before the test's resources are closed. Later hooks run first. */
export function afterEach(fn: EachHookFunction): void {
  currentRegistry().addHook("afterEach", fn);
}

/** Skips all tests of the file: it is still to be written. */
export function todo(reason = ""): void {
  if (typeof reason !== "string") {
    throw new TypeError(`todo() takes a reason, got ${typeof reason}`);
  }
  currentRegistry().skipAll = reason === "" ? "todo" : `todo: ${reason}`;
}

const checkFileOptions = registerOptions<FileOptions>("defineFile()", {
  timeout: "duration",
  resetBetweenTests: "boolean",
  concurrency: "integer",
  strict: "boolean",
});

/**
 * Sets the options of the file. Call it once, at the top.
 *
 * @throws {TypeError} If it is called twice, after a test, or with an unknown option.
 */
export function defineFile(options: FileOptions): void {
  checkFileOptions(options);
  if (options?.concurrency !== undefined && options.concurrency < 1) {
    throw new RangeError(
      `Option concurrency of defineFile() must be 1 or more, got ${options.concurrency}`,
    );
  }
  if (options?.resetBetweenTests && (options.concurrency ?? 1) > 1) {
    throw new TypeError(
      "Options resetBetweenTests and concurrency of defineFile() exclude each other: tests that run at the same time " +
        "share the machines",
    );
  }
  currentRegistry().setOptions(options ?? {});
}
