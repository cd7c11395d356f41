import { emitEvent } from "./events.ts";
import { currentScope, type Scope } from "./scope.ts";
import { captureSite, type Site } from "./site.ts";

/** Something that a test waits for: a request to a machine, a wait for output, a boot. */
export interface Operation {
  /** What is done, as the author wrote it: `run("make test")`. */
  op: string;
  /** Name of the machine, if one is concerned. */
  vm?: string;
}

/** An operation with its times. */
export interface TrackedOperation extends Operation {
  /** Where the author called it. */
  site: Site | undefined;
  /** Clock of `performance.now()` at its start. */
  startMs: number;
  /** How long it took; `undefined` while it is in progress. */
  durationMs?: number;
  /** Whether it succeeded; `undefined` while it is in progress. */
  ok?: boolean;
}

/** What a test's operations were. */
export interface OperationLog {
  /** Still in progress, oldest first. */
  inProgress: TrackedOperation[];
  /** Ended, oldest first; the last ones only. */
  history: TrackedOperation[];
}

const MAX_HISTORY = 20;
const logs = new WeakMap<Scope, { live: Set<TrackedOperation>; history: TrackedOperation[] }>();

/**
 * Runs `fn` as an operation of the current test: a timeout names it while it is in progress, and an `op` event tells how
 * long it took.
 */
export async function trackOperation<T>(operation: Operation, fn: () => Promise<T>): Promise<T> {
  const log = logOf(holderOf(currentScope()));
  const entry: TrackedOperation = {
    ...operation,
    site: captureSite(),
    startMs: performance.now(),
  };
  log.live.add(entry);
  try {
    const result = await fn();
    entry.ok = true;
    return result;
  } catch (error) {
    entry.ok = false;
    throw error;
  } finally {
    entry.durationMs = performance.now() - entry.startMs;
    log.live.delete(entry);
    log.history.push(entry);
    if (log.history.length > MAX_HISTORY) log.history.shift();
    const { op, vm, startMs, durationMs, ok } = entry;
    emitEvent("op", { vm, op, startMs, durationMs, ok });
  }
}

/** The operations of the test to which `scope` belongs, as they are now: what ends later does not change them. */
export function operationsOf(scope: Scope): OperationLog {
  const log = logs.get(holderOf(scope));
  const copies = (entries: Iterable<TrackedOperation> = []) =>
    Array.from(entries, (one) => ({ ...one }));
  return { inProgress: copies(log?.live), history: copies(log?.history) };
}

/** Steps share the log of their test, so that a timeout of the test sees what its steps do. */
function holderOf(scope: Scope): Scope {
  let holder = scope;
  while ((holder.kind === "step" || holder.kind === "closing") && holder.parent) {
    holder = holder.parent;
  }
  return holder;
}

function logOf(scope: Scope): { live: Set<TrackedOperation>; history: TrackedOperation[] } {
  let log = logs.get(scope);
  if (!log) {
    log = { live: new Set(), history: [] };
    logs.set(scope, log);
  }
  return log;
}
