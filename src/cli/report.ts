import { Command } from "@cliffy/command";
import { type BelljarEvent, isKind } from "../report/mod.ts";
import { mergeRuns, readEvents, timingsOf } from "../runner/mod.ts";
import { ExitError, refuseFlags, usage } from "./_errors.ts";
import { makeReporters } from "./_reporters.ts";
import { print } from "./_terminal.ts";
import type { GlobalOptions } from "./run.ts";

/** `belljar report`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function reportCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description(
      "Make any report from saved events. Several streams, such as those of shards, become one.",
    )
    .arguments("<events...:file>")
    .option(
      "--reporter <name:string>",
      "tty, plain, dot, junit, html, tap, json, github, perfetto, digest; NAME=FILE",
      {
        collect: true,
      },
    )
    .option("--timings <file:file>", "Write how long files took, for belljar run --timings")
    .option("-v, --verbose", "Show output of passed tests too")
    .example("JUnit from three shards", "belljar report shard-*.jsonl --reporter junit=junit.xml")
    .example("Times for the next sharded run", "belljar report events.jsonl --timings timings.json")
    .action(async function (options, ...paths) {
      refuseFlags(paths, this);
      const streams = await Promise.all(paths.map(readStream));
      const events = mergeRuns(streams);
      if (options.timings !== undefined) {
        await Deno.writeTextFile(
          options.timings,
          `${JSON.stringify(timingsOf(events), null, 2)}\n`,
        );
        if (!options.reporter) return;
      }
      const cwd = events.find((event) => isKind(event, "run_started"))?.cwd ?? Deno.cwd();
      const reporters = makeReporters({
        reporter: options.reporter,
        color: options.color,
        quiet: options.quiet,
        verbose: options.verbose,
        cwd,
        still: true,
      });
      for (const event of events) for (const reporter of reporters) reporter.event(event);
      for (const reporter of reporters) await reporter.end?.();
      const finished = events.find((event) => isKind(event, "run_finished"));
      if (!finished) print("The saved run did not end: its process was killed.\n");
      const code = finished?.exitCode ?? 3;
      if (code !== 0) throw new ExitError(code);
    });
}

async function readStream(path: string): Promise<BelljarEvent[]> {
  let events: BelljarEvent[];
  try {
    events = await readEvents(path);
  } catch (error) {
    throw usage(
      `Cannot read ${JSON.stringify(path)}: ${error instanceof Error ? error.message : error}`,
    );
  }
  if (events.length === 0) {
    throw usage(`There are no events in ${JSON.stringify(path)}: expected what --events writes`);
  }
  return events;
}
