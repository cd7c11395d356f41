import { StateError } from "../errors.ts";
import { timeScale } from "../scope/mod.ts";
import { seconds } from "../values/mod.ts";
import type { ProbeContext } from "./probe.ts";
import { ProbeHopelessError, type ProbeLog, untilProbe } from "./probe_run.ts";
import type { ProcessJob } from "./process_job.ts";
import type { ServicePlace } from "./service_place.ts";
import type { ServiceStartError, StartErrorDetails, StartFailure } from "./service_errors.ts";
import { awaitsExit, readinessOf } from "./service_spec.ts";
import type { ServiceSpec } from "./service_types.ts";

/** What is waited for, and what it is measured with. */
export interface ReadyOptions {
  spec: ServiceSpec;
  /** Its process; none if it runs elsewhere. */
  job: ProcessJob | undefined;
  /** What its probes look at, under a signal of their own. */
  context: (signal: AbortSignal) => ProbeContext;
  log: ProbeLog;
  signal: AbortSignal;
  /** Whether it runs in a machine, which may be slow: what belljar chooses itself is stretched then. */
  isGuest: boolean;
  /** Makes the error that says why it did not become ready. */
  failure: (
    what: string,
    reason: StartFailure,
    details?: Partial<StartErrorDetails>,
  ) => ServiceStartError;
}

const DEFAULT_START_TIMEOUT_S = 30;
const ENDED = "it ended before it was ready";

/** Waits until all probes hold, against the end of the process, the time limit and an abort. */
export async function untilReady(options: ReadyOptions): Promise<void> {
  const { spec, job, context, log, signal, failure } = options;
  const probes = readinessOf(spec);
  const scale = options.isGuest ? timeScale() : 1;
  const limitS = seconds(spec.startTimeout ?? DEFAULT_START_TIMEOUT_S * scale, { infinite: true });
  const race = new AbortController();
  const fail = (...args: Parameters<typeof failure>) => race.abort(failure(...args));
  const timer = limitS === Infinity
    ? undefined
    : setTimeout(() => fail(`it was not ready within ${limitS} s`, "timeout"), limitS * 1000);
  const aborted = () => race.abort(signal.reason);
  signal.addEventListener("abort", aborted, { once: true });
  if (signal.aborted) aborted();
  const look = () => job?.isOver && fail(ENDED, "exited", { result: job.snapshot() });
  const stopWatch = awaitsExit(probes) ? undefined : job?.watch(look);
  if (stopWatch) look();
  const inner = context(race.signal);
  const tries = probes.map((probe) => untilProbe(probe, inner, log));
  try {
    await Promise.all(tries);
  } catch (error) {
    const reason = race.signal.aborted ? race.signal.reason : error;
    race.abort(reason);
    await Promise.allSettled(tries); // What a try holds, such as a process, is gone before the failure is told.
    if (!(reason instanceof ProbeHopelessError)) throw reason;
    const result = job?.result();
    throw result
      ? failure(ENDED, "exited", { result })
      : failure(reason.message, "probeFailed", { cause: reason });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", aborted);
    stopWatch?.();
  }
}

/** What the probes of a service look at. */
export function probeContext(options: {
  name: string;
  /** Its process; none if it runs elsewhere. */
  job: ProcessJob | undefined;
  ports: Record<string, number>;
  env: Record<string, string>;
  cwd: string | undefined;
  place: ServicePlace;
  signal: AbortSignal;
  /** Takes the named groups of log probes. */
  match: Record<string, string>;
}): ProbeContext {
  const { name, job, match, ...rest } = options;
  return {
    ...rest,
    vm: options.place.vm,
    get job() {
      if (job) return job;
      throw new StateError(`Cannot look at the process of service "${name}": it runs elsewhere`);
    },
    isOwn: async (pid) => !job || (await job.members()).some((member) => member.pid === pid),
    matched: (groups) => Object.assign(match, groups),
  };
}
