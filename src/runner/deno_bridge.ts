import { join, relative } from "node:path";
import {
  classify,
  type Failure,
  type FileObserver,
  FileRegistry,
  FileReset,
  Retries,
  runHook,
  type RunningTest,
  runTest,
  setRegistry,
  setRegistryFallback,
  type StepHost,
  type TestDefinition,
  type TestInfo,
  testLimit,
  type TestOutcome,
  unrunOutcome,
} from "../dsl/mod.ts";
import { cacheDir, closeCurrentRun } from "../host/mod.ts";
import { setLabProviders } from "../lab/mod.ts";
import { escapeControl } from "../report/escape.ts";
import { type BelljarEvent, isKind } from "../report/events.ts";
import { errorInfo } from "../report/error_info.ts";
import { formatSite, runScope, Scope, setDefaultScope, setEventSink } from "../scope/mod.ts";
import { bytes } from "../values/mod.ts";
import { failureNotes } from "./_failure_notes.ts";
import { budgetFor } from "./budget.ts";
import { loadConfig } from "./config.ts";
import { type Emit, makeEmit } from "./emit.ts";
import { EventFile } from "./event_file.ts";
import { EventObserver } from "./event_observer.ts";
import { installMachineDefaults, installStandbys, machineDefaults } from "./machine_defaults.ts";
import { SlotPool } from "./slot_pool.ts";
import { deepenStacks } from "./stacks.ts";
import { unmetRequirement } from "./requirements.ts";

/** Whether `deno test` runs this process: elsewhere `Deno.test` is a function that takes nothing. */
export function isUnderDenoTest(): boolean {
  return typeof Deno.test === "function" && Deno.test.length > 0 &&
    typeof Deno.test.afterAll === "function";
}

/**
 * Makes the tests of belljar tests of Deno when a file runs under `deno test`: names, filters and reports are Deno's, scopes,
 * hooks, timeouts and steps are belljar's.
 */
export function installDenoBridge(): void {
  if (!isUnderDenoTest()) return;
  deepenStacks();
  let bridge: DenoBridge | undefined;
  setRegistryFallback(() => (bridge ??= new DenoBridge()).registry);
  // Registered when belljar is imported, so that it runs after the author's own; it runs even if no test was chosen.
  Deno.test.afterAll(() => bridge?.end());
  // A file whose top level throws runs no afterAll: what it opened is closed without anybody waiting for it.
  globalThis.addEventListener("unload", () => void bridge?.scope.close());
}

class DenoBridge {
  readonly registry = new FileRegistry();
  readonly scope: Scope;
  #observer: FileObserver;
  #emit: Emit;
  #events: EventFile | undefined;
  #running = new Set<RunningTest>();
  #ready: Promise<Failure | undefined> | undefined;
  #started = performance.now();
  #reset: FileReset;
  #failed: TestOutcome[] = [];
  #ignored: [test: TestDefinition, reason: string][] = [];
  #ran = 0;
  /** Tests that were defined and have not begun, as far as Deno runs them. */
  #ahead = 0;
  #standbys: AsyncDisposable;
  #file: string;

