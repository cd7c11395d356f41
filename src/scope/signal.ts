import { currentScope, type Scope } from "./scope.ts";

const signals = new WeakMap<Scope, AbortSignal>();

/** Ties a signal to a scope: it aborts when the work in that scope has to stop. */
export function setScopeSignal(scope: Scope, signal: AbortSignal): void {
  signals.set(scope, signal);
}

/**
 * The signal of the test in which the caller runs, or `undefined` outside of tests and while a scope closes. Operations
 * listen to it, so that a test's timeout ends them on machines which live on.
 */
export function currentSignal(): AbortSignal | undefined {
  for (let scope: Scope | undefined = currentScope(); scope; scope = scope.parent) {
    const signal = signals.get(scope);
    if (signal) return signal;
  }
  return undefined;
}
