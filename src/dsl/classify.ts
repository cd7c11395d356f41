import { AgentLostError, BelljarError, BootError, HostError, ImageError } from "../errors.ts";
import { ConsoleRuleError } from "../lab/mod.ts";
import { ScopeError } from "../scope/mod.ts";

/** What made a test fail: the author's code, the guest, the time, something left open, belljar, or the host. */
export type FailureKind = "test" | "guest" | "timeout" | "leak" | "harness" | "host";

/** A test took longer than it may. */
export class TestTimeoutError extends BelljarError {
  override readonly name = "TestTimeoutError";
  /** The limit, in milliseconds. */
  readonly timeoutMs: number;

  constructor(summary: string, timeoutMs: number, details: { actual?: string; next?: string }) {
    super(summary, { code: "TEST_TIMEOUT", ...details });
    this.timeoutMs = timeoutMs;
  }
}

/** A test of a strict file left something open. */
export class LeakError extends BelljarError {
  override readonly name = "LeakError";

  constructor(summary: string, details: { actual?: string; next?: string }) {
    super(summary, { code: "LEAK", ...details });
  }
}

/** The run was interrupted while the test ran. */
export class InterruptedError extends BelljarError {
  override readonly name = "InterruptedError";

  constructor() {
    super("The run was interrupted", { code: "INTERRUPTED" });
  }
}

/** Says what kind of failure an error is. */
export function classify(error: unknown): FailureKind {
  if (error instanceof TestTimeoutError) return "timeout";
  if (error instanceof LeakError) return "leak";
  if (error instanceof HostError || error instanceof ImageError) return "host";
  if (error instanceof BootError) return error.stage === "launch" ? "host" : "guest";
  if (error instanceof AgentLostError || error instanceof ConsoleRuleError) return "guest";
  if (error instanceof ScopeError) {
    const ofAuthor = error.failures.every(({ kind }) => kind === "defer" || kind === "disposable");
    return ofAuthor ? "test" : "harness";
  }
  return "test";
}

/** Whether running it again may help, since neither the test nor the guest is at fault. */
export function isInfrastructure(kind: FailureKind | undefined): boolean {
  return kind === "host" || kind === "harness";
}
