import { tagsOf } from "./meta.ts";
import type { FileRegistry, TestDefinition } from "./registry.ts";

/** Which tests of a file run. Everything given must hold. */
export interface Selection {
  /** Part of the name, or a pattern in slashes: `/^boots/i`. */
  filter?: string;
  /** At least one of these tags. */
  tags?: string[];
  /** None of these tags. */
  noTags?: string[];
  /** `key=value` in its meta data; `key` alone asks that it is there. */
  meta?: string[];
  /** None of these in its meta data. */
  noMeta?: string[];
  /** Whether slow tests run. */
  includeSlow?: boolean;
  /** Exactly these names. */
  names?: string[];
}

/** A test that was chosen, and why it does not run after all. */
export interface SelectedTest {
  test: TestDefinition;
  skip: string | undefined;
}

/**
 * Reads a filter as `--filter` takes it.
 *
 * @throws {SyntaxError} If a pattern in slashes cannot be read.
 */
export function readFilter(filter: string): (name: string) => boolean {
  const pattern = /^\/(.+)\/([a-z]*)$/s.exec(filter);
  if (!pattern) return (name) => name.includes(filter);
  const regex = new RegExp(pattern[1]!, pattern[2]!.replaceAll("g", ""));
  return (name) => regex.test(name);
}

/** Chooses the tests of a file that run, in the order of their definition. */
export function selectTests(registry: FileRegistry, selection: Selection): SelectedTest[] {
  const matches = selection.filter === undefined ? () => true : readFilter(selection.filter);
  const onlyThese = registry.tests.some(({ only }) => only);
  const chosen = registry.tests.filter((test) => {
    if (onlyThese && !test.only) return false;
    if (selection.names && !selection.names.includes(test.name)) return false;
    return matches(test.name) && hasTags(test, selection) && hasMeta(test, selection);
  });
  return chosen.map((test) => ({ test, skip: skipOf(test, registry, selection) }));
}

function skipOf(
  test: TestDefinition,
  registry: FileRegistry,
  selection: Selection,
): string | undefined {
  if (registry.skipAll !== undefined) return registry.skipAll;
  if (test.skip !== undefined) return test.skip;
  if (test.meta.slow && !selection.includeSlow) return "slow: runs with --include-slow";
  return undefined;
}

function hasTags(test: TestDefinition, { tags = [], noTags = [] }: Selection): boolean {
  const own = tagsOf(test.meta);
  return (tags.length === 0 || tags.some((tag) => own.includes(tag))) &&
    !noTags.some((tag) => own.includes(tag));
}

function hasMeta(test: TestDefinition, { meta = [], noMeta = [] }: Selection): boolean {
  const has = (pair: string) => {
    const [key, ...rest] = pair.split("=") as [string, ...string[]];
    if (!Object.hasOwn(test.meta, key)) return false;
    if (rest.length === 0) return true;
    const value = test.meta[key];
    return (Array.isArray(value) ? value : [value]).some((item) => String(item) === rest.join("="));
  };
  return meta.every(has) && !noMeta.some(has);
}
