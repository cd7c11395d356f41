import { formatSeconds, milliseconds } from "../values/mod.ts";
import {
  formatSite,
  type Scope,
  type ScopeReport,
  setCharge,
  setScopeSignal,
  timeScale,
} from "../scope/mod.ts";
import { classify, InterruptedError, LeakError, TestTimeoutError } from "./classify.ts";
import { timeoutOf } from "./meta.ts";
import {
  type Failure,
  type FileObserver,
  type TestInfo,
  type TestOutcome,
  unrunOutcome,
} from "./observer.ts";
import type { FileRegistry, TestDefinition } from "./registry.ts";
import { FileReset } from "./reset.ts";
import { Retries } from "./retries.ts";
import { DEFAULT_TEST_TIMEOUT_MS, runHook } from "./run_hook.ts";
import { type RunningTest, runTest } from "./run_test.ts";
import { type SelectedTest, type Selection, selectTests } from "./select.ts";
import { shuffled } from "./shuffle.ts";
import { TimeLimit } from "./time_limit.ts";

/** How the tests of a file are run. */
export interface RunFileOptions {
  selection?: Selection;
  /** Limit of tests that name none, in milliseconds. */
  timeoutMs?: number;
  /** How often a failed test is run again, if it says nothing itself. */
  retries?: number;
  /** How often each test is run. */
  repeat?: number;
  /** Runs the tests in an order that this number decides. */
  shuffleSeed?: number;
  /** Stops after this many failed tests. */
  maxFailures?: number;
  /** Aborts when the run is interrupted. */
  interrupt?: AbortSignal;
  /** Says why a test cannot run on this host, or `undefined` if it can. */
  unmet?: (test: TestDefinition) => Promise<string | undefined>;
}

/** How the tests of a file ended. */
export interface FileOutcome {
  tests: TestOutcome[];
  /** What went wrong outside of its tests. */
  failures: Failure[];
  /** Whether it was stopped before all its tests had run. */
  stopped: "interrupted" | "timeout" | "maxFailures" | undefined;
}

/** Least limit of a file on hardware virtualisation. */
export const DEFAULT_FILE_TIMEOUT_MS = 300_000;

/** Limit of a test in milliseconds, as of now. */
export function testLimit(test: TestDefinition, defaultMs: number | undefined): () => number {
  const own = timeoutOf(test.meta) ?? defaultMs;
  return own === undefined ? () => DEFAULT_TEST_TIMEOUT_MS * timeScale() : () => own;
}

/** Runs the chosen tests of a file in its scope, and closes that. */
export class FileRun {
  readonly registry: FileRegistry;
  readonly scope: Scope;
  readonly running: Set<RunningTest> = new Set();
  readonly selected: SelectedTest[];
  #options: RunFileOptions;
  #observer: FileObserver;
  #failures: Failure[] = [];
  #stop = new AbortController();
  #stopped: FileOutcome["stopped"];
  #limit: TimeLimit | undefined;
  #reset: FileReset;
  /** Index of the next test to run. */
  #next = 0;

  constructor(
    registry: FileRegistry,
    scope: Scope,
    observer: FileObserver,
    options: RunFileOptions = {},
  ) {
    this.registry = registry;
    this.scope = scope;
    this.#reset = new FileReset(scope);
    this.#observer = observer;
    this.#options = options;
    const selected = selectTests(registry, options.selection ?? {});
    this.selected = options.shuffleSeed === undefined
      ? selected
      : shuffled(selected, options.shuffleSeed);
  }

  /** Limit of the whole file, in milliseconds, as of now. */
  get limitMs(): number {
    const { timeout } = this.registry.options;
    if (timeout !== undefined) return milliseconds(timeout);
    const { timeoutMs, retries = 0, repeat = 1 } = this.#options;
    let sum = 0;
    for (const { test, skip } of this.selected) {
      if (skip !== undefined) continue;
      const runs = repeat * (1 + Math.max(1, test.meta.retries ?? retries));
      sum += testLimit(test, timeoutMs)() * runs;
    }
    return Math.max(DEFAULT_FILE_TIMEOUT_MS * timeScale(), sum);
  }

