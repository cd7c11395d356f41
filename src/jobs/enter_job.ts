import type { Scope } from "../scope/mod.ts";
import type { ProcessDriver } from "./driver.ts";
import { processTable } from "./job_table.ts";
import { LogFile } from "./_log_file.ts";
import { outputRoot } from "./output_root.ts";
import { ProcessJob } from "./process_job.ts";
import { registerJob } from "./register_job.ts";
import type { BackgroundOptions, JobOrigin } from "./types.ts";

/** How a process becomes a job. */
export interface EnterOptions {
  scope: Scope;
  /** What the scope calls it. */
  kind: "job" | "process";
  origin: JobOrigin;
  /** The scope that ends it; `undefined` if something else does. */
  registerIn: Scope | undefined;
  /** Starts the process. */
  start(): Promise<ProcessDriver>;
}

/** Starts a process, enters it into the process-wide table under the next number, and hands it to its scope. */
export async function enterJob(
  spec: BackgroundOptions & { command: string },
  options: EnterOptions,
): Promise<ProcessJob> {
  const { scope, origin, registerIn } = options;
  const logFile = await openLog(spec.logFile);
  let driver: ProcessDriver;
  try {
    driver = await options.start();
  } catch (error) {
    logFile?.close();
    throw error;
  }
  const { command, name, buffer } = spec;
  const job = new ProcessJob({
    command,
    name,
    origin,
    scope,
    buffer,
    driver,
    options: spec,
    logFile,
  });
  processTable.enter(job);
  job.begin(spec);
  try {
    if (registerIn) job.adopt(registerJob(job, options.kind, registerIn, job.closeLimitMs));
    return job;
  } catch (error) {
    await job[Symbol.asyncDispose](); // The scope has ended: whoever hears of it finds nothing left.
    throw error;
  }
}

async function openLog(logFile: boolean | string | undefined): Promise<LogFile | undefined> {
  if (!logFile) return undefined;
  if (typeof logFile === "string") return await LogFile.create(logFile);
  const folder = `${await outputRoot()}/logs`;
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  return await LogFile.create(`${folder}/${crypto.randomUUID()}.log`);
}
