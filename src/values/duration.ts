/** A number of seconds (0 or more, may be fractional), or text such as `"250ms"`, `"10s"`, `"2m"`, `"1h"` or `"1m30s"`. */
export type Duration = number | string;

/** A duration that cannot be read. */
export class DurationError extends RangeError {
  override readonly name = "DurationError";
}

/** Options for {@linkcode seconds}. */
export interface SecondsOptions {
  /**
   * Whether `Infinity` is accepted.
   *
   * @default {false}
   */
  infinite?: boolean;
  /** What the duration is for, named in errors: `"timeout"`. */
  name?: string;
}

const UNITS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600 };
const FORMS =
  `a number of seconds (0 or more), or text such as "250ms", "10s", "2m", "1h", "1m30s"`;

/**
 * Reads a duration as seconds.
 *
 * @example Units add up
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { seconds } from "./duration.ts";
 *
 * assertEquals(seconds("1m30s"), 90);
 * assertEquals(seconds(1.5), 1.5);
 * ```
 *
 * @throws {DurationError} If the value is negative, not a number, or text of another form.
 */
export function seconds(duration: Duration, options: SecondsOptions = {}): number {
  if (typeof duration === "number") {
    if (duration >= 0 && (duration !== Infinity || options.infinite)) return duration;
  } else if (typeof duration === "string") {
    const value = parse(duration);
    if (value !== undefined) return value;
  }
  const shown = typeof duration === "string" ? JSON.stringify(duration) : describe(duration);
  const what = options.name
    ? `Cannot use ${shown} as ${options.name}`
    : `Cannot read duration ${shown}`;
  throw new DurationError(`${what}: expected ${FORMS}`);
}

/** Reads a duration as whole milliseconds, rounded up so that nothing waits less than asked. */
export function milliseconds(duration: Duration, options: SecondsOptions = {}): number {
  const ms = seconds(duration, options) * 1000;
  // 0.3 * 1000 is 300.00000000000006 in places: rounding first keeps the ceiling honest.
  return ms === Infinity ? ms : Math.ceil(Math.round(ms * 1e6) / 1e6);
}

/** Shows seconds as a person writes them: `"250 ms"`, `"1.5 s"`, `"2 min 5 s"`. */
export function formatSeconds(value: number): string {
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${Number(value.toFixed(value < 10 ? 2 : 1))} s`;
  const whole = Math.round(value);
  const rest = whole % 60;
  return rest === 0 ? `${Math.floor(whole / 60)} min` : `${Math.floor(whole / 60)} min ${rest} s`;
}

function parse(text: string): number | undefined {
  const form =
    /^(?:(\d+(?:\.\d+)?)(h))?(?:(\d+(?:\.\d+)?)(m))?(?:(\d+(?:\.\d+)?)(s))?(?:(\d+(?:\.\d+)?)(ms))?$/;
  const match = form.exec(text);
  if (!match || text === "") return undefined;
  let total = 0;
  for (let i = 1; i < match.length; i += 2) {
    if (match[i] !== undefined) total += Number(match[i]) * UNITS[match[i + 1]!]!;
  }
  return total;
}

function describe(value: unknown): string {
  return typeof value === "number" || value === null || value === undefined
    ? String(value)
    : `of type ${typeof value}`;
}
