import { Command } from "@cliffy/command";
import { BelljarError } from "../errors.ts";
import { waitUntil } from "../jobs/mod.ts";
import { labProviders, type Process, type Vm } from "../lab/mod.ts";
import { ExitError, refuseFlags } from "./_errors.ts";
import { withMachines } from "./_machine.ts";
import {
  addMachineOptions,
  describedMachine,
  type OneMachineOptions,
  startedHow,
  takeMachineOptions,
} from "./_machine_options.ts";
import { hasTerminal, onResize, rawMode, show, terminalSize, typed } from "./_raw_terminal.ts";
import { onSignals } from "./_signals.ts";
import { printError } from "./_terminal.ts";

interface ShellOptions extends OneMachineOptions {
  user?: string;
  cwd?: string;
  console?: true;
}

/** Ctrl-], as telnet(1) has it: few programs want it for themselves. */
const ESCAPE = 0x1d;
/** The best shell that there is, as a login shell. */
const LOGIN_SHELL = `for shell in "$SHELL" /bin/bash /bin/sh; do
  [ -x "$shell" ] && exec "$shell" -l
done`;
/** A shell on the serial port, which the kernel names last among its consoles. */
const CONSOLE_SHELL = `
tty=/dev/$(sed 's/.* //' /sys/class/tty/console/active)
stty sane rows "$ROWS" cols "$COLS" <"$tty"
setsid -c sh -l <"$tty" >"$tty" 2>&1
exit $?`;

/** `belljar shell`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function shellCommand(): Command<any> {
  const command = new Command()
    .description(
      "Start a machine and work in it by a shell; the machine ends with the shell, and its exit code is passed on.",
    )
    .usage("[options] <image> [-- <command> [arguments...]]")
    .arguments("<image:string>")
    .option("--user <name:string>", "User in the machine")
    .option("--cwd <folder:string>", "Working directory in the machine")
    .option("--console", "The serial console, from power-on, instead of a terminal by the agent")
    .example("A shell", "belljar shell tiny")
    .example("Another program on a terminal", "belljar shell tiny -- top")
    .example("What the kernel says while it boots", "belljar shell --console tiny");
  return addMachineOptions(command)
    .action(async function (given, image: string) {
      refuseFlags([image], this);
      const options = given as unknown as ShellOptions;
      takeMachineOptions(options);
      const words: string[] = this.getLiteralArgs();
      const code = await withMachines(async () => {
        const abort = new AbortController();
        const stop = () => abort.abort(INTERRUPTED);
        // On a terminal Ctrl-C is a key for the guest; without one it is a signal for this command.
        using _signals = onSignals({ first: stop, second: stop });
        try {
          return options.console
            ? await onConsole(image, options, abort.signal)
            : await byAgent(image, words, options, abort.signal);
        } catch (error) {
          if (error === INTERRUPTED) return 130;
          throw error;
        }
      });
      if (code !== 0) throw new ExitError(code);
    });
}

const INTERRUPTED = new Error("interrupted");

async function byAgent(
  image: string,
  words: readonly string[],
  options: ShellOptions,
  signal: AbortSignal,
): Promise<number> {
  const vm = await describedMachine("shell", image, options).boot({ signal });
  const interactive = hasTerminal();
  if (interactive && !options.quiet) printError(`belljar: ${startedHow(vm)}\n`);
  const [program = "sh", ...args] = words.length > 0 ? words : ["sh", "-c", LOGIN_SHELL];
  const { user, cwd } = options;
  const process = await vm.runAsync(program, {
    args,
    user,
    cwd,
    env: { TERM: Deno.env.get("TERM") ?? "vt100" },
    ...interactive ? { pty: terminalSize() } : {},
    signal,
  });
  await using _raw = interactive ? await rawMode() : undefined;
  using _size = interactive
    ? onResize((size) => void process.resize(size).catch(ignoreLoss))
    : undefined;
  feed(process).catch(ignoreLoss);
  try {
    await Promise.all([show(process.stdout), show(process.stderr, Deno.stderr)]);
    return (await process.wait(undefined, { signal })).exitCode;
  } catch (error) {
    // `poweroff` in the shell is a way to leave it.
    if (error instanceof BelljarError && await hasPoweredOff(vm)) return 0;
    throw error;
  }
}

/** Passes on what is typed, and the end of input. */
async function feed(process: Process): Promise<void> {
  for await (const keys of typed()) await process.write(keys);
  await process.closeStdin();
}

/** What is typed at a process that has just ended reaches nobody; how it ended is told by its wait. */
function ignoreLoss(error: unknown): void {
  if (!(error instanceof BelljarError) && !(error instanceof TypeError)) throw error;
}

/** Whether the guest was switched off from within; its end is told apart from the loss of its agent a moment later. */
async function hasPoweredOff(vm: Vm): Promise<boolean> {
  const hasEnded = () => vm.state === "shutdown" || vm.state === "dead";
  await waitUntil(hasEnded, { timeout: "3s", interval: 0.02 }).catch(() => {}); // It goes on: that is an answer too.
  return vm.state === "shutdown";
}

async function onConsole(
  image: string,
  options: ShellOptions,
  signal: AbortSignal,
): Promise<number> {
  const { agentIsInit } = await labProviders().image(image, signal);
  const vm = describedMachine("shell", image, options);
  if (!options.quiet) printError("belljar: the serial console; Ctrl-] ends the machine\n");
  await using _raw = await rawMode();
  const left = Promise.withResolvers<number>();
  left.promise.catch(() => {}); // It may settle before somebody waits for it.
  signal.addEventListener("abort", () => left.reject(signal.reason), { once: true });
  // No image is too broken to be looked at: the console is shown from power-on, whether or not an agent ever answers.
  await vm.boot({ signal, cold: true, expect: agentIsInit ? "agent" : "no-agent" });
  const stream = vm.console.stream({ from: "start" });
  type(vm, left.resolve).catch(left.reject);
  if (agentIsInit) consoleShell(vm).then(left.resolve, left.reject);
  const code = await Promise.race([left.promise, show(stream).then(() => 0)]);
  await stream.close();
  return code;
}

/** Types at the console until the escape key. */
async function type(vm: Vm, leave: (code: number) => void): Promise<void> {
  for await (const keys of typed()) {
    const end = keys.indexOf(ESCAPE);
    if (end !== 0) await vm.console.write(end < 0 ? keys : keys.subarray(0, end));
    if (end >= 0) return leave(0);
  }
  // Without a terminal the input may end long before the console has said all.
}

/** An image whose first process is the agent has nobody who asks for a login there. */
async function consoleShell(vm: Vm): Promise<number> {
  const { cols, rows } = terminalSize();
  const process = await vm.runAsync(CONSOLE_SHELL, {
    env: { TERM: Deno.env.get("TERM") ?? "vt100", COLS: String(cols), ROWS: String(rows) },
    stdin: "null",
  });
  return (await process.wait()).exitCode;
}
