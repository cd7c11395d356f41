import type { ProcessJob } from "./process_job.ts";
import type { ServicePlace } from "./service_place.ts";
import { readinessOf } from "./service_spec.ts";
import { fillTemplate } from "./service_template.ts";
import type { ServiceContext, ServiceSpec } from "./service_types.ts";

/** A service's process just after its start. */
export interface LaunchedService {
  job: ProcessJob;
  /** What was added to its environment. */
  env: Record<string, string>;
  /** Closes what its probes had prepared. */
  close(): void;
}

/**
 * Starts the process of a service, with its templates filled in and what its probes need.
 *
 * @throws {JobSpawnError} If its command cannot be run.
 */
export async function launchService(
  spec: ServiceSpec,
  place: ServicePlace,
  context: ServiceContext,
): Promise<LaunchedService> {
  const { command, cwd, stdin, logs } = spec;
  const made = typeof command === "function" ? command(context) : command;
  const fill = (text: string) => fillTemplate(text, context);
  const filled = typeof made === "string" ? fill(made) : made.map(fill);
  const env = Object.fromEntries(
    Object.entries(spec.env ?? {}).map(([key, text]) => [key, fill(text)]),
  );
  const prepared: { close(): void }[] = [];
  const close = () => {
    for (const one of prepared.splice(0)) one.close();
  };
  try {
    for (const probe of readinessOf(spec)) {
      const needs = await probe.prepare?.(place);
      if (!needs) continue;
      prepared.push(needs);
      Object.assign(env, needs.env);
    }
    const job = await place.background(filled, {
      cwd,
      env,
      stdin,
      name: spec.name,
      buffer: { stdout: logs?.ring, stderr: logs?.ring },
      logFile: logs?.file,
    });
    return { job, env, close };
  } catch (error) {
    close();
    throw error;
  }
}
