import type { Registration, Scope } from "../scope/mod.ts";
import type { BaseJob } from "./base_job.ts";

/** Hands a job to a scope, which ends it. Throws, and ends it at once, if the scope is closing. */
export function registerJob(
  job: BaseJob,
  kind: "job" | "process",
  scope: Scope,
  limitMs: number,
): Registration {
  return scope.register({
    kind,
    name: () => `${job.pid ?? `job ${job.id}`} \`${job.command}\``,
    close: () => job[Symbol.asyncDispose](),
    limitMs,
    leaked: () => !job.isOver,
  });
}
