import { Command, ValidationError } from "@cliffy/command";
import { CompletionsCommand } from "@cliffy/command/completions";
import { BelljarError } from "../errors.ts";
import { closest } from "../values/mod.ts";
import { VERSION } from "../wire/mod.ts";
import { ExitError } from "./_errors.ts";
import { renameNegations } from "./_selection.ts";
import { printError } from "./_terminal.ts";
import { cleanCommand } from "./clean.ts";
import { doctorCommand } from "./doctor.ts";
import { execCommand } from "./exec.ts";
import { fixtureCommand } from "./fixture.ts";
import { imageCommand } from "./image.ts";
import { initCommand } from "./init.ts";
import { licensesCommand } from "./licenses.ts";
import { listCommand } from "./list.ts";
import { reportCommand } from "./report.ts";
import { runCommand } from "./run.ts";
import { replCommand } from "./repl.ts";
import { shellCommand } from "./shell.ts";
import { withCommand as withServicesCommand } from "./with.ts";

/** The `belljar` command with all its sub-commands. */
// deno-lint-ignore no-explicit-any -- the types of its options are of no use to callers
export function commandTree(): Command<any> {
  return new Command()
    .name("belljar")
    .version(VERSION)
    .description(
      "Boots virtual machines from TypeScript tests, drives them, and leaves nothing behind.\n" +
        "Without a command it runs the tests below this folder.",
    )
    .throwErrors()
    .globalOption("--no-color", "No colours")
    .globalOption("-q, --quiet", "Failures and the summary alone")
    .example("Run all tests below this folder", "belljar")
    .example("Begin", "belljar init && belljar run")
    .example("What this host can do", "belljar doctor")
    .action(function () {
      this.showHelp();
    })
    .command("run", runCommand())
    .command("list", listCommand())
    .command("exec", execCommand())
    .command("shell", shellCommand())
    .command("repl", replCommand())
    .command("with", withServicesCommand())
    .command("image", imageCommand())
    .command("fixture", fixtureCommand())
    .command("report", reportCommand())
    .command("doctor", doctorCommand())
    .command("init", initCommand())
    .command("clean", cleanCommand())
    .command("licenses", licensesCommand())
    .command("completions", new CompletionsCommand());
}

/** Runs the command line and returns its exit code. */
export async function runCli(args: readonly string[]): Promise<number> {
  const tree = commandTree();
  try {
    await tree.parse(withCommand(renameNegations(args), tree));
    return 0;
  } catch (error) {
    return exitCodeOf(error, args, tree);
  }
}

interface Tree {
  getCommands(hidden?: boolean): { getName(): string }[];
}

/** `run` is what is meant when no command is named. */
function withCommand(args: string[], tree: Tree): string[] {
  const names = new Set(tree.getCommands(true).map((command) => command.getName()));
  const first = args.find((word) => !word.startsWith("-"));
  if (first !== undefined && names.has(first)) return args;
  const asks = ["-h", "--help", "-V", "--version"];
  if (first === undefined && args.some((word) => asks.includes(word))) return args;
  return ["run", ...args];
}

function exitCodeOf(error: unknown, args: readonly string[], tree: Tree): number {
  if (error instanceof ExitError) return error.exitCode;
  if (error instanceof ValidationError) {
    const command = (error as { cmd?: { getPath?(): string } }).cmd?.getPath?.() ?? "belljar";
    printError(
      `belljar: ${withCommandHint(error.message, args, tree)}\nSee \`${command} --help\`.\n`,
    );
    return error.exitCode || 2;
  }
  const isOurs = error instanceof BelljarError;
  const text = error instanceof Error
    ? (isOurs ? `${error.name}: ${error.message}` : error.stack)
    : String(error);
  printError(`belljar: ${text}\n`);
  // What is neither wrong use nor a failed test is a failure of the host or of belljar itself.
  return 3;
}

/** `belljar lsit` is read as a path that does not exist: the command may be meant. */
function withCommandHint(message: string, args: readonly string[], tree: Tree): string {
  const first = args.find((word) => !word.startsWith("-"));
  if (first === undefined || !message.startsWith(`There is no ${JSON.stringify(first)}`)) {
    return message;
  }
  if (message.includes("did you mean")) return message;
  const near = closest(first, tree.getCommands().map((command) => command.getName()));
  return near ? `${message}: did you mean the command "${near}"?` : message;
}
