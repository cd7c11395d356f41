import { BelljarError, type ErrorDetails } from "../errors.ts";
import { firstLine } from "./errors.ts";
import type { ProbeAttempt } from "./probe.ts";
import { outcome } from "./result.ts";
import type { PortOwner, StopReport } from "./service_types.ts";
import type { JobResult } from "./types.ts";

/** Services that cannot be started as they are described. */
export class ServiceConfigError extends BelljarError {
  override readonly name = "ServiceConfigError";
  readonly service: string | undefined;
  /** The services that wait for each other; the first is also the last. */
  readonly cycle: string[] | undefined;

  constructor(
    summary: string,
    details: ErrorDetails & { service?: string; cycle?: string[] } = {},
  ) {
    const { service, cycle, ...rest } = details;
    super(summary, { code: "SERVICE_CONFIG", ...rest });
    this.service = service;
    this.cycle = cycle;
  }
}

/** Why a service did not become ready. */
export type StartFailure =
  | "spawn"
  | "exited"
  | "timeout"
  | "portInUse"
  | "dependency"
  | "aborted"
  | "probeFailed";

/** Facts about a service that did not become ready. */
export interface StartErrorDetails extends ErrorDetails {
  service: string;
  reason: StartFailure;
  result?: JobResult;
  probes?: ProbeAttempt[];
  logTail?: string;
  portOwner?: PortOwner[];
}

/** A service did not become ready. Everything that was started with it is stopped. */
export class ServiceStartError extends BelljarError {
  override readonly name = "ServiceStartError";
  readonly service: string;
  readonly reason: StartFailure;
  readonly result: JobResult | undefined;
  /** The last tries of its probes. */
  readonly probes: ProbeAttempt[];
  /** The last lines of its output. */
  readonly logTail: string;
  readonly portOwner: PortOwner[] | undefined;

  constructor(what: string, details: StartErrorDetails) {
    const { service, reason, result, probes = [], logTail = "", portOwner, ...rest } = details;
    const last = probes.at(-1);
    const facts = [
      last && `${last.probe}: ${last.ok ? "true" : last.reason ?? "not yet"}`,
      logTail && `its output ends with\n${logTail}`,
      rest.cause === undefined ? undefined : firstLine(rest.cause),
    ];
    super(`Cannot start service "${service}": ${what}`, {
      code: "SERVICE_START",
      actual: facts.filter((fact) => fact).join("\n") || undefined,
      ...rest,
    });
    this.service = service;
    this.reason = reason;
    this.result = result;
    this.probes = probes;
    this.logTail = logTail;
    this.portOwner = portOwner;
  }
}

/** A service ended after it had been ready, and nobody had asked for that. */
export class ServiceExitedError extends BelljarError {
  override readonly name = "ServiceExitedError";
  readonly service: string;
  readonly result: JobResult;
  readonly logTail: string;

  constructor(service: string, result: JobResult, logTail: string, why?: string) {
    super(`Service "${service}" ${why ?? outcome(result)} although nobody stopped it`, {
      code: "SERVICE_EXITED",
      actual: logTail ? `its output ends with\n${logTail}` : undefined,
    });
    this.service = service;
    this.result = result;
    this.logTail = logTail;
  }
}

/** A service had to be killed although it must end by itself, or something of it is left. */
export class ServiceStopError extends BelljarError {
  override readonly name = "ServiceStopError";
  readonly report: StopReport;

  constructor(report: StopReport, what: string, details: ErrorDetails = {}) {
    super(`Cannot stop service "${report.service}" ${what}`, { code: "SERVICE_STOP", ...details });
    this.report = report;
  }
}

/** A port is taken. */
export class PortInUseError extends BelljarError {
  override readonly name = "PortInUseError";
  readonly port: number;
  readonly owners: PortOwner[];

  constructor(port: number, owners: PortOwner[], details: ErrorDetails = {}) {
    super(`Cannot use port ${port}: somebody else listens on it`, {
      code: "PORT_IN_USE",
      actual: showOwners(owners),
      ...details,
    });
    this.port = port;
    this.owners = owners;
  }
}

/** Owners of a port as errors show them. */
export function showOwners(owners: PortOwner[]): string | undefined {
  if (owners.length === 0) return undefined;
  return owners.map(({ pid, command }) => `pid ${pid} ${JSON.stringify(command)}`).join(", ");
}
