import { BelljarError, StateError } from "../errors.ts";
import {
  currentSignal,
  emitEvent,
  type Registration,
  type Scope,
  withoutCurrentSignal,
} from "../scope/mod.ts";
import { pause } from "../host/mod.ts";
import { milliseconds, type SignalLike } from "../values/mod.ts";
import { JobSpawnError } from "./errors.ts";
import type { ProbeContext } from "./probe.ts";
import { ProbeLog, tryProbe } from "./probe_run.ts";
import type { ProcessJob } from "./process_job.ts";
import { forwardLogs, logTail, showLogs } from "./service_logs.ts";
import { choosePorts, type ChosenPorts, closeForwards, findConflict } from "./service_ports.ts";
import {
  ServiceExitedError,
  ServiceStartError,
  ServiceStopError,
  showOwners,
  type StartErrorDetails,
  type StartFailure,
} from "./service_errors.ts";
import { type LaunchedService, launchService } from "./service_launch.ts";
import { probeContext, untilReady } from "./service_ready.ts";
import { DEFAULT_STOP_GRACE_S, endService, PORT_FREE_MS } from "./service_stop.ts";
import { watchHealth } from "./service_health.ts";
import type { ServicePlace } from "./service_place.ts";
import { awaitsExit, checkStop, readinessOf } from "./service_spec.ts";
import { addressOf } from "./service_template.ts";
import type {
  Service,
  ServiceContext,
  ServiceSpec,
  ServiceState,
  ServiceStopOptions,
  StopReport,
} from "./service_types.ts";
import type { JobResult } from "./types.ts";

const MAX_PORT_TRIES = 3;
const KILL_MARGIN_MS = 3_000;
const DEFAULT_RESTARTS = 3;

/** What a service needs besides its specification. */
export interface ServiceParts {
  spec: ServiceSpec;
  place: ServicePlace;
  /** The services that it may name in templates. */
  services: () => ServiceContext["services"];
}

/** One service, from its start to its end. */
export class ServiceRun implements Service {
  readonly name: string;
  /** Resolves when its process was started. */
  readonly started: Promise<void>;
  /** Resolves with its result when its process has ended for good. */
  readonly ended: Promise<JobResult>;
  readonly match: Record<string, string> = {};
  readonly #spec: ServiceSpec;
  readonly #place: ServicePlace;
  readonly #services: () => ServiceContext["services"];
  readonly #died = new AbortController();
  readonly #started = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<JobResult>();
  #state: ServiceState = "pending";
  #job: ProcessJob | undefined;
  #ports: ChosenPorts | undefined;
  #readyIn = 0;
  #probes = new ProbeLog();
  #starting: AbortController | undefined;
  #stopping: Promise<StopReport> | undefined;
  #report: StopReport | undefined;
  #watching = new AbortController();
  #restarts = 0;
  #reused = false;
  /** Whether the last start failed because somebody else took a port. */
  #conflict = false;
  /** Whether its ports were forwarded, and are no more. */
  #unforwarded = false;
  #scope: Scope | undefined;
  #registration: Registration | undefined;
  #startWork: Promise<void> | undefined;

  constructor({ spec, place, services }: ServiceParts) {
    this.name = spec.name;
    this.#spec = spec;
    this.#place = place;
    this.#services = services;
    this.started = this.#started.promise;
    this.ended = this.#ended.promise;
    this.started.catch(() => {}); // Only dependents ask.
    this.ended.catch(() => {}); // As above.
  }

  get state(): ServiceState {
    return this.#state;
  }

