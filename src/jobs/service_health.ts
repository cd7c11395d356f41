import { pause } from "../host/mod.ts";
import { milliseconds } from "../values/mod.ts";
import type { Probe, ProbeContext } from "./probe.ts";
import { tryProbe } from "./probe_run.ts";

const DEFAULT_INTERVAL_S = 1;
const MAX_FAILURES = 3;

/** Tries a probe again and again until its signal aborts, and calls `sick` after three failures in a row. */
export async function watchHealth(
  probe: Probe,
  context: ProbeContext,
  sick: (reason: string) => void,
): Promise<void> {
  const intervalMs = milliseconds(probe.interval ?? DEFAULT_INTERVAL_S);
  try {
    for (let failures = 0; failures < MAX_FAILURES;) {
      await pause(intervalMs, context.signal);
      const { ok, reason = "it does not hold" } = await tryProbe(probe, context);
      context.signal.throwIfAborted();
      failures = ok ? 0 : failures + 1;
      if (failures === MAX_FAILURES) sick(`${probe.describe()}: ${reason}`);
    }
  } catch (error) {
    if (!context.signal.aborted) throw error;
  }
}
