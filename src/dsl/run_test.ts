import { formatSeconds } from "../values/mod.ts";
import {
  formatSite,
  operationsOf,
  Scope,
  type ScopeReport,
  setCharge,
  setScopeSignal,
} from "../scope/mod.ts";
import { onConsoleFinding } from "../lab/mod.ts";
import { classify, InterruptedError, LeakError, TestTimeoutError } from "./classify.ts";
import { type StepHost, TestContext, type TestState } from "./context.ts";
import {
  type Failure,
  type FileObserver,
  runAt,
  type TestInfo,
  type TestOutcome,
} from "./observer.ts";
import type { FileRegistry, TestDefinition } from "./registry.ts";
import { SkipError } from "./skip.ts";
import { TimeLimit } from "./time_limit.ts";

/** What a test runs in. */
export interface TestEnvironment {
  readonly registry: FileRegistry;
  readonly fileScope: Scope;
  readonly observer: FileObserver;
  /** Shows steps somewhere else too. */
  readonly stepHost?: StepHost;
  /** Aborts when the run is interrupted, or the file's time has run out; the reason fails the test. */
  readonly interrupt?: AbortSignal;
  /** Tests that run now, for errors that nobody caught. */
  readonly running?: Set<RunningTest>;
  /** The limit in milliseconds as of now, where it is not fixed by the author. */
  readonly limit?: () => number;
}

/** A test that runs now. */
export interface RunningTest {
  readonly name: string;
  /** Fails the test at once, with an error that arose outside of its body. */
  fail(error: unknown): void;
}

/** Longest time for `afterEach` hooks of a test whose own time has run out. */
const AFTER_TIMEOUT_MS = 10_000;

type Ending =
  | { how: "returned" }
  | { how: "threw"; error: unknown }
  | { how: "expired" }
  | { how: "stopped"; error: unknown };

/** Runs one attempt of a test and closes what it opened. Never rejects. */
export function runTest(
  test: TestDefinition,
  info: TestInfo,
  env: TestEnvironment,
): Promise<TestOutcome> {
  return runAt({ test: test.name, steps: [] }, () => new TestRun(test, info, env).run());
}

class TestRun {
  #test: TestDefinition;
  #info: TestInfo;
  #env: TestEnvironment;
  #scope: Scope;
  #abort = new AbortController();
  #limit: TimeLimit;
  #state: TestState;
  #t: TestContext;

  constructor(test: TestDefinition, info: TestInfo, env: TestEnvironment) {
    this.#test = test;
    this.#info = info;
    this.#env = env;
    this.#scope = new Scope(test.name, { kind: "test", parent: env.fileScope });
    this.#limit = env.limit ? new TimeLimit(env.limit) : new TimeLimit(info.timeoutMs);
    setScopeSignal(this.#scope, this.#abort.signal);
    setCharge(this.#scope, this.#limit);
    this.#state = {
      meta: test.meta,
      signal: this.#abort.signal,
      observer: env.observer,
      failures: [],
      skipped: undefined,
      failuresAtSkip: 0,
      ended: false,
      openSteps: new Set(),
    };
    this.#t = new TestContext(
      this.#scope,
      { test: test.name, steps: [] },
      this.#state,
      env.stepHost,
    );
  }

