import { Command } from "@cliffy/command";
import { runWithServices, ServiceConfigError } from "../jobs/mod.ts";
import { ExitError, refuseFlags, usage } from "./_errors.ts";
import { withMachines } from "./_machine.ts";
import { onSignals } from "./_signals.ts";
import type { GlobalOptions } from "./run.ts";

/** `belljar with`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function withCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description(
      "Start the services of a file, wait until they are ready, run a command, stop them, and end with its exit code. " +
        "Their output is shown only if something fails.",
    )
    .usage("[options] <services> -- <command> [arguments...]")
    .arguments("<services:file>")
    .option("--timeout <duration:string>", "Longest wait until all are ready")
    .example(
      "Services as JSON, in a Procfile, or one command per line",
      "belljar with services.json -- npm test",
    )
    .action(async function (options, path) {
      refuseFlags([path], this);
      const command = this.getLiteralArgs();
      if (command.length === 0) {
        throw usage(
          "There is no command: write it after --, as in `belljar with services.json -- npm test`",
        );
      }
      const abort = new AbortController();
      const stop = () => abort.abort(INTERRUPTED);
      using _signals = onSignals({ first: stop, second: stop });
      const { signal } = abort;
      const { timeout } = options;
      try {
        const result = await withMachines(() =>
          runWithServices(path, command, { signal, ...timeout !== undefined && { timeout } })
        );
        if (result.exitCode !== 0) throw new ExitError(result.exitCode);
      } catch (error) {
        if (signal.aborted && !(error instanceof ExitError)) throw new ExitError(130);
        if (isMisuse(error)) {
          throw usage(error.message);
        }
        throw error;
      }
    });
}

/** Whether the file of services is wrong, and not what they did. */
function isMisuse(error: unknown): error is Error {
  return error instanceof ServiceConfigError || error instanceof RangeError ||
    error instanceof TypeError;
}

const INTERRUPTED = new Error("interrupted");