  /** How many of its tests are still to begin. */
  get testsAhead(): number {
    if (this.#stopped !== undefined) return 0;
    return this.selected.slice(this.#next).filter(({ skip }) => skip === undefined).length;
  }

  /** How long the file has gone on after its limit, in milliseconds; 0 while there is time left. */
  get overdueMs(): number {
    return this.#limit ? Math.max(0, this.#limit.usedMs - this.#limit.limitMs) : 0;
  }

  /** Fails what runs now, because of an error that nobody caught. */
  uncaught(error: unknown): void {
    const running = [...this.running];
    // With several tests at once nobody knows whose error it is: the file's.
    if (running.length === 1) running[0]!.fail(error);
    else this.#failures.push({ error, phase: "uncaught" });
  }

  /** Runs everything. Never rejects. */
  async run(): Promise<FileOutcome> {
    const { interrupt } = this.#options;
    const onInterrupt = () => this.#halt("interrupted", new InterruptedError());
    if (interrupt?.aborted) onInterrupt();
    interrupt?.addEventListener("abort", onInterrupt, { once: true });
    const limit = this.#limit = new TimeLimit(() => this.limitMs);
    setCharge(this.scope, limit);
    setScopeSignal(this.scope, this.#stop.signal);
    limit.expired.then(() => this.#halt("timeout", this.#timeoutError()));
    try {
      const hookFailure = await this.#beforeAll();
      const tests = await this.#tests(hookFailure);
      await this.#afterAll();
      const report = await this.scope.close();
      this.#closed(report);
      return { tests, failures: this.#failures, stopped: this.#stopped };
    } finally {
      limit.stop();
      interrupt?.removeEventListener("abort", onInterrupt);
    }
  }

  #halt(why: FileOutcome["stopped"], reason: unknown): void {
    this.#stopped ??= why;
    this.#stop.abort(reason);
  }

  async #beforeAll(): Promise<Failure | undefined> {
    if (!this.selected.some(({ skip }) => skip === undefined)) return undefined;
    for (const { fn } of this.registry.beforeAll) {
      const failure = await this.#hook(fn, "beforeAll");
      if (failure) return failure;
    }
    return undefined;
  }

  async #afterAll(): Promise<void> {
    if (!this.selected.some(({ skip }) => skip === undefined)) return;
    for (const { fn } of this.registry.afterAll.toReversed()) {
      const failure = await this.#hook(fn, "afterAll");
      if (failure) this.#failures.push(failure);
    }
  }

  #hook(fn: () => unknown, phase: "beforeAll" | "afterAll"): Promise<Failure | undefined> {
    return runHook(fn, {
      phase,
      scope: this.scope,
      timeoutMs: this.#options.timeoutMs,
      // What afterAll() cleans up has to be cleaned up after an interrupt too.
      stop: phase === "beforeAll" ? this.#stop.signal : undefined,
      fileLimit: this.#limit,
      signalAfter: this.#stop.signal,
    });
  }

  async #tests(hookFailure: Failure | undefined): Promise<TestOutcome[]> {
    const { repeat = 1, maxFailures = Infinity } = this.#options;
    const results: TestOutcome[][] = this.selected.map(() => []);
    let failed = 0;
    const worker = async () => {
      while (this.#next < this.selected.length) {
        const index = this.#next++;
        const { test, skip } = this.selected[index]!;
        for (let round = 1; round <= (skip === undefined ? repeat : 1); round++) {
          const outcome = await this.#one(test, skip, hookFailure);
          results[index]!.push(outcome);
          if (outcome.status !== "failed") continue;
          if (++failed >= maxFailures) this.#stopped ??= "maxFailures";
          break;
        }
      }
    };
    const { concurrency = 1 } = this.registry.options;
    await Promise.all(Array.from({ length: concurrency }, worker));
    return results.flat();
  }

  async #one(
    test: TestDefinition,
    skip: string | undefined,
    hookFailure: Failure | undefined,
  ): Promise<TestOutcome> {
    const reason = skip ?? NOT_RUN[this.#stopped ?? ""] ?? await this.#options.unmet?.(test);
    if (reason !== undefined) return await this.#unrun(test, { status: "skipped", reason });
    if (hookFailure) return await this.#broken(test, hookFailure);
    const retries = new Retries(test.meta.retries ?? this.#options.retries ?? 0);
    for (let attempt = 1;; attempt++) {
      const failure = this.registry.options.resetBetweenTests && await this.#reset.before();
      if (failure) return await this.#broken(test, failure);
      const limit = testLimit(test, this.#options.timeoutMs);
      const info = this.#info(test, attempt, limit());
      await this.#observer.testStarted?.(info);
      const outcome = await runTest(test, info, {
        registry: this.registry,
        fileScope: this.scope,
        observer: this.#observer,
        interrupt: this.#stop.signal,
        running: this.running,
        limit,
      });
      if (!this.#stop.signal.aborted && retries.take(outcome)) outcome.willRetry = true;
      if (outcome.status === "passed" && attempt > 1) outcome.status = "flaky";
      await this.#observer.testFinished?.(outcome);
      if (!outcome.willRetry) return outcome;
    }
  }

  /** A test that fails because of what was done before it. */
  async #broken(test: TestDefinition, failure: Failure): Promise<TestOutcome> {
    return await this.#unrun(test, {
      status: "failed",
      class: classify(failure.error),
      failure,
    });
  }

  async #unrun(
    test: TestDefinition,
    how: Parameters<typeof unrunOutcome>[1],
  ): Promise<TestOutcome> {
    const info = this.#info(test, 1, testLimit(test, this.#options.timeoutMs)());
    const outcome = unrunOutcome(info, how);
    await this.#observer.testFinished?.(outcome);
    return outcome;
  }

  #info(test: TestDefinition, attempt: number, timeoutMs: number): TestInfo {
    return { name: test.name, meta: test.meta, site: test.site, attempt, timeoutMs };
  }

  #closed(report: ScopeReport): void {
    if (report.error) this.#failures.push({ error: report.error, phase: "closing the file" });
    const left = report.closed.filter(({ leaked }) => leaked);
    if (!this.registry.options.strict || left.length === 0) return;
    const actual = left.map(({ kind, name, site }) =>
      `${kind} ${name}, created at ${formatSite(site)}`
    );
    const error = new LeakError(`The file left ${left.length} of its resources open`, {
      actual: actual.join("\n"),
      next: "close them in afterAll(), or do without `strict`",
    });
    this.#failures.push({ error, phase: "closing the file" });
  }

  #timeoutError(): TestTimeoutError {
    const { limitMs } = this;
    return new TestTimeoutError(
      `The file did not end within ${formatSeconds(limitMs / 1000)}`,
      limitMs,
      {
        next: "give it a longer timeout by defineFile({ timeout }), or fewer tests",
      },
    );
  }
}

const NOT_RUN: Record<string, string> = {
  interrupted: "not run: the run was interrupted",
  timeout: "not run: the time of the file had run out",
  maxFailures: "not run: too many tests had failed",
};
