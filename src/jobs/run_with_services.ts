import { setEventSink } from "../scope/mod.ts";
import { registerOptions } from "../values/mod.ts";
import { BelljarError } from "../errors.ts";
import { startHostJob } from "./host_driver.ts";
import { loadServices } from "./load_services.ts";
import { checkLogs } from "./service_spec.ts";
import { withServices } from "./services.ts";
import type { OutputBuffer } from "./output_buffer.ts";
import type { GroupOptions, ServiceSpec } from "./service_types.ts";
import type { JobResult } from "./types.ts";

/** Options for {@linkcode runWithServices}. */
export interface RunWithServicesOptions extends GroupOptions {
  /** Whether this process shall end with the exit code of the command. @default {false} */
  setExitCode?: boolean;
}

const check = registerOptions<RunWithServicesOptions>("runWithServices()", {
  signal: "abortSignal",
  timeout: "durationOrInfinity",
  maxParallel: "integer",
  logs: (value) => checkLogs(value),
  setExitCode: "boolean",
});

/**
 * Runs a command with services, whose addresses it finds in its environment, and stops them afterwards. Outside of a runner
 * its output is passed on, and the output of the services is written to standard error if something fails.
 *
 * @param specs Services, or the path of a file for {@linkcode loadServices}.
 */
export async function runWithServices(
  specs: readonly ServiceSpec[] | string,
  command: string | string[],
  options: RunWithServicesOptions = {},
): Promise<JobResult> {
  check(options);
  const { setExitCode, ...group } = options;
  const list = typeof specs === "string" ? await loadServices(specs) : specs;
  using sink = ownSink();
  const result = await withServices(list, async (running) => {
    const job = await startHostJob(command, {
      env: running.env(),
      signal: anySignal(running.signal, options.signal),
    });
    if (sink.isOwn) {
      passOn(job.stdout, Deno.stdout);
      passOn(job.stderr, Deno.stderr);
    }
    try {
      return (await job.wait(undefined, { throughStop: true })).assertOk();
    } catch (error) {
      // A command that fails is a result; that it fails makes the logs of the services worth reading.
      if (!(error instanceof BelljarError) || !job.isOver) throw error;
      if (job.state === "lost") throw error;
      running.signal.throwIfAborted();
      throw new CommandFailed(job.snapshot());
    }
  }, group).catch((error) => {
    if (error instanceof CommandFailed) return error.result;
    throw error;
  });
  if (setExitCode) Deno.exitCode = result.exitCode;
  return result;
}

/** Takes a result out of the body. */
class CommandFailed extends Error {
  readonly result: JobResult;

  constructor(result: JobResult) {
    super(`the command ended ${result.status}`);
    this.result = result;
  }
}

/** Writes the output of services to standard error where no runner takes the events. */
function ownSink(): Disposable & { isOwn: boolean } {
  const previous = setEventSink(undefined);
  if (previous) {
    setEventSink(previous);
    return { isOwn: false, [Symbol.dispose]: () => {} };
  }
  setEventSink((kind, fields) => {
    if (kind !== "service_log") return;
    const text = String(fields.text).replace(/\n$/, "");
    const lines = text.split("\n").map((line) => `[${fields.service}] ${line}\n`);
    writeAll(Deno.stderr, new TextEncoder().encode(lines.join("")));
  });
  return { isOwn: true, [Symbol.dispose]: () => void setEventSink(undefined) };
}

/** Passes on what was written already, and what will be: a quick command has written before anybody can listen. */
function passOn(from: OutputBuffer, to: { writeSync(data: Uint8Array): number }): void {
  from.tap((chunk) => chunk && writeAll(to, chunk));
}

function writeAll(to: { writeSync(data: Uint8Array): number }, chunk: Uint8Array): void {
  for (let at = 0; at < chunk.length;) at += to.writeSync(chunk.subarray(at));
}

function anySignal(first: AbortSignal, second: AbortSignal | undefined): AbortSignal {
  return second ? AbortSignal.any([first, second]) : first;
}
