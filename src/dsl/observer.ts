import { AsyncLocalStorage } from "node:async_hooks";
import type { ClosedResource, Site, TrackedOperation } from "../scope/mod.ts";
import type { FailureKind } from "./classify.ts";
import type { TestMeta } from "./meta.ts";

/** An error with the part of the test in which it arose. */
export interface Failure {
  error: unknown;
  /** `"closing"`, `"beforeEach"`, `"soft"`, …; missing for the body itself. */
  phase?: string;
  /** Whether it arose in a step, which shows it already. */
  inStep?: boolean;
}

/** What a test is, for those who watch it. */
export interface TestInfo {
  name: string;
  meta: TestMeta;
  site: Site | undefined;
  /** Number of the attempt, from 1. */
  attempt: number;
  timeoutMs: number;
}

/** How a test ended. */
export interface TestOutcome extends TestInfo {
  status: "passed" | "failed" | "skipped" | "flaky";
  durationMs: number;
  /** Why it was skipped. */
  reason?: string;
  class?: FailureKind;
  /** What made it fail, first of all. */
  failure?: Failure;
  /** What else went wrong. */
  others: Failure[];
  /** Whether another attempt follows. */
  willRetry?: boolean;
  inProgress: TrackedOperation[];
  history: TrackedOperation[];
  /** What its scope closed. */
  closed: ClosedResource[];
}

/** The outcome of a test whose body was never begun: it was skipped, or broken by what was to be done before it. */
export function unrunOutcome(
  info: TestInfo,
  how: Pick<TestOutcome, "status" | "reason" | "class" | "failure">,
): TestOutcome {
  return { ...info, durationMs: 0, others: [], inProgress: [], history: [], closed: [], ...how };
}

/** How a step ended. */
export interface StepOutcome {
  status: "passed" | "failed" | "skipped";
  durationMs: number;
  reason?: string;
  error?: unknown;
}

/** Data that a test attached. */
export interface AttachedData {
  name: string;
  text?: string;
  bytes?: Uint8Array;
  path?: string;
}

/** Where in a file something happens. */
export interface Whereabouts {
  test: string;
  /** Names of the steps, outermost first. */
  steps: readonly string[];
}

/** Watches the tests of a file. */
export interface FileObserver {
  testStarted?(test: TestInfo): void | Promise<void>;
  testFinished?(outcome: TestOutcome): void | Promise<void>;
  stepStarted?(at: Whereabouts): void;
  stepFinished?(at: Whereabouts, outcome: StepOutcome): void;
  log?(at: Whereabouts, text: string): void;
  attached?(at: Whereabouts, data: AttachedData): void;
}

const storage = new AsyncLocalStorage<Whereabouts>();

/** The test and step in which the caller runs; it also holds while their scopes close. */
export function whereabouts(): Whereabouts | undefined {
  return storage.getStore();
}

/** Runs `fn` as a part of that test or step. */
export function runAt<T>(at: Whereabouts, fn: () => T): T {
  return storage.run(at, fn);
}
