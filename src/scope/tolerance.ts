import { AsyncLocalStorage } from "node:async_hooks";

const tolerant = new AsyncLocalStorage<boolean>();

/**
 * Runs `fn` so that assertions of `t` which fail in it do not fail the test by themselves: their errors are awaited by the
 * caller, as `waitUntil({ retryErrors: true })` and `assertThrows()` do.
 */
export function runTolerant<T>(fn: () => T): T {
  return tolerant.run(true, fn);
}

/** Whether the caller runs inside {@linkcode runTolerant}. */
export function isTolerated(): boolean {
  return tolerant.getStore() === true;
}
