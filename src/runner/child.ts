import { join } from "node:path";
import {
  classify,
  type FileOutcome,
  FileRegistry,
  FileRun,
  setRegistry,
  TestTimeoutError,
} from "../dsl/mod.ts";
import { errorInfo } from "../report/error_info.ts";
import { setLabProviders } from "../lab/mod.ts";
import { setOutputRoot } from "../jobs/mod.ts";
import { closeCurrentRun } from "../host/mod.ts";
import {
  runScope,
  Scope,
  setDefaultScope,
  setEventSink,
  setListing,
  setScopeSignal,
  timeScale,
} from "../scope/mod.ts";
import { formatSeconds } from "../values/mod.ts";
import { LineChannel } from "./_line_channel.ts";
import { loadConfig } from "./config.ts";
import { type Emit, makeEmit } from "./emit.ts";
import { EventObserver, jsonSafe } from "./event_observer.ts";
import {
  type ChildResult,
  type FromChild,
  markLine,
  type StartMessage,
  type ToChild,
} from "./protocol.ts";
import { installMachineDefaults, installStandbys, machineDefaults } from "./machine_defaults.ts";
import { PoolClient } from "./pool_client.ts";
import { unmetRequirement } from "./requirements.ts";
import { importTestFile } from "./staging/mod.ts";
import { dropHugePages } from "./huge_pages.ts";
import { deepenStacks } from "./stacks.ts";

/** Longest time that loading a file may take on hardware virtualisation: machines may boot at its top level. */
const LOAD_TIMEOUT_MS = 300_000;

/** Runs one test file for the parent that listens on `socketPath`, and ends the process. */
export async function runChild(socketPath: string): Promise<never> {
  deepenStacks();
  dropHugePages();
  const conn = await Deno.connect({ transport: "unix", path: socketPath });
  const channel = new LineChannel<ToChild, FromChild>(conn);
  const messages = channel.messages();
  const first = await messages.next();
  if (first.done || first.value.type !== "start") Deno.exit(3);
  for (const [name, value] of Object.entries(first.value.environment)) Deno.env.set(name, value);
  const child = new Child(first.value, channel);
  child.listen(messages);
  const result = await child.run().catch((error): ChildResult => ({
    status: "failed",
    class: "harness",
    reason: "its process could not run it",
    error: errorInfo(error),
  }));
  await child.close(result);
  await channel.flush();
  Deno.exit(0);
}

class Child {
  #start: StartMessage;
  #channel: LineChannel<ToChild, FromChild>;
  #interrupt = new AbortController();
  #registry = new FileRegistry();
  #scope: Scope;
  #emit: Emit;
  #observer: EventObserver;
  #run: FileRun | undefined;
  #marks = 0;
  #pool: PoolClient;
  #standbys: AsyncDisposable | undefined;
  /** Errors that nobody caught while the file was loaded. */
  #loadErrors: unknown[] = [];

