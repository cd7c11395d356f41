import { BelljarError } from "../errors.ts";
import { pause } from "../host/mod.ts";
import { emitEvent } from "../scope/mod.ts";
import { milliseconds } from "../values/mod.ts";
import { JobUnkillableError } from "./errors.ts";
import type { ProcessJob } from "./process_job.ts";
import { ServiceStopError, showOwners } from "./service_errors.ts";
import type { ServicePlace } from "./service_place.ts";
import { fillTemplate } from "./service_template.ts";
import type { ServiceContext, ServiceStopOptions, StopReport } from "./service_types.ts";

/** Time between a service's first signal and SIGKILL, in seconds. */
export const DEFAULT_STOP_GRACE_S = 5;
/** How long its ports may stay taken after its end, in milliseconds. */
export const PORT_FREE_MS = 5_000;

/** What is ended, and how. */
export interface EndServiceOptions {
  job: ProcessJob;
  place: ServicePlace;
  /** For templates in the stop command; its ports must be free afterwards. */
  context: ServiceContext;
  cwd?: string;
  stop: ServiceStopOptions;
}

/**
 * Ends the process of a service: stop command, signal, grace, SIGKILL; then its ports must be free.
 *
 * @throws {ServiceStopError} If something survives, or a port stays taken.
 */
export async function endService(options: EndServiceOptions): Promise<StopReport> {
  const { job, context, stop } = options;
  const { signal, grace = DEFAULT_STOP_GRACE_S, target, command = [] } = stop;
  const startMs = performance.now();
  const elapsed = () => Math.round(performance.now() - startMs) / 1000;
  const report: StopReport = {
    service: context.name,
    how: "graceful",
    result: job.snapshot(),
    elapsed: 0,
    survivors: [],
  };
  if (command.length > 0 && !job.isOver) await runStopCommand(command, options);
  try {
    report.result = await job.kill({ ...signal === undefined ? {} : { signal }, grace, target });
  } catch (error) {
    if (job.state === "lost") report.result = job.snapshot();
    else if (!(error instanceof JobUnkillableError)) throw error;
    else {
      const { survivors } = error;
      Object.assign(report, { how: "forced", survivors, elapsed: elapsed() });
      throw new ServiceStopError(report, "at all: it survived SIGKILL", { cause: error });
    }
  }
  if (job.forced && grace !== 0) report.how = "forced";
  await untilPortsFree(report, options);
  report.elapsed = elapsed();
  return report;
}

async function runStopCommand(
  command: string[],
  { job, place, context, cwd, stop }: EndServiceOptions,
): Promise<void> {
  const timeoutMs = milliseconds(stop.grace ?? DEFAULT_STOP_GRACE_S, { infinite: true });
  const filled = command.map((word) => fillTemplate(word, context));
  try {
    await place.run(filled, { cwd, timeoutMs });
    await job.wait(timeoutMs / 1000);
  } catch (error) {
    if (!(error instanceof BelljarError)) throw error;
    // A command that cannot be run leaves the signal, which follows anyway.
    emitEvent("warning", {
      message: `Stop command of service "${context.name}": ${error.summary}`,
    });
  }
}

async function untilPortsFree(
  report: StopReport,
  { job, place, context }: EndServiceOptions,
): Promise<void> {
  if (job.state === "lost") return;
  const deadline = performance.now() + PORT_FREE_MS;
  for (const port of Object.values(context.ports)) {
    while (!await place.isPortFree(port)) {
      const owners = await place.portOwners(port) ?? [];
      const pids = new Set((await job.members()).map(({ pid }) => pid));
      // Somebody else's by now, and no concern of this service.
      if (owners.length > 0 && !owners.some(({ pid }) => pids.has(pid))) break;
      if (performance.now() > deadline) {
        throw new ServiceStopError(report, `completely: port ${port} is still taken`, {
          actual: showOwners(owners),
        });
      }
      await pause(20);
    }
  }
}
