import type { PlaceRunOptions, ServicePlace } from "./service_place.ts";
import type { JobResult } from "./types.ts";

/** Runs a command to its end. Whatever happens, nothing of it is left afterwards. */
export async function runToEnd(
  place: ServicePlace,
  command: string | readonly string[],
  options: PlaceRunOptions,
): Promise<JobResult> {
  const { cwd, env, timeoutMs, signal } = options;
  const job = await place.background(command, { cwd, env, killGrace: 0 });
  try {
    return await job.wait(timeoutMs / 1000, { signal, kill: true });
  } finally {
    await job[Symbol.asyncDispose]();
  }
}