  constructor(start: StartMessage, channel: LineChannel<ToChild, FromChild>) {
    this.#start = start;
    this.#channel = channel;
    this.#scope = new Scope(start.file, { kind: "file", parent: runScope() });
    this.#pool = new PoolClient((message) => void channel.send(message));
    this.#emit = makeEmit(start.run, (event) => void channel.send({ type: "event", event }));
    this.#observer = new EventObserver({
      file: start.file,
      seed: start.seed,
      emit: this.#emit,
      artifacts: start.artifacts,
      onBoundary: (test) => this.#boundary(test),
    });
  }

  /** Takes the parent's messages and the errors that nobody catches. */
  listen(messages: AsyncGenerator<ToChild>): void {
    const stop = () => this.#interrupt.abort();
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
      Deno.addSignalListener(signal, stop);
    }
    (async () => {
      for await (const message of messages) {
        if (message.type === "interrupt") stop();
        else if (message.type === "granted") this.#pool.granted(message.id);
        else if (message.type === "refused") this.#pool.refused(message.id, message.refusal);
        else if (message.type === "spared") this.#pool.spared(message.id, message.granted);
        else if (message.type === "reclaim") this.#pool.reclaim(message.id);
        else if (message.type === "ping") {
          const overdueMs = this.#run?.overdueMs ?? 0;
          await this.#channel.send({ type: "pong", n: message.n, overdueMs });
        }
      }
      stop(); // The parent has died: close what is open, then end.
    })();
    const uncaught = (error: unknown) => {
      if (this.#run) this.#run.uncaught(error);
      else this.#loadErrors.push(error);
    };
    globalThis.addEventListener("unhandledrejection", (event) => {
      event.preventDefault();
      uncaught(event.reason);
    });
    globalThis.addEventListener("error", (event) => {
      event.preventDefault();
      uncaught(event.error ?? new Error(event.message));
    });
  }

  async run(): Promise<ChildResult> {
    setRegistry(this.#registry);
    setDefaultScope(this.#scope);
    setEventSink(this.#observer.sink);
    setListing(this.#start.list);
    const { artifacts } = this.#start;
    if (artifacts !== undefined) setOutputRoot(join(artifacts, "jobs"));
    const config = () => loadConfig(Deno.cwd(), { stage: this.#start.stage });
    let loading: ReturnType<typeof config> | undefined;
    const defaults = machineDefaults((name) => Deno.env.get(name));
    installMachineDefaults(defaults, () => loading ??= config());
    setLabProviders({ reserve: (request) => this.#pool.reserve(request) });
    this.#standbys = installStandbys(defaults, {
      reserve: (request, reclaim) => this.#pool.spare(request, reclaim),
      testsAhead: () => this.#interrupt.signal.aborted ? 0 : this.#run?.testsAhead ?? 0,
    });
    await this.#boundary(undefined);
    const failed = await this.#load();
    if (this.#start.list) return await this.#list(failed);
    if (failed) {
      await this.#scope.close();
      return failed;
    }
    this.#registry.seal("the tests of the file run already");
    if (this.#start.strict) this.#registry.options = { strict: true, ...this.#registry.options };
    const run = this.#run = new FileRun(this.#registry, this.#scope, this.#observer, {
      ...this.#start.options,
      interrupt: this.#interrupt.signal,
      unmet: unmetRequirement,
    });
    this.#emit("file_loaded", {
      file: this.#start.file,
      tests: run.selected.map(({ test }) => test.name),
      defined: this.#registry.tests.length,
      timeoutMs: run.limitMs,
    });
    if (this.#registry.tests.some(({ only }) => only)) {
      const message = `Only the tests that test.only() marks run in ${this.#start.file}`;
      this.#emit("warning", { file: this.#start.file, message });
    }
    await this.#channel.flush();
    const outcome = await run.run();
    if (this.#loadErrors.length > 0) {
      outcome.failures.unshift(...this.#loadErrors.map((error) => ({ error, phase: "uncaught" })));
    }
    return resultOf(outcome);
  }

  /** Closes what the process itself has open, and says how the file ended. */
  async close(result: ChildResult): Promise<void> {
    setEventSink(undefined);
    await this.#standbys?.[Symbol.asyncDispose]();
    const report = await runScope().close();
    let error: unknown = report.error;
    try {
      await closeCurrentRun();
    } catch (cause) {
      error ??= cause;
    }
    if (error && result.error === undefined) {
      const info = errorInfo(error, "closing");
      result = { ...result, class: result.class ?? "harness", error: info };
      if (result.status === "passed") result.status = "failed";
    }
    await this.#boundary(undefined);
    await this.#channel.send({ type: "done", result });
  }

  async #load(): Promise<ChildResult | undefined> {
    const { path, stage } = this.#start;
    const limitMs = LOAD_TIMEOUT_MS * timeScale();
    const abort = new AbortController();
    setScopeSignal(this.#scope, abort.signal);
    const stopped = Promise.withResolvers<never>();
    stopped.promise.catch(() => {}); // Settled by nobody when the file loads in time.
    const timer = setTimeout(() => {
      const text = `The file did not load within ${formatSeconds(limitMs / 1000)}`;
      stopped.reject(
        new TestTimeoutError(text, limitMs, { next: "move slow work into tests or beforeAll()" }),
      );
    }, limitMs);
    const onInterrupt = () => stopped.reject(INTERRUPTED);
    this.#interrupt.signal.addEventListener("abort", onInterrupt, { once: true });
    try {
      await Promise.race([importTestFile(path, stage), stopped.promise]);
      return undefined;
    } catch (error) {
      abort.abort(error);
      if (error === INTERRUPTED) {
        return { status: "interrupted", reason: "interrupted while it was loaded" };
      }
      const kind = classify(error);
      return {
        status: "failed",
        class: kind,
        reason: "the file cannot be loaded",
        error: errorInfo(error),
      };
    } finally {
      clearTimeout(timer);
      this.#interrupt.signal.removeEventListener("abort", onInterrupt);
    }
  }

  async #list(failed: ChildResult | undefined): Promise<ChildResult> {
    const run = new FileRun(this.#registry, this.#scope, {}, this.#start.options);
    const chosen = run.selected.map(({ test, skip }) => ({
      name: test.name,
      meta: jsonSafe(test.meta),
      ...skip !== undefined && { skip },
      ...test.site && { line: test.site.line },
    }));
    const isListing = failed?.error?.name === "ListingError";
    const note = isListing
      ? "starts a machine at its top level: tests defined after that are not listed"
      : undefined;
    await this.#channel.send({ type: "listed", tests: chosen, ...note && { note } });
    await this.#scope.close();
    return failed && !isListing ? failed : { status: "passed" };
  }

  /** Marks on both outputs whose output follows, and waits until all events before are sent. */
  async #boundary(test: string | undefined): Promise<void> {
    const n = ++this.#marks;
    const line = new TextEncoder().encode(markLine(this.#start.mark, n, test));
    for (const output of [Deno.stdout, Deno.stderr]) writeAll(output, line);
    await this.#channel.send({ type: "mark", n });
  }
}

const INTERRUPTED = new Error("interrupted");

function resultOf({ tests, failures, stopped }: FileOutcome): ChildResult {
  const failed = tests.filter(({ status, willRetry }) => status === "failed" && !willRetry);
  if (stopped === "interrupted") {
    return { status: "interrupted", reason: "the run was interrupted" };
  }
  const [first, ...others] = failures;
  if (first) {
    const error = errorInfo(first.error, first.phase);
    if (others.length > 0) {
      error.errors = [
        ...error.errors ?? [],
        ...others.map((f) => errorInfo(f.error, f.phase)),
      ];
    }
    return {
      status: "failed",
      class: classify(first.error),
      reason: `${first.phase ?? "outside of tests"}`,
      error,
    };
  }
  if (stopped === "timeout") {
    return { status: "timeout", class: "timeout", reason: "its time had run out" };
  }
  if (failed.length > 0) return { status: "failed", class: failed[0]!.class };
  return { status: tests.every(({ status }) => status === "skipped") ? "skipped" : "passed" };
}

function writeAll(output: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.length;) at += output.writeSync(bytes.subarray(at));
  } catch {
    // The author's code closed it, or the parent has gone: output is then told apart no more.
  }
}
