import type { Duration, SignalLike } from "../values/mod.ts";
import type { Probe } from "./probe.ts";
import type { Job, JobResult, JobStdin, ProcInfo } from "./types.ts";

/** A port that a service listens on: its number, `"auto"` for a free one, or one of a guest with its forward. */
export type PortSpec = number | "auto" | { guest: number; host?: number | "auto" };

/** When a service may start, seen from one that it depends on. */
export type DependencyCondition = "started" | "ready" | "succeeded" | "completed";

/** What happens when a service ends unasked. */
export type ExitPolicy =
  | "fail"
  | "ignore"
  | { restart: "onFailure" | "always"; max?: number; backoff?: Duration };

/** How a service is stopped. */
export interface ServiceStopOptions {
  /** First signal. @default {"SIGTERM"} */
  signal?: SignalLike;
  /** Time until SIGKILL. @default {5} */
  grace?: Duration;
  /** Program that asks it to stop, before the signal. */
  command?: string[];
  /** Who gets the first signal. @default {"group"} */
  target?: "group" | "leader";
  /** Whether it is an error if SIGKILL was needed. @default {false} */
  requireGraceful?: boolean;
}

/** What becomes of a service's output. */
export interface ServiceLogOptions {
  /** Bytes that are retained per stream. @default {1_048_576} */
  ring?: number;
  /** A file for all of it. */
  file?: boolean | string;
  /** When it is shown. @default {"onFailure"} */
  forward?: "never" | "onFailure" | "always";
}

/** What a command that is made at start may use. */
export interface ServiceContext {
  readonly name: string;
  readonly ports: Record<string, number>;
  /** The services that were started before, by name. */
  readonly services: Record<string, { host: string; ports: Record<string, number> }>;
}

/** What a service is: how it is started, when it is ready, how it ends. */
export interface ServiceSpec {
  name: string;
  /** A line for the shell, or a program with its arguments; `{{port.http}}` and `{{svc.db.url}}` are filled in. */
  command: string | string[] | ((context: ServiceContext) => string | string[]);
  cwd?: string;
  env?: Record<string, string>;
  /** @default {"null"} */
  stdin?: JobStdin;
  /** Ports by name. */
  ports?: Record<string, PortSpec>;
  /** What has to hold before it counts as ready; several mean all. */
  ready?: Probe | Probe[];
  /** Longest wait for that. @default {30} */
  startTimeout?: Duration;
  /** What happens if a port is taken. @default {"fail" for fixed ports, "retry" for "auto"} */
  onPortConflict?: "fail" | "retry" | "clear";
  /** Names of services that must be ready before, or a condition for each. */
  dependsOn?: string[] | Record<string, DependencyCondition>;
  /** Whether it is done when it has ended with exit code 0. @default {false} */
  oneShot?: boolean;
  /** Whether it runs already: it is probed, never started or stopped. @default {false} */
  external?: boolean;
  stop?: ServiceStopOptions;
  /** @default {"fail"} */
  onExit?: ExitPolicy;
  /** Has to hold as long as the service runs; three failures in a row count as its end. */
  healthy?: Probe;
  logs?: ServiceLogOptions;
  /** Whether one that is ready already, from elsewhere, is used instead. @default {false} */
  reuse?: boolean;
}

/** Where a service stands. */
export type ServiceState = "pending" | "starting" | "ready" | "stopping" | "stopped" | "failed";

/** How a service ended. */
export interface StopReport {
  service: string;
  how: "notRunning" | "graceful" | "forced";
  result: JobResult;
  /** Seconds. */
  elapsed: number;
  /** What was left after SIGKILL. */
  survivors: ProcInfo[];
}

/** A running service. */
export interface Service extends AsyncDisposable {
  readonly name: string;
  readonly state: ServiceState;
  /** Its process; another one after a restart. */
  readonly job: Job;
  readonly ports: Record<string, number>;
  /** Where its ports are. */
  readonly host: string;
  /** The address of a port, of the first one without a name. */
  url(port?: string, path?: string): string;
  /** Named groups of its log probes. */
  readonly match: Record<string, string>;
  /** Aborts with a {@linkcode ServiceExitedError} if it ends unasked. */
  readonly signal: AbortSignal;
  /** Seconds from its start until it was ready. */
  readonly readyIn: number;
  /** Its retained output. */
  logs(options?: { tail?: number }): string;
  /**
   * Ends it: stop command, signal, grace, SIGKILL, and nothing may be left.
   *
   * @throws {ServiceStopError} If something is left, or `requireGraceful` was not met.
   */
  stop(options?: ServiceStopOptions): Promise<StopReport>;
  /** Stops it and starts it again on the same ports. */
  restart(): Promise<void>;
  /** Sends a signal, SIGKILL without one, and waits for its end. */
  kill(signal?: SignalLike): Promise<JobResult>;
  /** @throws {ServiceExitedError} If it has ended. */
  assertAlive(): void;
}

/** Options for {@linkcode services}. */
export interface GroupOptions {
  /** Ends the start, and the services that were started. */
  signal?: AbortSignal;
  /** Longest time until all are ready. */
  timeout?: Duration;
  /** How many are started at the same time. @default {Infinity} */
  maxParallel?: number;
  /** For services that say nothing themselves. */
  logs?: ServiceLogOptions;
}

/** When a service was started and became ready, in seconds from the start of its group. */
export interface TimelineEntry {
  name: string;
  startedAt: number;
  readyAt: number;
  waitedFor: string[];
}

/** Services that were started together. */
export interface ServiceGroup extends AsyncDisposable {
  /** @throws {RangeError} If there is none of that name. */
  get(name: string): Service;
  readonly all: Service[];
  /** Aborts with a {@linkcode ServiceExitedError} if one of them ends unasked. */
  readonly signal: AbortSignal;
  /** `<NAME>_HOST`, `<NAME>_PORT`, `<NAME>_<PORTNAME>_PORT` and `<NAME>_URL` of each. */
  env(): Record<string, string>;
  timeline(): TimelineEntry[];
  /** Stops all, dependents first. */
  stop(): Promise<StopReport[]>;
}

/** A process that listens on a port. */
export interface PortOwner {
  pid: number;
  pgid: number;
  command: string;
  /** The job to which it belongs. */
  jobId?: number;
}
