import { WaitUntilError } from "../errors.ts";
import { ownOrCurrentSignal, runTolerant, timeScale } from "../scope/mod.ts";
import { type Duration, formatSeconds, milliseconds, registerOptions } from "../values/mod.ts";
import { firstLine } from "./errors.ts";

/** Options for {@linkcode waitUntil}. */
export interface WaitUntilOptions {
  /** Longest wait; 0 tries once. @default {10} */
  timeout?: Duration;
  /** Time between the end of a try and the next. @default {0.5} */
  interval?: Duration;
  /** What is waited for, as errors name it. @default {"condition"} */
  desc?: string;
  /** Ends the wait with its reason. */
  signal?: AbortSignal;
  /** Whether a try that throws counts as not yet true. @default {false} */
  retryErrors?: boolean;
}

/** What a condition is called with. */
export interface WaitUntilContext {
  /** Number of the try, from 1. */
  attempt: number;
  /** Aborts when the wait ends. */
  signal: AbortSignal;
}

const DEFAULT_TIMEOUT_S = 10;

const check = registerOptions<WaitUntilOptions>("waitUntil()", {
  timeout: "durationOrInfinity",
  interval: "duration",
  desc: "string",
  signal: "abortSignal",
  retryErrors: "boolean",
});

/**
 * Calls `fn`, the first time at once, until it returns something truthy, and returns that. A try that is still pending at
 * the end is abandoned; its `signal` aborts. The end of the time of a test ends the waits in it.
 *
 * @example Wait for a file
 * ```ts
 * import { assert } from "@std/assert";
 * import { waitUntil } from "./wait_until.ts";
 *
 * const path = await Deno.makeTempFile();
 * const info = await waitUntil(() => Deno.stat(path), { retryErrors: true, desc: "the file" });
 * assert(info.isFile);
 * await Deno.remove(path);
 * ```
 *
 * @throws {WaitUntilError} If it does not come true in time.
 * @throws {unknown} What `fn` throws, unless `retryErrors` is set; the reason of `signal`.
 */
export async function waitUntil<T>(
  fn: (context: WaitUntilContext) => T | Promise<T>,
  options: WaitUntilOptions = {},
): Promise<NonNullable<T>> {
  check(options);
  if (typeof fn !== "function") {
    throw new TypeError(`waitUntil() takes a function, got ${fn === null ? "null" : typeof fn}`);
  }
  const { desc = "condition", retryErrors = false } = options;
  const signal = ownOrCurrentSignal(options.signal);
  const limitMs = milliseconds(options.timeout ?? DEFAULT_TIMEOUT_S * timeScale(), {
    infinite: true,
  });
  const intervalMs = milliseconds(options.interval ?? 0.5);
  signal?.throwIfAborted();
  const startMs = performance.now();
  const ended = new AbortController();
  const expired = new WaitUntilExpired();
  const end = Promise.withResolvers<never>();
  end.promise.catch(() => {}); // It also ends when nobody waits for it.
  const finish = (reason: unknown) => {
    end.reject(reason);
    ended.abort(reason);
  };
  const aborted = () => finish(signal!.reason);
  signal?.addEventListener("abort", aborted, { once: true });
  // A single try has no deadline of its own: zero would end it before it began.
  const timer = limitMs === Infinity || limitMs === 0
    ? undefined
    : setTimeout(() => finish(expired), Math.min(limitMs, 2 ** 31 - 1));
  let attempt = 0;
  let lastError: unknown;
  try {
    while (true) {
      attempt++;
      try {
        const context = { attempt, signal: ended.signal };
        const call = async () => await fn(context);
        const value = await Promise.race([retryErrors ? runTolerant(call) : call(), end.promise]);
        if (value) return value;
        lastError = undefined;
      } catch (error) {
        if (ended.signal.aborted || !retryErrors) throw error;
        lastError = error;
      }
      if (limitMs === 0) throw expired;
      await Promise.race([pause(intervalMs, ended.signal), end.promise]);
    }
  } catch (error) {
    if (error !== expired) throw error;
    const elapsed = Math.round(performance.now() - startMs) / 1000;
    const tries = `${attempt} ${attempt === 1 ? "try" : "tries"}`;
    const summary = `Cannot see ${desc} come true: ${tries} in ${formatSeconds(elapsed)}`;
    throw new WaitUntilError(summary, {
      desc,
      attempts: attempt,
      elapsed,
      actual: lastError === undefined
        ? "the last try returned nothing truthy"
        : `the last try threw: ${firstLine(lastError)}`,
      cause: lastError,
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", aborted);
    ended.abort(new DOMException("The wait has ended", "AbortError"));
  }
}

/** Marks the end of the time, so that it cannot be taken for an error of the condition. */
class WaitUntilExpired {}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
