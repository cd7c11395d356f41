import { BelljarError } from "../errors.ts";
import { captureSite, emitEvent, formatSite, type Site } from "../scope/mod.ts";
import type { Duration } from "../values/mod.ts";
import type { TestContext } from "./context.ts";
import { checkMeta, type TestMeta } from "./meta.ts";

/** The body of a test. */
export type TestFunction = (t: TestContext) => unknown;

/** What runs before or after tests. */
export type HookFunction = () => unknown;

/** What runs before or after each test, with that test's context. */
export type EachHookFunction = (t: TestContext) => unknown;

/** A test as its file defined it. */
export interface TestDefinition {
  readonly name: string;
  readonly meta: TestMeta;
  /** Its body; `undefined` for a test that is still to be written. */
  readonly fn: TestFunction | undefined;
  readonly only: boolean;
  /** Why it does not run, if that is known already. */
  readonly skip: string | undefined;
  readonly site: Site | undefined;
}

/** A hook as its file defined it. */
export interface HookDefinition<F> {
  readonly fn: F;
  readonly site: Site | undefined;
}

/** Options of a test file, set by `defineFile()`. */
export interface FileOptions {
  /** Longest time that the whole file may take; time spent waiting for resources is not counted. */
  timeout?: Duration;
  /**
   * Whether the machines of the file go back, before each test, to the state in which `beforeAll()` left them: files,
   * processes and mounts of a test are gone in the next. Files and streams of these machines must be closed by then.
   *
   * @default {false}
   */
  resetBetweenTests?: boolean;
  /**
   * How many tests of the file run at the same time under `belljar run`.
   *
   * @default {1}
   */
  concurrency?: number;
  /**
   * Whether a test fails if it leaves something open.
   *
   * @default {false}
   */
  strict?: boolean;
}

/** What a test is made of when it is defined. */
export interface TestParts {
  name: unknown;
  meta: TestMeta;
  fn: unknown;
  only?: boolean;
  skip?: boolean;
  todo?: string;
  site: Site | undefined;
}

/** What one test file defines: its tests, its hooks, its options. */
export class FileRegistry {
  readonly tests: TestDefinition[] = [];
  readonly beforeAll: HookDefinition<HookFunction>[] = [];
  readonly afterAll: HookDefinition<HookFunction>[] = [];
  readonly beforeEach: HookDefinition<EachHookFunction>[] = [];
  readonly afterEach: HookDefinition<EachHookFunction>[] = [];
  options: FileOptions = {};
  /** Why all tests of the file are skipped. */
  skipAll: string | undefined;
  /** Called for each test when it is defined. */
  onTest: ((test: TestDefinition) => void) | undefined;
  #names = new Map<string, Site | undefined>();
  #sealed: string | undefined;
  #optionsAt: Site | undefined;

  /** Refuses further definitions, with this reason. */
  seal(reason: string): void {
    this.#sealed = reason;
  }

  /**
   * Adds a test.
   *
   * @throws {TypeError} If the name is taken or something has the wrong type.
   */
  addTest(parts: TestParts): TestDefinition {
    const { name, meta, fn, site } = parts;
    if (typeof name !== "string" || name.trim() === "") {
      const got = typeof name === "string" ? JSON.stringify(name) : typeof name;
      throw new TypeError(`The name of a test must be text, got ${got}`);
    }
    this.#refuseSealed(`test ${JSON.stringify(name)}`);
    const doubtful = checkMeta(meta, name);
    if (parts.todo === undefined && typeof fn !== "function") {
      throw new TypeError(
        `Test ${JSON.stringify(name)} must have a function as its last argument, got ${typeof fn}`,
      );
    }
    if (this.#names.has(name)) {
      throw new TypeError(
        `Test ${JSON.stringify(name)} is defined twice: first at ${
          formatSite(this.#names.get(name))
        }, ` +
          `again at ${formatSite(site)}: give one of them another name`,
      );
    }
    this.#names.set(name, site);
    const test: TestDefinition = {
      name,
      meta: Object.freeze({ ...meta }),
      fn: parts.todo === undefined ? fn as TestFunction : undefined,
      only: parts.only === true || meta.only === true,
      skip: skipReason(parts),
      site,
    };
    this.tests.push(test);
    for (const { key, near } of doubtful) {
      emitEvent("warning", {
        test: name,
        message:
          `Meta key ${JSON.stringify(key)} of test ${
            JSON.stringify(name)
          } means nothing to the runner: ` +
          `did you mean ${JSON.stringify(near)}?`,
      });
    }
    this.onTest?.(test);
    return test;
  }

  /** Adds a hook. */
  addHook<K extends "beforeAll" | "afterAll" | "beforeEach" | "afterEach">(
    kind: K,
    fn: FileRegistry[K][number]["fn"],
  ): void {
    if (typeof fn !== "function") {
      throw new TypeError(`${kind}() takes a function, got ${typeof fn}`);
    }
    this.#refuseSealed(`${kind}()`);
    (this[kind] as HookDefinition<unknown>[]).push({ fn, site: captureSite() });
  }

  /** Sets the options of the file; once, before the first test. */
  setOptions(options: FileOptions): void {
    const site = captureSite();
    if (this.#optionsAt) {
      throw new TypeError(
        `Cannot call defineFile() twice: first at ${formatSite(this.#optionsAt)}, again at ${
          formatSite(site)
        }`,
      );
    }
    this.#refuseSealed("defineFile()");
    if (this.tests.length > 0) {
      throw new TypeError(
        `Cannot call defineFile() at ${formatSite(site)}: test ${
          JSON.stringify(this.tests[0]!.name)
        } is defined before it; call it at the top of the file`,
      );
    }
    this.#optionsAt = site;
    this.options = { ...options };
  }

  #refuseSealed(what: string): void {
    if (this.#sealed === undefined) return;
    throw new TypeError(
      `Cannot define ${what}: ${this.#sealed}; define it at the top level of the file`,
    );
  }
}

/** Gives the registry into which definitions go if none was set. */
export type RegistryFallback = () => FileRegistry | undefined;

let current: FileRegistry | undefined;
let fallback: RegistryFallback | undefined;

/** Sets where definitions go, and returns where they went before. */
export function setRegistry(registry: FileRegistry | undefined): FileRegistry | undefined {
  const previous = current;
  current = registry;
  return previous;
}

/** Sets what is asked for a registry when none is set. */
export function setRegistryFallback(next: RegistryFallback): void {
  fallback = next;
}

/**
 * Where definitions go now.
 *
 * @throws {BelljarError} If the file is run by nobody who runs tests.
 */
export function currentRegistry(): FileRegistry {
  const registry = current ?? fallback?.();
  if (registry) return registry;
  throw new BelljarError("Cannot define tests: the file is not run by a test runner", {
    code: "NO_RUNNER",
    next: "run it with `belljar run FILE` or `deno test -A FILE`",
  });
}

function skipReason({ meta, skip, todo }: TestParts): string | undefined {
  if (todo !== undefined) return todo === "" ? "todo" : `todo: ${todo}`;
  if (typeof meta.skip === "string") return meta.skip;
  return skip || meta.skip === true ? "skipped by its author" : undefined;
}
