import {
  type FileObserver,
  type FileOutcome,
  FileRegistry,
  FileRun,
  type RunFileOptions,
  setRegistry,
  type TestOutcome,
} from "../../src/dsl/mod.ts";
import { Scope } from "../../src/scope/mod.ts";

/** A file that was run, and what its observer saw. */
export interface Ran extends FileOutcome {
  /** The outcome of the test of that name. */
  of(name: string): TestOutcome;
  /** What the observer saw, in order. */
  seen: string[];
  logs: string[];
}

/** Puts what `define` defines into a registry of its own. */
export function defined(define: () => void): FileRegistry {
  const registry = new FileRegistry();
  const previous = setRegistry(registry);
  try {
    define();
  } finally {
    setRegistry(previous);
  }
  return registry;
}

/** Runs what `define` defines, as one file. */
export async function ran(define: () => void, options: RunFileOptions = {}): Promise<Ran> {
  const registry = defined(define);
  const seen: string[] = [];
  const logs: string[] = [];
  const observer: FileObserver = {
    testStarted: ({ name, attempt }) => void seen.push(`start ${name} ${attempt}`),
    testFinished: ({ name, status }) => void seen.push(`end ${name} ${status}`),
    stepStarted: ({ steps }) => void seen.push(`step ${steps.join(" > ")}`),
    stepFinished: ({ steps }, { status }) =>
      void seen.push(`stepped ${steps.join(" > ")} ${status}`),
    log: (_at, text) => void logs.push(text),
  };
  const run = new FileRun(registry, new Scope("file", { kind: "file" }), observer, options);
  const outcome = await run.run();
  const of = (name: string) => {
    const found = outcome.tests.findLast((test) => test.name === name);
    if (!found) throw new Error(`no test "${name}" ran`);
    return found;
  };
  return { ...outcome, of, seen, logs };
}
