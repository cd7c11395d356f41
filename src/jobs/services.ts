import { currentScope, currentSignal, type Scope } from "../scope/mod.ts";
import { registerOptions } from "../values/mod.ts";
import { hostPlace } from "./host_place.ts";
import { ServiceGroupRun } from "./service_group.ts";
import { checkFixedPorts } from "./service_ports.ts";
import { ServiceRun } from "./service_run.ts";
import { checkLogs, checkSpec } from "./service_spec.ts";
import type { ServicePlace } from "./service_place.ts";
import { showLogs } from "./service_logs.ts";
import type { GroupOptions, Service, ServiceGroup, ServiceSpec } from "./service_types.ts";

const checkGroup = registerOptions<GroupOptions>("services()", {
  signal: "abortSignal",
  timeout: "durationOrInfinity",
  maxParallel: "integer",
  logs: (value) => checkLogs(value),
});

/**
 * Starts a service on this host; resolves when it is ready. It ends with the current scope.
 *
 * @throws {ServiceStartError} If it does not become ready; nothing of it is left then.
 */
export async function service(spec: ServiceSpec): Promise<Service> {
  return await startService(spec, hostPlace);
}

/**
 * Starts services on this host, each as soon as what it depends on allows it; resolves when all are ready.
 *
 * @throws {ServiceConfigError} If they cannot be put into an order; nothing was started then.
 * @throws {ServiceStartError} If one does not become ready; nothing of them is left then.
 */
export async function services(
  specs: readonly ServiceSpec[],
  options: GroupOptions = {},
): Promise<ServiceGroup> {
  return await startServices(specs, hostPlace, options);
}

/**
 * Runs `body` with services, and stops them afterwards. If one of them ends meanwhile, `group.signal` aborts and the call
 * rejects, whatever the body does.
 *
 * @throws {ServiceExitedError} If a service ends unasked.
 * @throws {unknown} What `body` throws.
 */
export async function withServices<T>(
  specs: readonly ServiceSpec[],
  body: (group: ServiceGroup) => Promise<T> | T,
  options: GroupOptions = {},
): Promise<T> {
  if (typeof body !== "function") {
    throw new TypeError(`withServices() takes a function, got ${typeof body}`);
  }
  const group = await startServices(specs, hostPlace, options);
  await using _stop = group;
  const died = Promise.withResolvers<never>();
  const fail = () => died.reject(group.signal.reason);
  if (group.signal.aborted) fail();
  else group.signal.addEventListener("abort", fail, { once: true });
  try {
    return await Promise.race([(async () => await body(group))(), died.promise]);
  } catch (error) {
    group.showLogs();
    throw error;
  } finally {
    group.signal.removeEventListener("abort", fail);
    died.promise.catch(() => {}); // Nobody ended.
  }
}

/** As {@linkcode service}, where `place` says and in the scope that is given. */
export async function startService(
  spec: ServiceSpec,
  place: ServicePlace,
  scope: Scope = currentScope(),
): Promise<ServiceRun> {
  checkSpec(spec);
  await checkFixedPorts(spec, place);
  const run = new ServiceRun({ spec, place, services: () => ({}) });
  run.registerIn(scope);
  try {
    await run.start(currentSignal());
    return run;
  } catch (error) {
    if (run.hasJob && spec.logs?.forward !== "never") showLogs(run.name, run.job);
    throw error;
  }
}

/** As {@linkcode services}, where `place` says and in the scope that is given. */
export async function startServices(
  specs: readonly ServiceSpec[],
  place: ServicePlace,
  options: GroupOptions = {},
  scope: Scope = currentScope(),
): Promise<ServiceGroupRun> {
  checkGroup(options);
  const group = new ServiceGroupRun(specs, place, options);
  group.registerIn(scope);
  await group.start();
  return group;
}
