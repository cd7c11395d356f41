import {
  background,
  type BackgroundOptions,
  type GroupOptions,
  type Job,
  jobs,
  type JobView,
  type Service,
  service,
  type ServiceGroup,
  services,
  type ServiceSpec,
} from "../jobs/mod.ts";
import { allowConsole } from "../lab/mod.ts";
import { isTolerated, type Registration, Scope } from "../scope/mod.ts";
import { type Assertions, makeAssertions } from "./assertions.ts";
import type { TestMeta } from "./meta.ts";
import {
  type AttachedData,
  type Failure,
  type FileObserver,
  runAt,
  type Whereabouts,
} from "./observer.ts";
import { SkipError } from "./skip.ts";

/** Runs a step's body as whoever runs the file wants it shown. */
export type StepHost = (
  name: string,
  body: (inner: StepHost | undefined) => Promise<void>,
) => Promise<void>;

/** What the parts of one test share. */
export interface TestState {
  readonly meta: TestMeta;
  readonly signal: AbortSignal;
  readonly observer: FileObserver;
  /** Failed assertions and steps, whether or not their errors were caught. */
  readonly failures: Failure[];
  /** Why the test left by `t.skip()`. */
  skipped: string | undefined;
  /** How many failures there were when it left. */
  failuresAtSkip: number;
  ended: boolean;
  /** Names of steps that still run. */
  readonly openSteps: Set<string>;
}

/** How a step's body ended. */
interface StepRun<T> {
  result?: T;
  /** What it threw. */
  thrown?: { error: unknown };
  /** What it recorded first: a soft or caught assertion, a resource that could not be closed. */
  recorded?: { error: unknown };
}

/** Data of `t.attach()`: text, bytes, or a file. */
export type Attachable = string | Uint8Array | URL | { path: string };

/** What a test gets: assertions, steps, and where to put what it opens. */
export interface TestContext extends Assertions {}

/** What a test gets: assertions, steps, and where to put what it opens. */
export class TestContext {
  /** Name of the test or step. */
  readonly name: string;
  /** Meta data of the test. */
  readonly meta: TestMeta;
  /** Aborts when the test's time has run out, or the run is interrupted. */
  readonly signal: AbortSignal;
  /** What is opened in this test or step, closed at its end. */
  readonly scope: Scope;
  /** The same assertions, which are recorded and let the test go on. */
  readonly soft: Assertions;
  #state: TestState;
  #at: Whereabouts;
  #host: StepHost | undefined;

