import { type OptionTable, registerOptions } from "../values/mod.ts";
import { BACKGROUND_OPTIONS } from "./host_driver.ts";
import { numericPort, portOrAuto } from "./_probe_options.ts";
import { type Probe, probe } from "./probe.ts";
import { ServiceConfigError } from "./service_errors.ts";
import type {
  DependencyCondition,
  PortSpec,
  ServiceLogOptions,
  ServiceSpec,
  ServiceStopOptions,
} from "./service_types.ts";

const CONDITIONS = ["started", "ready", "succeeded", "completed"];
/** How long a service without probes and ports has to live to count as ready. */
const ALIVE_FOR_S = 0.2;

/** How the options of `stop()` are checked. */
export const checkStop: (options: unknown) => void = registerOptions<ServiceStopOptions>(
  "service.stop()",
  {
    signal: "signal",
    grace: "durationOrInfinity",
    command: "strings",
    target: ["group", "leader"],
    requireGraceful: "boolean",
  },
);
/** How options about output are checked. */
export const checkLogs: (options: unknown) => void = registerOptions<ServiceLogOptions>(
  "logs of service()",
  { ring: "integer", file: BACKGROUND_OPTIONS.logFile, forward: ["never", "onFailure", "always"] },
);
const checkRestart = registerOptions<{ restart: string; max?: number; backoff?: number }>(
  "onExit of service()",
  { restart: ["onFailure", "always"], max: "integer", backoff: "duration" },
);
const checkForward = registerOptions<{ guest: number; host?: number | "auto" }>(
  "ports of service()",
  { guest: numericPort, host: portOrAuto },
);

const TABLE: OptionTable<ServiceSpec> = {
  name: (value, name) => {
    if (typeof value === "string" && /^[A-Za-z_][\w-]*$/.test(value)) return;
    throw new TypeError(
      `Option ${name} must be a name of letters, digits, "_" and "-", got ${JSON.stringify(value)}`,
    );
  },
  command: (value, name) => {
    if (["string", "function"].includes(typeof value) || isStrings(value)) return;
    throw new TypeError(`Option ${name} must be text, a list or a function, got ${typeof value}`);
  },
  cwd: "string",
  env: "stringRecord",
  stdin: BACKGROUND_OPTIONS.stdin,
  ports: portsOption,
  ready: (value, name) => [value].flat().forEach((one) => checkProbe(one, name)),
  startTimeout: "durationOrInfinity",
  onPortConflict: ["fail", "retry", "clear"],
  dependsOn: dependsOption,
  oneShot: "boolean",
  external: "boolean",
  stop: (value) => checkStop(value),
  onExit: (value) => {
    if (value === "fail" || value === "ignore") return;
    checkRestart(value);
  },
  healthy: checkProbe,
  logs: (value) => checkLogs(value),
  reuse: "boolean",
};

const check = registerOptions<ServiceSpec>("service()", TABLE);

/** Refuses what is no specification of a service. */
export function checkSpec(spec: ServiceSpec): void {
  if (typeof spec !== "object" || spec === null) {
    throw new TypeError(`service() takes an object, got ${spec === null ? "null" : typeof spec}`);
  }
  check(spec);
  for (const key of ["name", "command"] as const) {
    if (spec[key] !== undefined || (key === "command" && spec.external)) continue;
    throw new ServiceConfigError(`Cannot start service "${spec.name ?? ""}": it has no ${key}`, {
      service: spec.name,
    });
  }
}

/** The process has ended, however. */
const ENDED: Probe = {
  ...probe.exit(),
  describe: () => "the end of the process",
  check: ({ job }) => Promise.resolve({ ok: job.result() !== undefined, reason: "it still runs" }),
};

/** What a service depends on, with the condition of each. */
export function dependenciesOf(
  spec: ServiceSpec,
  all: ReadonlyMap<string, ServiceSpec>,
): Map<string, DependencyCondition> {
  const { dependsOn = [] } = spec;
  if (!Array.isArray(dependsOn)) return new Map(Object.entries(dependsOn));
  return new Map(dependsOn.map((name) => [name, all.get(name)?.oneShot ? "succeeded" : "ready"]));
}

/** What has to hold before a service is ready. */
export function readinessOf(spec: ServiceSpec): Probe[] {
  if (spec.ready !== undefined) return [spec.ready].flat();
  if (spec.oneShot) return [spec.onExit === "ignore" ? ENDED : probe.exit(0)];
  const ports = Object.keys(spec.ports ?? {});
  if (ports.length > 0) return ports.map((name) => probe.tcp(name));
  return [probe.delay(ALIVE_FOR_S)];
}

/** Whether a probe looks at the end of the process: then that is no failure in itself. */
export function awaitsExit(probes: Probe[]): boolean {
  return probes.some(({ kind }) => kind === "exit");
}

function checkProbe(value: unknown, name: string): void {
  const one = value as Partial<Probe> | null;
  if (typeof one === "object" && one !== null && typeof one.check === "function") return;
  throw new TypeError(
    `Option ${name} must be a probe, such as probe.tcp("http"), got ${typeof value}`,
  );
}

function portsOption(value: unknown, name: string): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(`Option ${name} must be an object of ports, got ${typeof value}`);
  }
  for (const [key, port] of Object.entries(value as Record<string, PortSpec>)) {
    if (!/^\w+$/.test(key)) {
      throw new TypeError(`Option ${name}: ${JSON.stringify(key)} is no name of a port`);
    }
    if (typeof port === "object") checkForward(port);
    else portOrAuto(port, `${key} of ${name}`);
  }
}

function dependsOption(value: unknown, name: string): void {
  if (isStrings(value)) return;
  const conditions = typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.values(value)
    : [value];
  for (const condition of conditions) {
    if (CONDITIONS.includes(condition as string)) continue;
    throw new TypeError(
      `Option ${name} must be names, or an object of conditions (${CONDITIONS.join(", ")})`,
    );
  }
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}
