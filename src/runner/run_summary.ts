import type { FailureClass, RunStatus } from "../report/events.ts";

/** How a run ended. */
export interface RunSummary {
  status: RunStatus;
  exitCode: number;
}

/** What decides on the end of a run. */
export interface RunFacts {
  interrupted: boolean;
  /** What made tests and files fail. */
  classes: ReadonlySet<FailureClass>;
  /** How many tests were chosen. */
  selected: number;
  skipped: number;
  mayBeEmpty: boolean;
  /** Whether skipped tests count as failures. */
  requireAll: boolean;
}

/** Exit code 3 is for what running the tests again may help against: it is kept apart from tests that fail. */
export function summarize(facts: RunFacts): RunSummary {
  if (facts.interrupted) return { status: "interrupted", exitCode: 130 };
  if (facts.classes.size > 0) {
    const isInfrastructure = [...facts.classes].every((kind) =>
      kind === "host" || kind === "harness"
    );
    return isInfrastructure ? { status: "error", exitCode: 3 } : { status: "failed", exitCode: 1 };
  }
  if (facts.selected === 0 && !facts.mayBeEmpty) return { status: "error", exitCode: 2 };
  if (facts.requireAll && facts.skipped > 0) return { status: "failed", exitCode: 1 };
  return { status: "passed", exitCode: 0 };
}
