import {
  checkValue,
  closest,
  type Duration,
  milliseconds,
  type OptionKind,
  type Size,
} from "../values/mod.ts";

/** What a test needs of its host; where something is missing, the test is skipped with that reason. */
export interface Requirements {
  /** A KVM that runs machines. */
  kvm?: boolean;
  /** A QEMU, of at least this version if text is given: `"8.0"`. */
  qemu?: boolean | string;
  /** Memory that the run may use. */
  memory?: Size;
  /** vsock between host and guest. */
  vsock?: boolean;
  /** To run as root. */
  root?: boolean;
}

/** Meta data of a test. Keys that the runner does not know are passed on to reports. */
export interface TestMeta {
  /**
   * Longest time that the test may take, its `beforeEach` included.
   *
   * @default {"60s"}
   */
  timeout?: Duration;
  /** Words by which tests are chosen. */
  tags?: string | readonly string[];
  /** Whether it runs only where slow tests are asked for. */
  slow?: boolean;
  /** Whether it is skipped, or why. */
  skip?: boolean | string;
  /**
   * How often it is run again after a failure.
   *
   * @default {0}
   */
  retries?: number;
  /** Whether only this test, and others marked so, run. */
  only?: boolean;
  /** What it needs of its host. */
  require?: Requirements;
  /** Anything else: a ticket, a specification. */
  [key: string]: unknown;
}

const KINDS: Record<string, OptionKind> = {
  timeout: "duration",
  tags: checkTags,
  slow: "boolean",
  skip: checkSkip,
  retries: checkRetries,
  only: "boolean",
  require: checkRequire,
};

const REQUIRE_KINDS: Record<keyof Requirements, OptionKind> = {
  kvm: "boolean",
  qemu: checkQemu,
  memory: "size",
  vsock: "boolean",
  root: "boolean",
};

/**
 * Checks meta data and returns keys that are near one of the runner's: most likely mistyped.
 *
 * @throws {TypeError} If a key of the runner has the wrong type.
 * @throws {RangeError} If a value is outside the allowed ones.
 */
export function checkMeta(meta: unknown, name: string): { key: string; near: string }[] {
  if (meta === null || typeof meta !== "object" || Array.isArray(meta)) {
    const got = meta === null ? "null" : Array.isArray(meta) ? "array" : typeof meta;
    throw new TypeError(
      `The meta data of test ${JSON.stringify(name)} must be an object, got ${got}`,
    );
  }
  const doubtful: { key: string; near: string }[] = [];
  for (const [key, value] of Object.entries(meta)) {
    if (Object.hasOwn(KINDS, key)) {
      if (value !== undefined) {
        checkValue(KINDS[key]!, value, `${key} of test ${JSON.stringify(name)}`);
      }
      continue;
    }
    const near = closest(key, Object.keys(KINDS));
    if (near) doubtful.push({ key, near });
  }
  return doubtful;
}

/** The tags of a test as an array. */
export function tagsOf(meta: TestMeta): string[] {
  return typeof meta.tags === "string" ? [meta.tags] : [...meta.tags ?? []];
}

/** The limit that a test's author wrote, in milliseconds. */
export function timeoutOf(meta: TestMeta): number | undefined {
  return meta.timeout === undefined ? undefined : milliseconds(meta.timeout);
}

function checkTags(value: unknown, name: string): void {
  const isTag = (item: unknown) => typeof item === "string" && item !== "";
  if (isTag(value) || (Array.isArray(value) && value.every(isTag))) return;
  throw new TypeError(`Option ${name} must be a word or an array of words, got ${shown(value)}`);
}

function checkSkip(value: unknown, name: string): void {
  if (typeof value === "boolean" || typeof value === "string") return;
  throw new TypeError(`Option ${name} must be true or a reason, got ${shown(value)}`);
}

function checkRetries(value: unknown, name: string): void {
  if (typeof value !== "number") {
    throw new TypeError(`Option ${name} must be a whole number from 0, got ${shown(value)}`);
  }
  if (!Number.isInteger(value) || value < 0) {
    throw new RangeError(`Option ${name} must be a whole number from 0, got ${value}`);
  }
}

function checkQemu(value: unknown, name: string): void {
  if (typeof value === "boolean") return;
  if (typeof value === "string" && /^\d+(\.\d+)*$/.test(value)) return;
  throw new TypeError(
    `Option ${name} must be true or a version such as "8.0", got ${shown(value)}`,
  );
}

function checkRequire(value: unknown, name: string): void {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new TypeError(`Option ${name} must be an object, got ${shown(value)}`);
  }
  for (const [key, item] of Object.entries(value)) {
    if (!Object.hasOwn(REQUIRE_KINDS, key)) {
      const near = closest(key, Object.keys(REQUIRE_KINDS));
      const hint = near
        ? `did you mean ${JSON.stringify(near)}?`
        : `expected ${Object.keys(REQUIRE_KINDS).join(", ")}`;
      throw new TypeError(`Unknown key ${JSON.stringify(key)} in option ${name}: ${hint}`);
    }
    if (item !== undefined) {
      checkValue(REQUIRE_KINDS[key as keyof Requirements], item, `${key} in ${name}`);
    }
  }
}

function shown(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "object") return Array.isArray(value) ? "array" : "object";
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