  constructor() {
    const path = decodeURIComponent(new URL(Deno.mainModule).pathname);
    this.#file = relative(Deno.cwd(), path);
    this.scope = new Scope(this.#file, { kind: "file", parent: runScope() });
    this.#reset = new FileReset(this.scope);
    const target = Deno.env.get("BELLJAR_EVENTS");
    // The files of one `deno test` write to the same stream.
    if (target) this.#events = new EventFile(target, { append: true });
    const run = crypto.randomUUID().slice(0, 8);
    this.#emit = makeEmit(run, (event) => {
      this.#events?.write(event);
      show(event);
    });
    const seed = Number(Deno.env.get("BELLJAR_SEED")) ||
      crypto.getRandomValues(new Uint32Array(1))[0]!;
    const observer = new EventObserver({ file: this.#file, seed, emit: this.#emit });
    this.#observer = observer;
    setEventSink(observer.sink);
    setDefaultScope(this.scope);
    let loading: ReturnType<typeof loadConfig> | undefined;
    const defaults = machineDefaults((name) => Deno.env.get(name));
    installMachineDefaults(defaults, () => loading ??= loadConfig(Deno.cwd()));
    const { reserve, spare } = sharedMemory();
    setLabProviders({ reserve });
    this.#standbys = installStandbys(defaults, {
      reserve: spare,
      testsAhead: () => this.#ahead,
    });
    // Kept as the registry itself, so that definitions after the first come here without another question.
    setRegistry(this.registry);
    this.registry.onTest = (test) => this.#define(test);
    this.#emit("file_started", { file: this.#file, pid: Deno.pid, attempt: 1 });
  }

  /** Runs the file's last hooks and closes what it opened. */
  async end(): Promise<void> {
    const errors: unknown[] = [];
    if (this.#ready) {
      for (const { fn } of this.registry.afterAll.toReversed()) {
        const failure = await runHook(fn, { phase: "afterAll", scope: this.scope });
        if (failure) errors.push(failure.error);
      }
    }
    const report = await this.scope.close();
    if (report.error) errors.push(report.error);
    const left = report.closed.filter(({ leaked }) => leaked);
    if (this.registry.options.strict && left.length > 0) {
      const names = left.map(({ kind, name, site }) =>
        `${kind} ${name}, created at ${formatSite(site)}`
      );
      errors.push(new Error(`The file left open: ${names.join("; ")}`));
    }
    await this.#standbys[Symbol.asyncDispose]();
    const all = await runScope().close();
    if (all.error) errors.push(all.error);
    await closeCurrentRun();
    for (const [test, reason] of this.#ignored) {
      await this.#unrun(test, { status: "skipped", reason });
    }
    const [error] = errors;
    const kind = errors.length > 0 ? classify(error) : this.#failed[0]?.class;
    const isFailed = this.#failed.length > 0 || errors.length > 0;
    this.#emit("file_finished", {
      file: this.#file,
      status: isFailed ? "failed" : this.#ran > 0 ? "passed" : "skipped",
      durationMs: performance.now() - this.#started,
      ...kind && { class: kind },
      ...errors.length > 0 && { error: errorInfo(error) },
    });
    this.#events?.[Symbol.dispose]();
    if (errors.length === 1) throw error;
    if (errors.length > 1) throw new AggregateError(errors, "Cannot close the file");
  }

  #define(test: TestDefinition): void {
    const skip = this.registry.skipAll ?? test.skip ??
      (test.meta.slow && !Deno.env.get("BELLJAR_INCLUDE_SLOW") ? "slow" : undefined);
    if (skip !== undefined) this.#ignored.push([test, skip]);
    else this.#ahead++;
    Deno.test({
      name: test.name,
      ignore: skip !== undefined,
      only: test.only,
      sanitizeOps: false,
      sanitizeResources: false,
      fn: (context) => this.#run(test, context),
    });
  }

  async #run(test: TestDefinition, context: Deno.TestContext): Promise<void> {
    this.registry.seal("the tests of the file run already");
    this.#ahead--;
    const reason = this.registry.skipAll ?? await unmetRequirement(test);
    if (reason !== undefined) {
      await this.#unrun(test, { status: "skipped", reason });
      return await showSkip(context, reason);
    }
    const broken = await (this.#ready ??= this.#beforeAll());
    if (broken) return await this.#broken(test, broken);
    this.#ran++;
    const retries = new Retries(test.meta.retries ?? 0);
    for (let attempt = 1;; attempt++) {
      const stale = this.registry.options.resetBetweenTests && await this.#reset.before();
      if (stale) return await this.#broken(test, stale);
      const outcome = await this.#attempt(test, attempt, context);
      if (retries.take(outcome)) outcome.willRetry = true;
      if (outcome.status === "passed" && attempt > 1) outcome.status = "flaky";
      await this.#observer.testFinished?.(outcome);
      if (!outcome.willRetry) return await this.#show(outcome, context);
    }
  }

  async #broken(test: TestDefinition, failure: Failure): Promise<never> {
    await this.#unrun(test, { status: "failed", class: classify(failure.error), failure });
    throw failure.error;
  }

  async #unrun(test: TestDefinition, how: Parameters<typeof unrunOutcome>[1]): Promise<void> {
    const outcome = unrunOutcome(this.#info(test, 1, testLimit(test, undefined)()), how);
    if (outcome.status === "failed") this.#failed.push(outcome);
    await this.#observer.testFinished?.(outcome);
  }

  #info(test: TestDefinition, attempt: number, timeoutMs: number): TestInfo {
    return { name: test.name, meta: test.meta, site: test.site, attempt, timeoutMs };
  }

  async #beforeAll(): Promise<Failure | undefined> {
    for (const { fn } of this.registry.beforeAll) {
      const failure = await runHook(fn, { phase: "beforeAll", scope: this.scope });
      if (failure) return failure;
    }
    return undefined;
  }

  async #attempt(
    test: TestDefinition,
    attempt: number,
    context: Deno.TestContext,
  ): Promise<TestOutcome> {
    const limit = testLimit(test, undefined);
    const info = this.#info(test, attempt, limit());
    await this.#observer.testStarted?.(info);
    return await runTest(test, info, {
      registry: this.registry,
      fileScope: this.scope,
      observer: this.#observer,
      running: this.#running,
      limit,
      stepHost: stepHost(context),
    });
  }

  async #show(outcome: TestOutcome, context: Deno.TestContext): Promise<void> {
    if (outcome.status === "skipped") return await showSkip(context, outcome.reason ?? "skipped");
    const notes = failureNotes(outcome);
    // deno-lint-ignore no-console -- Deno shows what a test prints; there is no other way into its report
    if (notes) console.error(notes);
    if (outcome.status !== "failed") return;
    this.#failed.push(outcome);
    // What failed in a step is shown there: Deno says "due to 1 failed step" by itself.
    const failures = [outcome.failure, ...outcome.others].filter((failure) =>
      failure !== undefined
    );
    const errors = failures.filter(({ inStep }) => !inStep).map(({ error }) => error);
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} failures`);
  }
}

/** Processes of one host, started side by side or by `--parallel`, share its memory by locked files. */
function sharedMemory(): Pick<SlotPool, "reserve" | "spare"> {
  let pool: Promise<SlotPool> | undefined;
  const open = async () => {
    const text = Deno.env.get("BELLJAR_MEMORY");
    const chosen = text ? bytes(text, "BELLJAR_MEMORY") : undefined;
    const { memoryBytes } = await budgetFor({ memoryBytes: chosen }, 1);
    return new SlotPool({ dir: join(await cacheDir(), "slots"), memoryBytes });
  };
  return {
    reserve: async (request) => await (await (pool ??= open())).reserve(request),
    spare: async (request, reclaim) => await (await (pool ??= open())).spare(request, reclaim),
  };
}

/** Deno's report has no place for logs, warnings and consoles: they are printed, and shown by it with the test. */
function show(event: BelljarEvent): void {
  if (isKind(event, "log")) print(event.text);
  else if (isKind(event, "warning")) print(`warning: ${event.message}`);
  else if (isKind(event, "test_finished") && event.status === "failed") {
    const limit = event.class === "guest" ? 80 : 20;
    for (const { vm, path, lines } of event.consoles ?? []) {
      if (lines.length > 0) {
        print(`console of "${vm}", last lines of ${path}:\n${lines.slice(-limit).join("\n")}`);
      }
    }
  }
}

function print(text: string): void {
  // deno-lint-ignore no-console -- there is no other way into Deno's report
  console.log(escapeControl(text));
}

/** Steps are steps of Deno too. It fails the test when a step throws, without throwing itself. */
function stepHost(context: Deno.TestContext): StepHost {
  return async (name, body) => {
    await context.step({
      name,
      sanitizeOps: false,
      sanitizeResources: false,
      fn: (inner) => body(stepHost(inner)),
    });
  };
}

/** Deno cannot skip a test that runs: a step that is ignored tells the reason. */
async function showSkip(context: Deno.TestContext, reason: string): Promise<void> {
  await context.step({ name: `skipped: ${reason}`, ignore: true, fn: () => {} });
}
