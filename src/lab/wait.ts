/** Waiting with a deadline and a signal, without leaving a timer or a listener behind. @module */

/** What {@linkcode race} gives when the time is over first. */
export const TIMED_OUT: unique symbol = Symbol("timed out");

/** A point in time on the monotonic clock, or never. */
export interface Deadline {
  /** Milliseconds until then; never negative. */
  remaining(): number;
}

/** A deadline that lies `ms` in the future; `Infinity` is never. */
export function deadlineIn(ms: number): Deadline {
  const at = performance.now() + ms;
  return { remaining: () => Math.max(0, at - performance.now()) };
}

/**
 * Waits for a promise, at most until `deadline` and not beyond the abort of any of `signals`.
 *
 * @throws {unknown} The reason of the signal that aborts first, unchanged.
 */
export async function race<T>(
  promise: Promise<T>,
  deadline: Deadline,
  ...signals: (AbortSignal | undefined)[]
): Promise<T | typeof TIMED_OUT> {
  const { promise: stop, resolve, reject } = Promise.withResolvers<typeof TIMED_OUT>();
  const active = signals.filter((signal) => signal !== undefined);
  for (const signal of active) {
    if (signal.aborted) {
      promise.catch(() => {}); // Nobody waits for it any more.
      throw signal.reason;
    }
  }
  const ms = deadline.remaining();
  const timer = ms === Infinity ? undefined : setTimeout(() => resolve(TIMED_OUT), timerMs(ms));
  const onAbort = active.map((signal) => {
    const listener = () => reject(signal.reason);
    signal.addEventListener("abort", listener, { once: true });
    return () => signal.removeEventListener("abort", listener);
  });
  try {
    return await Promise.race([promise, stop]);
  } finally {
    clearTimeout(timer);
    for (const remove of onAbort) remove();
  }
}

/** Waits until `deadline`, or for the abort of a signal, whose reason it then throws. */
export async function pause(deadline: Deadline, ...signals: (AbortSignal | undefined)[]) {
  const { promise } = Promise.withResolvers<never>();
  await race(promise, deadline, ...signals);
}

/** One signal that aborts with the first of several; `undefined` when there is none. */
export function anySignal(...signals: (AbortSignal | undefined)[]): AbortSignal | undefined {
  const active = signals.filter((signal) => signal !== undefined);
  return active.length <= 1 ? active[0] : AbortSignal.any(active);
}

/** Timers take at most 2^31 - 1 ms and fire at once beyond it. */
function timerMs(ms: number): number {
  return Math.min(Math.ceil(ms), 2 ** 31 - 1);
}
