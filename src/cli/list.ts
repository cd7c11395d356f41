import { Command } from "@cliffy/command";
import { tagsOf } from "../dsl/mod.ts";
import { escapeLine, makeStyle } from "../report/mod.ts";
import { type ListedFile, TestRun } from "../runner/mod.ts";
import { listFixtures } from "./fixture.ts";
import { ExitError, refuseFlags } from "./_errors.ts";
import { selectionOf } from "./_selection.ts";
import { onSignals } from "./_signals.ts";
import { hasColor, print, printError } from "./_terminal.ts";
import { findFiles, type GlobalOptions } from "./run.ts";

/** `belljar list`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function listCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description("Show which tests would run, with their meta data. No machine is started.")
    .arguments("[paths...:file]")
    .option("--filter <text:string>", "Names that contain the text, or match the /pattern/")
    .option("--tag <tag:string>", "Tests with this tag; repeat for others", { collect: true })
    .option("--skip-tag <tag:string>", "No tests with this tag (also --no-tag)", { collect: true })
    .option("--meta <pair:string>", "Tests with KEY=VALUE in their meta data", { collect: true })
    .option("--skip-meta <pair:string>", "No tests with KEY=VALUE (also --no-meta)", {
      collect: true,
    })
    .option("--include-slow", "Slow tests too")
    .option("--fixtures", "Fixtures in place of tests: which are built, stale or missing")
    .option("--json", "As JSON")
    .example("Everything", "belljar list")
    .example("For a program", "belljar list --json tests/net")
    .action(async function (options, ...paths) {
      refuseFlags(paths, this);
      if (options.fixtures) return await listFixtures(paths, options);
      const cwd = Deno.cwd();
      const files = await findFiles(paths, cwd);
      const run = new TestRun({
        files,
        cwd,
        file: { selection: selectionOf(options) },
        reporters: [],
      });
      using _signals = onSignals({ first: () => run.interrupt(), second: () => run.kill() });
      const listed = await run.list();
      listed.sort((a, b) => a.file < b.file ? -1 : 1);
      if (options.json) print(`${JSON.stringify({ v: 1, files: listed }, null, 2)}\n`);
      else printList(listed, hasColor(options.color));
      if (listed.some(({ error }) => error !== undefined)) throw new ExitError(1);
    });
}

function printList(files: readonly ListedFile[], color: boolean): void {
  const style = makeStyle(color);
  let count = 0;
  for (const { file, tests, note, error } of files) {
    print(`${style.bold(escapeLine(file))}\n`);
    for (const { name, meta, skip } of tests) {
      count++;
      const { tags: _, skip: __, ...rest } = meta;
      const tags = tagsOf(meta).map((tag) => `#${tag}`);
      const pairs = Object.entries(rest).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
      const notes = [...tags, ...pairs, ...skip === undefined ? [] : [`(skipped: ${skip})`]];
      print(
        `  ${escapeLine(name)}${
          notes.length > 0 ? `  ${style.dim(escapeLine(notes.join(" ")))}` : ""
        }\n`,
      );
    }
    if (note) print(`  ${style.yellow(`note: ${escapeLine(note)}`)}\n`);
    if (error) printError(`  ${style.red(`cannot be loaded: ${escapeLine(error)}`)}\n`);
  }
  print(
    style.dim(
      `${count} test${count === 1 ? "" : "s"} in ${files.length} file${
        files.length === 1 ? "" : "s"
      }\n`,
    ),
  );
}
