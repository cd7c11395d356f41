import { Command, EnumType } from "@cliffy/command";
import { lab, type Process, type Stream } from "../lab/mod.ts";
import { escapeLine } from "../report/mod.ts";
import { asUsage, ExitError, refuseFlags, usage } from "./_errors.ts";
import { setMachineDefaults, withMachines } from "./_machine.ts";
import { onSignals } from "./_signals.ts";
import { printError } from "./_terminal.ts";
import { bytes } from "../values/mod.ts";
import type { GlobalOptions } from "./run.ts";

/** `belljar exec`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function execCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description(
      "Start a machine, run one command in it with live output, and end with its exit code.",
    )
    .usage("[options] <image> -- <command> [arguments...]")
    .arguments("<image:string>")
    .type("accel", new EnumType(["auto", "kvm", "tcg"]))
    .type("transport", new EnumType(["auto", "vsock", "serial"]))
    .type("vmm", new EnumType(["qemu", "local"]))
    .option("--memory <size:string>", "Memory of the machine", { default: "256M" })
    .option("--cpus <n:integer>", "Processors of the machine", { default: 1 })
    .option("--accel <mode:accel>", "auto, kvm or tcg")
    .option("--transport <mode:transport>", "auto, vsock or serial")
    .option("--vmm <name:vmm>", "qemu or local")
    .option("--kernel <file:string>", "Kernel to start instead of the image's own")
    .option("--modules <folder:string>", "Modules of that kernel, if they do not lie beside it")
    .option("--cold", "Boot the machine instead of cloning it")
    .option("--user <name:string>", "User in the machine")
    .option("--cwd <folder:string>", "Working directory in the machine")
    .option("-v, --verbose", "Say how the machine was started")
    .example("A command", "belljar exec tiny -- uname -a")
    .example("A kernel of your own", "belljar exec --kernel ./bzImage tiny -- uname -r")
    .example("A shell script", `belljar exec tiny -- sh -c 'mount | wc -l'`)
    .action(async function (options, image) {
      refuseFlags([image], this);
      const [program, ...args] = this.getLiteralArgs();
      if (program === undefined) {
        throw usage(
          "There is no command: write it after --, as in `belljar exec tiny -- uname -a`",
        );
      }
      const { memory, cpus, user, cwd } = options;
      asUsage(() => bytes(memory, "--memory"));
      setMachineDefaults(options);
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
          const vm = await lab.vm("exec", image, { memory, cpus }).boot({ signal });
          if (options.verbose) {
            const { how, accel, accelWhy, transport, timings } = vm.info;
            const ms = Math.round(timings.totalMs ?? 0);
            printError(
              `belljar: ${how} in ${ms} ms, ${transport}, ${accel}: ${escapeLine(accelWhy)}\n`,
            );
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
