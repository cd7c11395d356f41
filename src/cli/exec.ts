import { Command } from "@cliffy/command";
import type { Process, Stream } from "../lab/mod.ts";
import { escapeLine } from "../report/mod.ts";
import { ExitError, refuseFlags, usage } from "./_errors.ts";
import { withMachines } from "./_machine.ts";
import {
  addMachineOptions,
  describedMachine,
  type OneMachineOptions,
  startedHow,
  takeMachineOptions,
} from "./_machine_options.ts";
import { onSignals } from "./_signals.ts";
import { printError } from "./_terminal.ts";

interface ExecOptions extends OneMachineOptions {
  user?: string;
  cwd?: string;
  verbose?: true;
}

/** `belljar exec`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function execCommand(): Command<any> {
  const command = new Command<OneMachineOptions>()
    .description(
      "Start a machine, run one command in it with live output, and end with its exit code.",
    )
    .usage("[options] <image> -- <command> [arguments...]")
    .arguments("<image:string>");
  return addMachineOptions(command)
    .option("--user <name:string>", "User in the machine")
    .option("--cwd <folder:string>", "Working directory in the machine")
    .option("-v, --verbose", "Say how the machine was started")
    .example("A command", "belljar exec tiny -- uname -a")
    .example("A kernel of your own", "belljar exec --kernel ./bzImage tiny -- uname -r")
    .example("A shell script", `belljar exec tiny -- sh -c 'mount | wc -l'`)
    .action(async function (given, image: string) {
      refuseFlags([image], this);
      const options = given as unknown as ExecOptions;
      const [program, ...args] = this.getLiteralArgs();
      if (program === undefined) {
        throw usage(
          "There is no command: write it after --, as in `belljar exec tiny -- uname -a`",
        );
      }
      const { user, cwd } = options;
      takeMachineOptions(options);
      const code = await withMachines(async () => {
        const abort = new AbortController();
        const started: { process?: Process } = {};
        using _signals = onSignals({
          first: () =>
            started.process ? void started.process.kill("SIGINT") : abort.abort(INTERRUPTED),
          second: () => abort.abort(INTERRUPTED),
        });
        const { signal } = abort;
        try {
          const vm = await describedMachine("exec", image, options).boot({ signal });
          if (options.verbose) {
            printError(`belljar: ${startedHow(vm)}: ${escapeLine(vm.info.accelWhy)}\n`);
          }
          const process = await vm.runAsync(program, { args, user, cwd, stdin: "null", signal });
          started.process = process;
          await Promise.all([copy(process.stdout, Deno.stdout), copy(process.stderr, Deno.stderr)]);
          return (await process.wait(undefined, { signal })).exitCode;
        } catch (error) {
          if (error === INTERRUPTED) return 130;
          throw error;
        }
      });
      if (code !== 0) throw new ExitError(code);
    });
}

const INTERRUPTED = new Error("interrupted");

async function copy(
  from: Stream,
  to: { write(bytes: Uint8Array): Promise<number> },
): Promise<void> {
  for await (const chunk of from) {
    for (let at = 0; at < chunk.length;) at += await to.write(chunk.subarray(at));
  }
}
