import { AsyncLocalStorage } from "node:async_hooks";
import { currentScope, type Scope } from "./scope.ts";

const signals = new WeakMap<Scope, AbortSignal>();
const detached = new AsyncLocalStorage<boolean>();

/** Ties a signal to a scope: it aborts when the work in that scope has to stop. */
export function setScopeSignal(scope: Scope, signal: AbortSignal): void {
  signals.set(scope, signal);
}

/**
 * The signal of the test in which the caller runs, or `undefined` outside of tests and while a scope closes. Operations
 * listen to it, so that a test's timeout ends them on machines which live on.
 */
export function currentSignal(): AbortSignal | undefined {
  if (detached.getStore()) return undefined;
  for (let scope: Scope | undefined = currentScope(); scope; scope = scope.parent) {
    const signal = signals.get(scope);
    if (signal) return signal;
  }
  return undefined;
}

/** The caller's own signal and {@linkcode currentSignal} in one: it aborts with the first of them, and with its reason. */
export function ownOrCurrentSignal(own: AbortSignal | undefined): AbortSignal | undefined {
  const current = currentSignal();
  return own && current ? AbortSignal.any([own, current]) : own ?? current;
}

/**
 * Runs `fn` so that {@linkcode currentSignal} is `undefined` in it: what outlives the test in which it begins, and what ends
 * things, does not stop with that test.
 */
export function withoutCurrentSignal<T>(fn: () => T): T {
  return detached.run(true, fn);
}
