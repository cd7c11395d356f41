/**
 * Decides whether a version lies in a semantic version range, for the forms that `jsr:` specifiers use.
 *
 * @module
 */

type Version = readonly [major: number, minor: number, patch: number];
const COMPARATOR = /^(\^|~|>=|<=|>|<|=)?v?(\*|x|\d+)(?:\.(\*|x|\d+))?(?:\.(\*|x|\d+))?$/i;

/** Whether `version` satisfies `range`, such as `^1.0.3`, `~1.2`, `1`, `*`, `>=1.2 <3`, `1 || 2`. */
export function satisfies(version: string, range: string): boolean {
  const parts = /^(\d+)\.(\d+)\.(\d+)$/.exec(version);
  if (!parts) return version === range;
  const found: Version = [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  return range.split("||").some((set) =>
    // A space between operator and version means nothing.
    set.trim().replace(/([<>=~^])\s+/g, "$1").split(/\s+/).every((one) => matches(found, one))
  );
}

function matches(version: Version, comparator: string): boolean {
  if (["", "latest"].includes(comparator)) return true;
  const match = COMPARATOR.exec(comparator);
  if (!match) return false;
  const [, operator = "", ...texts] = match;
  const numbers = texts.slice(0, 3).map((text) =>
    text === undefined || /[*x]/i.test(text) ? undefined : Number(text)
  );
  const [major, minor, patch] = numbers;
  if (major === undefined) return true;
  const low: Version = [major, minor ?? 0, patch ?? 0];
  // First version above what a partial one such as `1.2` covers.
  const next: Version = minor === undefined
    ? [major + 1, 0, 0]
    : patch === undefined
    ? [major, minor + 1, 0]
    : [major, minor, patch + 1];
  switch (operator) {
    case ">=":
      return compare(version, low) >= 0;
    case ">":
      return compare(version, next) >= 0;
    case "<":
      return compare(version, low) < 0;
    case "<=":
      return compare(version, next) < 0;
    case "~":
      return within(version, low, minor === undefined ? next : [major, minor + 1, 0]);
    case "^":
      return within(version, low, caretEnd(major, minor, patch));
    default:
      return within(version, low, next);
  }
}

/** A caret allows what keeps the leftmost number that is not zero. */
function caretEnd(major: number, minor?: number, patch?: number): Version {
  if (major > 0 || minor === undefined) return [major + 1, 0, 0];
  if (minor > 0 || patch === undefined) return [0, minor + 1, 0];
  return [0, 0, patch + 1];
}

function within(version: Version, low: Version, end: Version): boolean {
  return compare(version, low) >= 0 && compare(version, end) < 0;
}

function compare(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}
