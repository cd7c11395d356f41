import type { ProcessJob } from "./process_job.ts";
import {
  PortInUseError,
  ServiceConfigError,
  ServiceStartError,
  showOwners,
} from "./service_errors.ts";
import type { Forwarded, ServicePlace } from "./service_place.ts";
import type { PortOwner, ServiceSpec } from "./service_types.ts";

/** The ports of a service. */
export interface ChosenPorts {
  /** As the service itself uses them. */
  own: Record<string, number>;
  /** As the harness reaches them. */
  reachable: Record<string, number>;
  /** Where the harness reaches them. */
  host: string;
  /** Whether some of them were chosen. */
  hasAuto: boolean;
  /** What makes them reachable, to be closed with them. */
  forwards: Forwarded[];
}

/** Chooses the ports of a service. */
export async function choosePorts(spec: ServiceSpec, place: ServicePlace): Promise<ChosenPorts> {
  const chosen: ChosenPorts = {
    own: {},
    reachable: {},
    host: "127.0.0.1",
    hasAuto: false,
    forwards: [],
  };
  try {
    await choose(spec, place, chosen);
    return chosen;
  } catch (error) {
    await closeForwards(chosen);
    throw error;
  }
}

function taken(spec: ServiceSpec, cause: PortInUseError): ServiceStartError {
  return new ServiceStartError(`port ${cause.port} of the host is taken`, {
    service: spec.name,
    reason: "portInUse",
    portOwner: cause.owners,
    actual: showOwners(cause.owners),
    next: 'stop its owner, or forward to an "auto" port',
    cause,
  });
}

/** Ends what makes ports reachable; harmless when called again. */
export async function closeForwards(ports: ChosenPorts): Promise<void> {
  await Promise.all(ports.forwards.splice(0).map((forward) => forward.close()));
}

async function choose(
  spec: ServiceSpec,
  place: ServicePlace,
  chosen: ChosenPorts,
): Promise<void> {
  for (const [name, port] of Object.entries(spec.ports ?? {})) {
    const own = typeof port === "object" ? port.guest : port;
    if (own === "auto") chosen.hasAuto = true;
    const number = own === "auto" ? await chooseOther(place, chosen.own) : own;
    chosen.own[name] = number;
    chosen.reachable[name] = number;
    if (typeof port !== "object" || port.host === undefined) continue;
    if (!place.forward) {
      throw new ServiceConfigError(
        `Cannot forward port "${name}" of service "${spec.name}": it does not run in a machine`,
        { service: spec.name, next: "give its number alone: it is a port of this host" },
      );
    }
    const forward = await place.forward(number, port.host).catch((error) => {
      throw error instanceof PortInUseError ? taken(spec, error) : error;
    });
    chosen.forwards.push(forward);
    chosen.reachable[name] = forward.port;
  }
}

/** Sees to it that the fixed ports of a service are free, before anything is started. */
export async function checkFixedPorts(spec: ServiceSpec, place: ServicePlace): Promise<void> {
  if (spec.external || spec.reuse) return;
  for (const port of Object.values(spec.ports ?? {})) {
    const own = typeof port === "object" ? port.guest : port;
    if (own !== "auto") await needFree(spec, place, own);
  }
}

/** Who else listens on a port of a service that did not become ready; `undefined` if nobody does. */
export async function findConflict(
  place: ServicePlace,
  ports: ChosenPorts,
  job: ProcessJob,
): Promise<PortOwner[] | undefined> {
  const pids = new Set((await job.members()).map(({ pid }) => pid));
  for (const port of Object.values(ports.own)) {
    if (await place.isPortFree(port)) continue;
    const owners = await place.portOwners(port) ?? [];
    if (!owners.some(({ pid }) => pids.has(pid))) return owners;
  }
  return undefined;
}

async function chooseOther(place: ServicePlace, taken: Record<string, number>): Promise<number> {
  while (true) {
    const port = await place.choosePort();
    if (!Object.values(taken).includes(port)) return port;
  }
}

async function needFree(spec: ServiceSpec, place: ServicePlace, port: number): Promise<void> {
  if (await place.isPortFree(port)) return;
  if (spec.onPortConflict === "clear") {
    await place.clearPort(port);
    return;
  }
  const portOwner = await place.portOwners(port) ?? [];
  throw new ServiceStartError(`port ${port} is taken`, {
    service: spec.name,
    reason: "portInUse",
    portOwner,
    actual: portOwner.map(({ pid, command }) => `pid ${pid} ${JSON.stringify(command)}`).join(", "),
    next: 'stop it, use another port or "auto", or set onPortConflict: "clear"',
  });
}