  get job(): ProcessJob {
    if (this.#job) return this.#job;
    const why = this.#spec.external || this.#reused
      ? "it runs elsewhere"
      : "it was not started yet";
    throw new StateError(`Cannot get the job of service "${this.name}": ${why}`);
  }

  get ports(): Record<string, number> {
    return { ...this.#ports?.reachable };
  }

  /** Its ports as it uses them itself, and as those do that run beside it. */
  get ownPorts(): Record<string, number> {
    return { ...this.#ports?.own };
  }

  get host(): string {
    return this.#ports?.host ?? "127.0.0.1";
  }

  get signal(): AbortSignal {
    return this.#died.signal;
  }

  get readyIn(): number {
    return this.#readyIn;
  }

  /** Whether there is, or was, a process. */
  get hasJob(): boolean {
    return this.#job !== undefined;
  }

  /** Whether there is a process that was not stopped yet. */
  get isLive(): boolean {
    return this.#job !== undefined && !this.#job.isOver;
  }

  url(port?: string, path = ""): string {
    const ports = this.ports;
    const name = port ?? Object.keys(ports)[0];
    const number = name === undefined ? undefined : ports[name];
    if (number === undefined) {
      throw new RangeError(
        `Cannot find port ${JSON.stringify(name ?? "")} of service "${this.name}"`,
      );
    }
    return `${addressOf(this.host, number)}${path}`;
  }

  logs(options: { tail?: number } = {}): string {
    return this.#job ? logTail(this.#job, options.tail ?? Infinity) : "";
  }

  /** Hands it to a scope, which stops it. */
  registerIn(scope: Scope): void {
    this.#scope = scope;
    const { stop } = this.#spec;
    const graceMs = milliseconds(stop?.grace ?? DEFAULT_STOP_GRACE_S, { infinite: true });
    this.#registration = scope.register({
      kind: "service",
      name: this.name,
      close: () => this[Symbol.asyncDispose](),
      limitMs: graceMs * (stop?.command ? 2 : 1) + KILL_MARGIN_MS + PORT_FREE_MS + 1_000,
    });
  }

  /** Starts it and waits until it is ready; on failure nothing of it is left. */
  start(signal?: AbortSignal): Promise<void> {
    if (!this.#registration && this.#scope) this.registerIn(this.#scope);
    return this.#startWork = this.#start(signal);
  }

  async #start(signal?: AbortSignal): Promise<void> {
    const starting = new AbortController();
    this.#starting = starting;
    this.#state = "starting";
    this.#report = undefined;
    this.#stopping = undefined;
    const startMs = performance.now();
    const aborted = () => starting.abort(signal!.reason);
    signal?.addEventListener("abort", aborted, { once: true });
    if (signal?.aborted) aborted();
    try {
      await this.#startTries(starting.signal);
      this.#readyIn = Math.round(performance.now() - startMs) / 1000;
      this.#state = "ready";
      this.#watch();
      emitEvent("service_ready", { service: this.name, readyIn: this.#readyIn });
    } catch (error) {
      this.#state = "failed";
      this.#started.reject(error);
      await this.#release();
      throw error;
    } finally {
      this.#starting = undefined;
      signal?.removeEventListener("abort", aborted);
    }
  }

  async stop(options?: ServiceStopOptions): Promise<StopReport> {
    checkStop(options);
    this.#starting?.abort(new BelljarError(`Service "${this.name}" was stopped while it started`));
    if (this.#report) {
      const { result } = this.#report;
      return { service: this.name, how: "notRunning", result, elapsed: 0, survivors: [] };
    }
    return await this.#stopAs(options ?? {}, true);
  }

  async restart(): Promise<void> {
    if (this.#spec.external) {
      throw new StateError(`Cannot restart service "${this.name}": it is external`);
    }
    if (this.#state === "ready") await this.#stopAs({}, false);
    await this.start(currentSignal());
  }

  async kill(signal: SignalLike = "SIGKILL"): Promise<JobResult> {
    const report = await this.stop({ signal, command: [], requireGraceful: false });
    return report.result;
  }

  assertAlive(): void {
    this.#died.signal.throwIfAborted();
    if (this.isLive || this.#spec.external || this.#reused) return;
    throw new ServiceExitedError(this.name, this.job.snapshot(), this.logs({ tail: 20 }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#starting?.abort(new BelljarError(`Service "${this.name}" was stopped while it started`));
    await this.#startWork?.catch(() => {}); // Whoever started it has the error.
    if (this.#job && !this.#report) await this.stop();
    await this.#release();
  }

  async #startTries(signal: AbortSignal): Promise<void> {
    const spec = this.#spec;
    for (let attempt = 1;; attempt++) {
      // After a restart the ports stay; only a conflict changes them, or that they were given up.
      if (!this.#ports || attempt > 1 || this.#unforwarded) await this.#choosePorts();
      this.#probes = new ProbeLog();
      if (spec.external || (spec.reuse && await this.#isThere(signal))) {
        this.#reused = !spec.external;
        return await this.#untilReady(undefined, {}, signal);
      }
      try {
        await this.#startOnce(signal);
        return;
      } catch (error) {
        const canRetry = this.#ports!.hasAuto && (spec.onPortConflict ?? "retry") === "retry";
        if (attempt >= MAX_PORT_TRIES || !canRetry || !this.#conflict) throw error;
      } finally {
        this.#conflict = false;
      }
    }
  }

  async #choosePorts(): Promise<void> {
    if (this.#ports) await closeForwards(this.#ports);
    this.#ports = await choosePorts(this.#spec, this.#place);
    this.#unforwarded = false;
  }

  async #startOnce(signal: AbortSignal): Promise<void> {
    const launch = await this.#launch();
    this.#job = launch.job;
    if (this.#spec.logs?.forward === "always") forwardLogs(this.name, launch.job);
    this.#started.resolve();
    try {
      await this.#untilReady(launch.job, launch.env, signal);
    } catch (error) {
      const owners = await findConflict(this.#place, this.#ports!, launch.job);
      this.#conflict = owners !== undefined;
      const report = await this.#end(launch.job, this.#spec.stop ?? {});
      if (error instanceof ServiceStartError) {
        const { result } = report;
        throw owners && error.reason !== "aborted"
          ? this.#startError("its port is taken", "portInUse", {
            result,
            portOwner: owners,
            cause: error,
            expected: "nobody else on its ports",
            next: `stop ${showOwners(owners) ?? "the other process"}, or use "auto" ports`,
          })
          : error;
      }
      throw error;
    } finally {
      launch.close();
    }
  }

  async #launch(): Promise<LaunchedService> {
    try {
      return await launchService(this.#spec, this.#place, this.#templateContext());
    } catch (cause) {
      if (!(cause instanceof JobSpawnError)) throw cause;
      throw this.#startError("its command cannot be run", "spawn", { cause });
    }
  }

  #untilReady(
    job: ProcessJob | undefined,
    env: Record<string, string>,
    signal: AbortSignal,
  ): Promise<void> {
    return untilReady({
      spec: this.#spec,
      job,
      context: (inner) => this.#context(job, env, inner),
      log: this.#probes,
      signal,
      isGuest: this.#place.kind === "guest",
      failure: (...args) => this.#startError(...args),
    });
  }

  /** Whether all probes hold already, because somebody else started it. */
  async #isThere(signal: AbortSignal): Promise<boolean> {
    const context = this.#context(undefined, {}, signal);
    for (const probe of readinessOf(this.#spec)) {
      if (!(await tryProbe(probe, context)).ok) return false;
    }
    return true;
  }

  #context(
    job: ProcessJob | undefined,
    env: Record<string, string>,
    signal: AbortSignal,
  ): ProbeContext {
    const place = this.#place;
    const { name, match } = this;
    return probeContext({
      name,
      job,
      env,
      signal,
      place,
      match,
      ports: this.#ports!.own,
      cwd: this.#spec.cwd,
    });
  }

  /** Sees to what happens when it ends unasked. */
  #watch(): void {
    const job = this.#job;
    if (!job || this.#reused) return;
    this.#watching = new AbortController();
    const over = () => {
      if (!job.isOver) return;
      stop();
      this.#watching.abort();
      if (this.#state !== "ready") return;
      const result = job.snapshot();
      const isDone = this.#spec.oneShot || awaitsExit(readinessOf(this.#spec));
      if (isDone || this.#spec.onExit === "ignore") {
        this.#state = "stopped";
        return this.#ended.resolve(result);
      }
      this.#exited(result);
    };
    const stop = job.watch(over);
    over();
    if (this.#spec.healthy && this.#state === "ready") {
      const context = this.#context(job, {}, this.#watching.signal);
      const { healthy } = this.#spec;
      withoutCurrentSignal(() =>
        watchHealth(healthy, context, (reason) => {
          if (this.#state === "ready") this.#fail(job.snapshot(), `is not healthy (${reason})`);
        })
      );
    }
  }

  #exited(result: JobResult): void {
    const policy = this.#spec.onExit ?? "fail";
    if (typeof policy === "object" && (policy.restart === "always" || !result.ok)) {
      const { max = DEFAULT_RESTARTS, backoff = 0.5 } = policy;
      if (this.#restarts < max) {
        const delayMs = milliseconds(backoff) * 2 ** this.#restarts++;
        emitEvent("service_restart", { service: this.name, status: result.status, delayMs });
        return void withoutCurrentSignal(() => this.#startAgain(result, delayMs));
      }
    } else if (typeof policy === "object") {
      this.#state = "stopped";
      return this.#ended.resolve(result);
    }
    this.#fail(result);
  }

  async #startAgain(result: JobResult, delayMs: number): Promise<void> {
    const waiting = new AbortController();
    this.#starting = waiting;
    this.#state = "starting";
    try {
      await pause(delayMs, waiting.signal);
      await this.#job!.kill({ grace: 0 }); // What outlived the leader would hold the ports.
      await this.start(waiting.signal);
    } catch {
      if (!waiting.signal.aborted) this.#fail(result); // The first end is what happened; the log has the rest.
    }
  }

  #fail(result: JobResult, why?: string): void {
    this.#state = "failed";
    const error = new ServiceExitedError(this.name, result, this.logs({ tail: 20 }), why);
    emitEvent("service_exited", { service: this.name, status: result.status });
    if (this.#spec.logs?.forward !== "never") showLogs(this.name, this.#job!);
    this.#ended.resolve(result);
    this.#died.abort(error);
  }

  async #stopAs(options: ServiceStopOptions, release: boolean): Promise<StopReport> {
    const report = await (this.#stopping ??= this.#stop({ ...this.#spec.stop, ...options }));
    if (release) await this.#release();
    return report;
  }

  async #release(): Promise<void> {
    if (this.#ports && this.#ports.forwards.length > 0) {
      this.#unforwarded = true;
      await closeForwards(this.#ports);
    }
    this.#registration?.release();
    this.#registration = undefined;
  }

  async #stop(options: ServiceStopOptions): Promise<StopReport> {
    this.#watching.abort();
    const job = this.#job;
    if (!job) throw new StateError(`Cannot stop service "${this.name}": it runs elsewhere`);
    const wasLive = !job.isOver;
    if (wasLive) this.#state = "stopping";
    const report = await this.#end(job, options);
    if (!wasLive) report.how = "notRunning";
    this.#report = report;
    if (this.#state === "stopping") this.#state = "stopped";
    this.#ended.resolve(report.result);
    emitEvent("service_stopped", { service: this.name, how: report.how, elapsed: report.elapsed });
    if (report.how === "forced" && options.requireGraceful) {
      throw new ServiceStopError(report, "gracefully: it had to be killed", {
        next: "raise `stop.grace`, or find out why it does not react to its signal",
      });
    }
    return report;
  }

  #end(job: ProcessJob, stop: ServiceStopOptions): Promise<StopReport> {
    const context = this.#templateContext();
    const what = { job, place: this.#place, context, cwd: this.#spec.cwd, stop };
    return withoutCurrentSignal(() => endService(what));
  }

  #templateContext(): ServiceContext {
    return { name: this.name, ports: this.#ports?.own ?? {}, services: this.#services() };
  }

  #startError(
    what: string,
    reason: StartFailure,
    details: Partial<StartErrorDetails> = {},
  ): ServiceStartError {
    return new ServiceStartError(what, {
      service: this.name,
      reason,
      probes: this.#probes.attempts,
      logTail: this.#job ? logTail(this.#job, 20) : "",
      ...details,
    });
  }
}
