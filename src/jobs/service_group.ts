import { BelljarError } from "../errors.ts";
import { emitEvent, ownOrCurrentSignal, type Registration, type Scope } from "../scope/mod.ts";
import { milliseconds } from "../values/mod.ts";
import { type ServiceGraph, serviceGraph } from "./service_graph.ts";
import { logTail, showLogs } from "./service_logs.ts";
import { checkFixedPorts } from "./service_ports.ts";
import { ServiceStartError } from "./service_errors.ts";
import type { ServicePlace } from "./service_place.ts";
import { ServiceRun } from "./service_run.ts";
import type {
  DependencyCondition,
  GroupOptions,
  Service,
  ServiceContext,
  ServiceGroup,
  ServiceSpec,
  StopReport,
  TimelineEntry,
} from "./service_types.ts";

/** Services that are started and stopped in the order of their dependencies. */
export class ServiceGroupRun implements ServiceGroup {
  readonly #graph: ServiceGraph;
  readonly #place: ServicePlace;
  readonly #options: GroupOptions;
  readonly #runs = new Map<string, ServiceRun>();
  readonly #died = new AbortController();
  readonly #timeline = new Map<string, TimelineEntry>();
  readonly #startMs = performance.now();
  /** In which order they were started. */
  readonly #started: ServiceRun[] = [];
  /** Ends the start. */
  readonly #giveUp = new AbortController();
  #startWork: Promise<void> | undefined;
  #stopping: Promise<StopReport[]> | undefined;
  #registration: Registration | undefined;
  #free = Infinity;
  #queue: (() => void)[] = [];