  /** @internal */
  constructor(scope: Scope, at: Whereabouts, state: TestState, host?: StepHost) {
    this.name = scope.name;
    this.meta = state.meta;
    this.signal = state.signal;
    this.scope = scope;
    this.#state = state;
    this.#at = at;
    this.#host = host;
    Object.assign(
      this,
      makeAssertions((error) => {
        this.#record(error);
        throw error;
      }),
    );
    this.soft = makeAssertions((error) => this.#record(error, "soft"));
  }

  /**
   * Runs a part of the test with its own scope and its own `t`. A failed step fails the test.
   *
   * @returns What `fn` returns; `undefined` if the step was skipped.
   */
  async step<T>(name: string, fn: (t: TestContext) => T | Promise<T>): Promise<T | undefined> {
    if (typeof name !== "string" || name === "") {
      throw new TypeError(`The name of a step must be text, got ${typeof name}`);
    }
    if (typeof fn !== "function") {
      throw new TypeError(`Step ${JSON.stringify(name)} must have a function, got ${typeof fn}`);
    }
    if (this.#state.ended) {
      throw new TypeError(
        `Cannot start step ${JSON.stringify(name)}: test ${
          JSON.stringify(this.#at.test)
        } has ended`,
      );
    }
    let outcome: StepRun<T> | undefined;
    const body = async (inner: StepHost | undefined) => {
      outcome = await this.#runStep(name, fn, inner);
      const shown = outcome.thrown ?? outcome.recorded;
      if (shown) throw shown.error;
    };
    try {
      await (this.#host ? this.#host(name, body) : body(undefined));
    } catch (error) {
      if (!outcome) throw error; // The host did not run the body at all.
    }
    if (outcome?.thrown) throw outcome.thrown.error;
    return outcome?.result;
  }

  async #runStep<T>(
    name: string,
    fn: (t: TestContext) => T | Promise<T>,
    host: StepHost | undefined,
  ): Promise<StepRun<T>> {
    const { observer, openSteps, failures } = this.#state;
    const at: Whereabouts = { test: this.#at.test, steps: [...this.#at.steps, name] };
    const label = at.steps.join(" > ");
    const scope = new Scope(name, { parent: this.scope, kind: "step" });
    const t = new TestContext(scope, at, this.#state, host);
    const started = performance.now();
    const before = failures.length;
    const run: StepRun<T> = {};
    let reason: string | undefined;
    openSteps.add(label);
    observer.stepStarted?.(at);
    await runAt(at, async () => {
      try {
        run.result = await scope.run(async () => await fn(t));
      } catch (error) {
        if (error instanceof SkipError && error.owner === t) reason = error.message;
        else run.thrown = { error };
      }
      const report = await scope.close();
      if (report.error) {
        failures.push({ error: report.error, phase: `closing step "${label}"`, inStep: true });
      }
    });
    openSteps.delete(label);
    if (run.thrown?.error instanceof SkipError) reason = this.#state.skipped ?? "skipped";
    else if (run.thrown) this.#recordStep(run.thrown.error, label);
    run.recorded = failures[before];
    const durationMs = performance.now() - started;
    const error = (run.thrown ?? run.recorded)?.error;
    if (reason !== undefined) {
      observer.stepFinished?.(at, { status: "skipped", durationMs, reason });
    } else if (error) observer.stepFinished?.(at, { status: "failed", durationMs, error });
    else observer.stepFinished?.(at, { status: "passed", durationMs });
    return run;
  }

  /** A failed step fails the test, whoever catches what it throws. */
  #recordStep(error: unknown, label: string): void {
    const { failures } = this.#state;
    if (isTolerated() || failures.some((failure) => failure.error === error)) return;
    failures.push({ error, phase: `step "${label}"`, inStep: true });
  }

  /** Leaves the test, or the step whose `t` this is, as skipped. */
  skip(reason = ""): never {
    if (typeof reason !== "string") {
      throw new TypeError(`t.skip() takes a reason, got ${typeof reason}`);
    }
    const text = reason === "" ? "skipped by the test" : reason;
    if (this.#at.steps.length === 0 && this.#state.skipped === undefined) {
      this.#state.skipped = text;
      this.#state.failuresAtSkip = this.#state.failures.length;
    }
    throw new SkipError(text, this);
  }

  /** Writes a line into the test's log. */
  log(...args: unknown[]): void {
    const text = args.map((arg) => typeof arg === "string" ? arg : Deno.inspect(arg)).join(" ");
    this.#state.observer.log?.(this.#at, text);
  }

  /** Attaches data to the test's report: text, bytes, or a file by URL or `{ path }`. */
  attach(name: string, data: Attachable): void {
    if (typeof name !== "string" || name === "") {
      throw new TypeError(`t.attach() takes a name as its first argument, got ${typeof name}`);
    }
    const content = attached(data);
    this.#state.observer.attached?.(this.#at, { name, ...content });
  }

  /**
   * Lets complaints of a guest's kernel that match pass until the test or step ends: they neither end waits nor fail it.
   *
   * @param reason Why this is expected; shown in reports.
   */
  allowConsole(pattern: string | RegExp, reason: string): Registration {
    return this.scope.run(() => allowConsole(pattern, reason));
  }

  /** Starts a process on this host, which ends with the test or step. */
  async background(command: string | readonly string[], options?: BackgroundOptions): Promise<Job> {
    return await this.scope.run(() => background(command, options));
  }

  /** Starts a service on this host and waits until it is ready; it is stopped when the test or step ends. */
  async service(spec: ServiceSpec): Promise<Service> {
    return await this.scope.run(() => service(spec));
  }

  /** Starts services on this host in the order of their dependencies; they are stopped when the test or step ends. */
  async services(specs: readonly ServiceSpec[], options?: GroupOptions): Promise<ServiceGroup> {
    return await this.scope.run(() => services(specs, options));
  }

  /** The jobs of this test or step, of guests and of this host. */
  get jobs(): JobView {
    return jobs.viewOf(this.scope);
  }

  /** Calls `fn` when the test or step ends, in its place among what is closed. */
  defer(fn: (signal: AbortSignal) => unknown): Registration {
    return this.scope.defer(fn);
  }

  /** Disposes of `disposable` when the test or step ends, and returns it. */
  use<T extends Disposable | AsyncDisposable>(disposable: T): T {
    return this.scope.use(disposable);
  }

  #record(error: unknown, phase?: string): void {
    if (this.#state.ended || (phase === undefined && isTolerated())) return;
    const inStep = this.#at.steps.length > 0;
    this.#state.failures.push({ error, ...phase && { phase }, ...inStep && { inStep } });
  }
}

function attached(data: Attachable): Omit<AttachedData, "name"> {
  if (typeof data === "string") return { text: data };
  if (data instanceof Uint8Array) return { bytes: data };
  if (data instanceof URL) return { path: decodeURIComponent(data.pathname) };
  if (typeof data === "object" && data !== null && typeof data.path === "string") {
    return { path: data.path };
  }
  throw new TypeError(`t.attach() takes text, bytes, a URL or { path }, got ${typeof data}`);
}
