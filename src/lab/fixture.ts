import { BelljarError } from "../errors.ts";
import { captureSite, formatSite, type Site } from "../scope/mod.ts";
import { type Duration, milliseconds, registerOptions } from "../values/mod.ts";
import type { OperationOptions } from "./_link.ts";
import { Snapshot } from "./snapshot.ts";

/** Options of `defineFixture()`. */
export interface FixtureOptions {
  /** Files and folders of the host that go into it, relative to the fixture's file: when they change, it is built anew. */
  files?: readonly (string | URL)[];
  /** Longest time that building may take. @default {600, stretched by the accelerator's factor} */
  timeout?: Duration;
}

/** Options of `lab.fixture()`. */
export interface UseFixtureOptions extends OperationOptions {
  /** Name of the machine; that of the machine which was saved when missing. */
  name?: string;
}

/** Builds the state that a fixture stands for. What it opens is closed when it returns. */
export type FixtureFunction = () => Promise<Snapshot>;

/** A fixture as its file defines it. */
export interface Fixture {
  readonly build: FixtureFunction;
  readonly options: FixtureOptions;
  readonly site: Site | undefined;
}

const checkDefine = registerOptions<FixtureOptions>("defineFixture()", {
  files: (value, name) => {
    const isFile = (item: unknown) =>
      (typeof item === "string" && item !== "") ||
      (item instanceof URL && item.protocol === "file:");
    if (Array.isArray(value) && value.every(isFile)) return;
    throw new TypeError(`Option ${name} must be an array of paths or file: URLs`);
  },
  timeout: "duration",
});

/** Checks the options of `lab.fixture()`. */
export const checkUseFixture: (options: unknown) => void = registerOptions<UseFixtureOptions>(
  "lab.fixture()",
  { name: "string", signal: "abortSignal" },
);

let collected: Fixture[] | undefined;

/**
 * Defines the fixture of a file named `*.fixture.ts`: a machine that was booted, set up and saved. `lab.fixture()` resumes
 * it; it is built when it is used first, and again when its file, what that imports, its image or its `files` change.
 *
 * @param build Returns the snapshot, by `vm.snapshot()`.
 * @throws {TypeError} If it is not a function, or the options are wrong.
 */
export function defineFixture(build: FixtureFunction, options: FixtureOptions = {}): Fixture {
  if (typeof build !== "function") {
    const got = build === null ? "null" : typeof build;
    throw new TypeError(`defineFixture() takes a function, got ${got}`);
  }
  checkDefine(options);
  const { timeout } = options;
  if (timeout !== undefined) milliseconds(timeout, { name: "timeout of defineFixture()" });
  const fixture: Fixture = { build, options: { ...options }, site: captureSite() };
  collected?.push(fixture);
  return fixture;
}

/**
 * Loads a file and returns the one fixture that it defines.
 *
 * @throws {BelljarError} If it defines none, or several.
 */
export async function collectFixture(path: string, load: () => Promise<unknown>): Promise<Fixture> {
  const found: Fixture[] = collected = [];
  try {
    await load();
  } finally {
    collected = undefined;
  }
  const [fixture] = found;
  if (fixture && found.length === 1) return fixture;
  throw new BelljarError(
    `Cannot use "${path}" as a fixture: it defines ${found.length === 0 ? "none" : found.length}`,
    {
      code: "FIXTURE",
      expected: "one call of defineFixture() at the top level of the file",
      actual: found.map(({ site }) => `one at ${formatSite(site)}`).join("\n") || undefined,
      next: "write: export default defineFixture(async () => { …; return await vm.snapshot(); })",
    },
  );
}

/**
 * Builds a fixture.
 *
 * @throws {BelljarError} If it returns something else than a snapshot.
 */
export async function buildFixture(path: string, fixture: Fixture): Promise<Snapshot> {
  const result: unknown = await fixture.build();
  if (result instanceof Snapshot) return result;
  const got = result === null
    ? "null"
    : typeof result === "object"
    ? `a ${result.constructor?.name}`
    : typeof result;
  throw new BelljarError(`Cannot use what fixture "${path}" returned: it is ${got}`, {
    code: "FIXTURE",
    expected: "the snapshot of one machine",
    next: "end it with: return await vm.snapshot()",
  });
}
