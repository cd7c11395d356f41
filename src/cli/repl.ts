import { Command } from "@cliffy/command";
import { join } from "node:path";
import { createInterface } from "node:readline";
import process from "node:process";
import { cacheDir } from "../host/mod.ts";
import { lab, type Vm } from "../lab/mod.ts";
import { refuseFlags } from "./_errors.ts";
import { Evaluator } from "./_evaluator.ts";
import { withMachines } from "./_machine.ts";
import {
  addMachineOptions,
  describedMachine,
  type OneMachineOptions,
  startedHow,
  takeMachineOptions,
} from "./_machine_options.ts";
import { hasColor, print, printError } from "./_terminal.ts";

interface ReplOptions extends OneMachineOptions {
  fixture?: string;
}

const HISTORY_LINES = 1_000;

/** `belljar repl`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function replCommand(): Command<any> {
  const command = new Command()
    .description(
      "A TypeScript prompt with a machine: `vm` is started, `lab` makes others, and all names of the API are there.",
    )
    .arguments("[image:string]")
    .option("--fixture <file:file>", "Resume the machine that a fixture saved")
    .example("Look around", "belljar repl tiny")
    .example("Where a fixture left off", "belljar repl --fixture tests/db.fixture.ts");
  return addMachineOptions(command)
    .action(async function (given, image?: string) {
      refuseFlags([image], this);
      const options = given as unknown as ReplOptions;
      takeMachineOptions(options);
      await withMachines(async () => {
        const vm = options.fixture === undefined
          ? await describedMachine("vm", image ?? "tiny", options).boot()
          : await lab.fixture(options.fixture);
        if (!options.quiet) {
          printError(`belljar: ${startedHow(vm)}; \`vm\`, \`lab\`, top-level await; Ctrl-D ends\n`);
        }
        await prompt(vm, { colors: hasColor(options.color) });
      });
    });
}

/** Reads, runs and prints until the end of input. */
async function prompt(vm: Vm, { colors }: { colors: boolean }): Promise<void> {
  const api: Record<string, unknown> = await import("../mod.ts");
  // The web's own names stay what they are: `File`, `Worker`.
  const names = Object.entries(api).filter(([name]) => !(name in globalThis));
  using evaluator = new Evaluator({ ...Object.fromEntries(names), lab, vm });
  const isInteractive = Deno.stdin.isTerminal();
  const history = join(await cacheDir(), "repl_history");
  const reader = createInterface({
    input: process.stdin,
    output: isInteractive ? process.stdout : undefined,
    terminal: isInteractive,
    prompt: "> ",
    history: isInteractive ? await readHistory(history) : [],
    historySize: HISTORY_LINES,
    removeHistoryDuplicates: true,
    completer: (line: string, done: (error: null, result: [string[], string]) => void) =>
      void evaluator.complete(line).then(
        (result) => done(null, result),
        () => done(null, [[], ""]),
      ),
  });
  let pending = "";
  // Ctrl-C gives up what is typed; at an empty prompt Ctrl-D ends.
  reader.on("SIGINT", () => {
    pending = "";
    print("\n");
    reader.setPrompt("> ");
    (reader as unknown as { line: string; cursor: number }).line = "";
    reader.prompt();
  });
  if (isInteractive) reader.prompt();
  for await (const line of reader) {
    const source = pending + line;
    pending = "";
    if (/^\s*\.exit\s*$/.test(source)) break;
    if (source.trim() !== "") {
      if (await evaluator.isIncomplete(source)) pending = `${source}\n`;
      else await run(evaluator, source, colors);
    }
    if (!isInteractive) continue;
    reader.setPrompt(pending === "" ? "> " : "… ");
    reader.prompt();
  }
  if (pending.trim() !== "") await run(evaluator, pending, colors);
  reader.close();
  if (isInteractive) {
    await writeHistory(history, (reader as unknown as { history?: string[] }).history ?? []);
  }
}

async function run(evaluator: Evaluator, source: string, colors: boolean): Promise<void> {
  const outcome = await evaluator.evaluate(source);
  if (outcome.ok) {
    if (outcome.value !== undefined) {
      evaluator.set({ _: outcome.value });
      print(`${Deno.inspect(outcome.value, { colors, depth: 4 })}\n`);
    }
  } else {
    evaluator.set({ _error: outcome.error });
    printError(`${shown(outcome.error, colors)}\n`);
  }
}

/** An error without the frames of the prompt itself. */
function shown(error: unknown, colors: boolean): string {
  if (!(error instanceof Error)) return `Uncaught ${Deno.inspect(error, { colors })}`;
  return `Uncaught ${error.name}: ${error.message}`;
}

/** What was typed earlier, newest first. */
async function readHistory(path: string): Promise<string[]> {
  try {
    return (await Deno.readTextFile(path)).split("\n").filter((line) => line !== "");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

async function writeHistory(path: string, lines: readonly string[]): Promise<void> {
  await Deno.writeTextFile(path, `${lines.slice(0, HISTORY_LINES).join("\n")}\n`, { mode: 0o600 });
}