  async run(): Promise<TestOutcome> {
    const started = performance.now();
    const ending = await this.#body();
    const operations = operationsOf(this.#scope);
    const main = this.#mainFailure(ending);
    if (main && ending.how !== "threw") this.#abort.abort(main.error);
    const { failures } = this.#state;
    if (ending.how === "returned" && this.#state.openSteps.size > 0) {
      failures.push({ error: this.#unawaitedSteps() });
    }
    this.#limit.stop();
    await this.#afterEach();
    const report = await this.#scope.close();
    this.#state.ended = true;
    const all = [...main ? [main] : [], ...failures.filter(({ error }) => error !== main?.error)];
    if (report.error) all.push({ error: report.error, phase: "closing" });
    if (this.#env.registry.options.strict) all.push(...leaks(this.#test.name, report));
    const wasSkipped = this.#state.skipped !== undefined && this.#state.failuresAtSkip === 0 &&
      !report.error && (ending.how === "returned" || ending.how === "threw");
    const isInterrupted = main?.error instanceof InterruptedError;
    return {
      ...this.#info,
      durationMs: performance.now() - started,
      ...operations,
      closed: report.closed,
      ...wasSkipped
        ? { status: "skipped", reason: this.#state.skipped, others: all }
        : isInterrupted
        ? { status: "skipped", reason: "interrupted", others: all.slice(1) }
        : outcomeOf(all),
    };
  }

  async #body(): Promise<Ending> {
    const { interrupt, running } = this.#env;
    const stopped = Promise.withResolvers<Ending>();
    const stop = (error: unknown) => stopped.resolve({ how: "stopped", error });
    const onInterrupt = () => stop(interrupt!.reason);
    if (interrupt?.aborted) return { how: "stopped", error: interrupt.reason };
    interrupt?.addEventListener("abort", onInterrupt, { once: true });
    const entry: RunningTest = { name: this.#test.name, fail: stop };
    running?.add(entry);
    // A kernel that complains fails the test even if none of its operations notices.
    const stopWatching = onConsoleFinding(stop);
    const work = this.#scope.run(async (): Promise<Ending> => {
      try {
        for (const { fn } of this.#env.registry.beforeEach) {
          const before = this.#state.failures.length;
          await fn(this.#t);
          if (this.#state.failures.length > before) return { how: "returned" };
        }
        await this.#test.fn?.(this.#t);
        return { how: "returned" };
      } catch (error) {
        return { how: "threw", error };
      }
    });
    try {
      const expired = this.#limit.expired.then((): Ending => ({ how: "expired" }));
      return await Promise.race([work, expired, stopped.promise]);
    } finally {
      interrupt?.removeEventListener("abort", onInterrupt);
      running?.delete(entry);
      stopWatching();
    }
  }

  #mainFailure(ending: Ending): Failure | undefined {
    if (ending.how === "returned") return undefined;
    if (ending.how === "expired") return { error: this.#timeoutError() };
    const { error } = ending;
    if (error instanceof SkipError) {
      // Even a skip that another test's t asked for ends this test.
      this.#state.skipped ??= error.message;
      return undefined;
    }
    const known = this.#state.failures.find((failure) => failure.error === error);
    return known ?? { error };
  }

  #timeoutError(): TestTimeoutError {
    const { inProgress } = operationsOf(this.#scope);
    const { limitMs } = this.#limit;
    const limit = formatSeconds(limitMs / 1000);
    const now = performance.now();
    const lines = inProgress.map(({ op, vm, startMs, site }) =>
      `${vm ? `machine "${vm}": ` : ""}${op} in progress for ${
        formatSeconds((now - startMs) / 1000)
      }, ` +
      `called at ${formatSite(site)}`
    );
    const steps = [...this.#state.openSteps].map((step) => `step "${step}" was running`);
    const actual = [...lines, ...steps].join("\n") || "no operation of belljar was in progress";
    return new TestTimeoutError(
      `Test ${JSON.stringify(this.#test.name)} did not end within ${limit}`,
      limitMs,
      { actual, next: "give the test a longer `timeout`, or what it waits for a shorter one" },
    );
  }

  #unawaitedSteps(): TypeError {
    const names = [...this.#state.openSteps].map((name) => JSON.stringify(name)).join(", ");
    return new TypeError(
      `Test ${
        JSON.stringify(this.#test.name)
      } returned while step ${names} was running: await t.step()`,
    );
  }

  /** After a timeout the hooks have a scope and a limit of their own: the test's signal has aborted. */
  async #afterEach(): Promise<void> {
    const hooks = this.#env.registry.afterEach.toReversed();
    if (hooks.length === 0) return;
    const scope = new Scope("afterEach", { kind: "step", parent: this.#scope });
    const abort = new AbortController();
    const limit = new TimeLimit(Math.min(this.#info.timeoutMs, AFTER_TIMEOUT_MS));
    setScopeSignal(scope, abort.signal);
    setCharge(scope, limit);
    const work = scope.run(async () => {
      for (const { fn } of hooks) {
        try {
          await fn(this.#t);
        } catch (error) {
          if (error instanceof SkipError) continue;
          if (this.#state.failures.some((failure) => failure.error === error)) continue;
          this.#state.failures.push({ error, phase: "afterEach" });
        }
      }
    });
    const expired = limit.expired.then(() => {
      const error = new TestTimeoutError(
        `afterEach() of test ${JSON.stringify(this.#test.name)} did not end within ${
          formatSeconds(limit.limitMs / 1000)
        }`,
        limit.limitMs,
        {},
      );
      this.#state.failures.push({ error, phase: "afterEach" });
      abort.abort(error);
    });
    await Promise.race([work, expired]);
    limit.stop();
    const report = await scope.close();
    if (report.error) this.#state.failures.push({ error: report.error, phase: "afterEach" });
  }
}

function leaks(name: string, report: ScopeReport): Failure[] {
  const left = report.closed.filter(({ leaked }) => leaked);
  if (left.length === 0) return [];
  const actual = left.map(({ kind, name, site }) =>
    `${kind} ${name}, created at ${formatSite(site)}`
  );
  const error = new LeakError(
    `Test ${JSON.stringify(name)} left ${left.length} resource${left.length === 1 ? "" : "s"} open`,
    { actual: actual.join("\n"), next: "close them in the test, or do without `strict`" },
  );
  return [{ error, phase: "closing" }];
}

function outcomeOf(all: Failure[]): Pick<TestOutcome, "status" | "class" | "failure" | "others"> {
  const [failure, ...others] = all;
  if (!failure) return { status: "passed", others: [] };
  return { status: "failed", class: classify(failure.error), failure, others };
}
