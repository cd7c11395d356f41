import { currentScope, type Scope } from "./scope.ts";

/** A limit on the time of a scope that can be stopped while something else is waited for. */
export interface Chargeable {
  /** Stops the clock. Calls nest. */
  pause(): void;
  /** Lets the clock go on. */
  resume(): void;
}

const limits = new WeakMap<Scope, Chargeable>();

/** Ties a limit to a scope, for {@linkcode uncharged}. */
export function setCharge(scope: Scope, limit: Chargeable): void {
  limits.set(scope, limit);
}

/**
 * Runs `fn` without charging its time to the limits of the test and file that wait for it: queueing for memory, building a
 * template, finding out that an accelerator does not work.
 */
export async function uncharged<T>(fn: () => Promise<T>): Promise<T> {
  const paused: Chargeable[] = [];
  for (let scope: Scope | undefined = currentScope(); scope; scope = scope.parent) {
    const limit = limits.get(scope);
    if (limit) paused.push(limit);
  }
  for (const limit of paused) limit.pause();
  try {
    return await fn();
  } finally {
    for (const limit of paused) limit.resume();
  }
}