  constructor(specs: readonly ServiceSpec[], place: ServicePlace, options: GroupOptions) {
    this.#graph = serviceGraph(specs);
    this.#place = place;
    this.#options = options;
    this.#free = options.maxParallel ?? Infinity;
    for (const spec of specs) {
      const logs = { ...options.logs, ...spec.logs };
      const services = () => this.#known(spec.name);
      const run = new ServiceRun({ spec: { ...spec, logs }, place, services });
      this.#runs.set(spec.name, run);
      run.signal.addEventListener("abort", () => this.#died.abort(run.signal.reason), {
        once: true,
      });
    }
  }

  get all(): Service[] {
    return [...this.#runs.values()];
  }

  get signal(): AbortSignal {
    return this.#died.signal;
  }

  get(name: string): Service {
    const run = this.#runs.get(name);
    if (run) return run;
    const known = [...this.#runs.keys()].map((one) => JSON.stringify(one)).join(", ");
    throw new RangeError(`Cannot find service ${JSON.stringify(name)}: there are ${known}`);
  }

  env(): Record<string, string> {
    const env: Record<string, string> = {};
    for (const run of this.#runs.values()) {
      const prefix = variable(run.name);
      env[`${prefix}_HOST`] = run.host;
      const ports = Object.entries(run.ports);
      for (const [name, port] of ports) env[`${prefix}_${variable(name)}_PORT`] = String(port);
      const first = ports[0];
      if (!first) continue;
      env[`${prefix}_PORT`] = String(first[1]);
      env[`${prefix}_URL`] = run.url();
    }
    return env;
  }

  timeline(): TimelineEntry[] {
    return [...this.#timeline.values()];
  }

  /** Hands the group to a scope, which stops it as a whole. */
  registerIn(scope: Scope): void {
    this.#registration = scope.register({
      kind: "service",
      name: [...this.#runs.keys()].join(", "),
      close: () => this[Symbol.asyncDispose](),
      // One after the other at worst, each in its own grace, which is at least as long as this.
      limitMs: [...this.#graph.specs.values()].reduce(
        (sum, { stop }) => sum + milliseconds(stop?.grace ?? 5, { infinite: true }) + 9_000,
        0,
      ),
    });
  }

  /** Starts all; on failure everything that was started is stopped, and the first failure is thrown. */
  start(): Promise<void> {
    return this.#startWork = this.#startAll();
  }

  async #startAll(): Promise<void> {
    const { timeout } = this.#options;
    const signal = ownOrCurrentSignal(this.#options.signal);
    const stop = this.#giveUp;
    const aborted = () => stop.abort(signal!.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", aborted, { once: true });
    const limitMs = timeout === undefined ? Infinity : milliseconds(timeout, { infinite: true });
    const timer = limitMs === Infinity
      ? undefined
      : setTimeout(() => stop.abort(this.#late(limitMs)), limitMs);
    const failures: unknown[] = [];
    try {
      for (const spec of this.#graph.specs.values()) await checkFixedPorts(spec, this.#place);
      const ready = new Map<string, Promise<void>>();
      const startOf = (name: string): Promise<void> => {
        const known = ready.get(name);
        if (known) return known;
        const work = this.#startOne(name, startOf, stop.signal).catch((error) => {
          failures.push(error);
          stop.abort(error);
          throw error;
        });
        ready.set(name, work);
        return work;
      };
      await Promise.allSettled([...this.#runs.keys()].map(startOf));
      if (failures.length > 0) throw this.#firstFailure(failures, signal);
      signal?.throwIfAborted();
    } catch (error) {
      if (!signal?.aborted) this.showLogs();
      await this.#stopStarted();
      this.#registration?.release();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
    }
  }

  async stop(): Promise<StopReport[]> {
    return await (this.#stopping ??= this.#stopAll());
  }

  /** Shows the output of every service that has some, each once. */
  showLogs(): void {
    for (const run of this.#started) {
      const { logs } = this.#graph.specs.get(run.name)!;
      if ((logs ?? this.#options.logs)?.forward !== "never") showLogs(run.name, run.job);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#registration?.release();
  }

  async #startOne(
    name: string,
    startOf: (name: string) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const run = this.#runs.get(name)!;
    const needs = this.#graph.needs.get(name)!;
    try {
      const conditions = [...needs].map(([other, condition]) =>
        this.#condition(other, condition, startOf(other))
      );
      await Promise.all(conditions);
      signal.throwIfAborted();
    } catch (cause) {
      throw new ServiceStartError(
        needs.size > 0 ? "a service that it depends on is not there" : "the start was given up",
        { service: name, reason: needs.size > 0 ? "dependency" : "aborted", cause },
      );
    }
    await this.#slot();
    try {
      signal.throwIfAborted();
      const since = () => Math.round(performance.now() - this.#startMs) / 1000;
      const entry = { name, startedAt: since(), readyAt: NaN, waitedFor: [...needs.keys()] };
      this.#timeline.set(name, entry);
      run.started.then(() => this.#started.push(run), () => {}); // It failed before there was a process.
      await run.start(signal);
      entry.readyAt = since();
    } finally {
      this.#free++;
      this.#queue.shift()?.();
    }
  }

  async #condition(
    name: string,
    condition: DependencyCondition,
    ready: Promise<void>,
  ): Promise<void> {
    const run = this.#runs.get(name)!;
    if (condition === "started") return await Promise.race([run.started, ready]);
    await ready;
    if (condition === "ready") return;
    const result = await run.ended;
    if (condition === "completed" || result.ok) return;
    throw new ServiceStartError(`it was to succeed, and ended ${result.status}`, {
      service: name,
      reason: "exited",
      result,
      logTail: logTail(run.job, 20),
    });
  }

  async #slot(): Promise<void> {
    while (this.#free <= 0) await new Promise<void>((resolve) => this.#queue.push(resolve));
    this.#free--;
  }

  #late(limitMs: number): ServiceStartError {
    const waiting = this.all.filter(({ state }) => state === "pending" || state === "starting");
    const names = waiting.map(({ name }) => `"${name}"`).join(", ");
    return new ServiceStartError(`the group was not ready within ${limitMs / 1000} s`, {
      service: waiting[0]?.name ?? "",
      reason: "timeout",
      actual: `not ready: ${names}`,
    });
  }

  /** The failure that came first; the others, which it caused, are in its `cause`. */
  #firstFailure(failures: unknown[], signal: AbortSignal | undefined): unknown {
    if (signal?.aborted) return signal.reason;
    const first =
      failures.find((error) =>
        !(error instanceof ServiceStartError) || !["dependency", "aborted"].includes(error.reason)
      ) ?? failures[0];
    const others = failures.filter((error) => error !== first && !isCausedBy(first, error));
    if (others.length > 0 && first instanceof Error) {
      const causes = first.cause === undefined ? others : [first.cause, ...others];
      first.cause = new AggregateError(
        causes,
        `${others.length} other services did not start either`,
      );
    }
    return first;
  }

  async #stopStarted(): Promise<void> {
    const { error } = await this.#stopInOrder();
    if (error) emitEvent("warning", { message: `While services were stopped: ${error}` });
  }

  async #stopAll(): Promise<StopReport[]> {
    this.#giveUp.abort(new BelljarError("The services were stopped while they started"));
    await this.#startWork?.catch(() => {}); // Whoever started them has the error.
    const { reports, error } = await this.#stopInOrder();
    this.#registration?.release();
    if (error) throw error;
    return reports;
  }

  /** Dependents before what they depend on; independent ones at the same time. */
  async #stopInOrder(): Promise<{ reports: StopReport[]; error: unknown }> {
    const stops = new Map<string, Promise<StopReport | undefined>>();
    const errors: unknown[] = [];
    const stopOf = (name: string): Promise<StopReport | undefined> => {
      const known = stops.get(name);
      if (known) return known;
      const work = (async () => {
        await Promise.all(this.#graph.neededBy.get(name)!.map(stopOf));
        const run = this.#runs.get(name)!;
        if (!this.#started.includes(run)) return undefined;
        try {
          return await run.stop();
        } catch (error) {
          errors.push(error);
          return undefined;
        }
      })();
      stops.set(name, work);
      return work;
    };
    const reports = await Promise.all([...this.#runs.keys()].map(stopOf));
    const error = errors.length > 1
      ? new AggregateError(errors, `Cannot stop ${errors.length} services`)
      : errors[0];
    return { reports: reports.filter((report) => report !== undefined), error };
  }

  #known(name: string): ServiceContext["services"] {
    const others = [...this.#runs.values()].filter((run) =>
      run.name !== name && run.state !== "pending"
    );
    const kind = this.#place.kind;
    return Object.fromEntries(others.map((run) => [run.name, {
      // Among services of one guest the harness' side of a forward is of no use.
      host: kind === "guest" ? "127.0.0.1" : run.host,
      ports: run.ownPorts,
    }]));
  }
}

function isCausedBy(first: unknown, error: unknown): boolean {
  return first instanceof Error && first.cause === error;
}

function variable(name: string): string {
  return name.toUpperCase().replaceAll(/\W/g, "_");
}
