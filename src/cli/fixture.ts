import { Command } from "@cliffy/command";
import { basename } from "node:path";
import { escapeLine, makeStyle } from "../report/mod.ts";
import {
  discoverFiles,
  FIXTURE_SUFFIX,
  FixtureError,
  Fixtures,
  type FixtureState,
  type ListedFixture,
  NothingFoundError,
  type StoredFixture,
  type TestFile,
} from "../runner/mod.ts";
import { setEventSink } from "../scope/mod.ts";
import { bytes } from "../values/mod.ts";
import { asUsage, ExitError, refuseFlags, usage } from "./_errors.ts";
import { showBytes, table } from "./_format.ts";
import { withMachines } from "./_machine.ts";
import { hasColor, print, printError } from "./_terminal.ts";
import type { GlobalOptions } from "./run.ts";

interface ListOptions {
  json?: true;
  color: boolean;
}

/** A fixture of this folder and how it stands in the cache. */
interface FoundFixture extends TestFile {
  state: FixtureState;
  stored?: StoredFixture;
}

/** `belljar fixture`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function fixtureCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description("Build, list and remove fixtures: machines that were set up once and saved.")
    .action(function () {
      this.showHelp();
    })
    .command("list", listCommand())
    .command("build", buildCommand("build", "Build the fixtures that are missing or stale."))
    .command("rebuild", buildCommand("rebuild", "Build fixtures anew, whatever the cache holds."))
    .command("stale", staleCommand())
    .command("clean", cleanCommand());
}

// deno-lint-ignore no-explicit-any -- see above
function listCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description("Show the fixtures below this folder, or of these paths, and what is built.")
    .arguments("[paths...:file]")
    .option("--json", "As JSON")
    .action(async function (options, ...paths) {
      refuseFlags(paths, this);
      await listFixtures(paths, options);
    });
}

// deno-lint-ignore no-explicit-any -- see above
function buildCommand(verb: "build" | "rebuild", description: string): Command<any> {
  return new Command<GlobalOptions>()
    .description(description)
    .arguments("[paths...:file]")
    .example("Of this folder", `belljar fixture ${verb}`)
    .action(async function (options, ...paths) {
      refuseFlags(paths, this);
      const files = await fixtureFiles(paths);
      const failed = await withMachines(() => buildAll(verb, files, options.quiet === true));
      if (failed > 0) throw new ExitError(1);
    });
}

// deno-lint-ignore no-explicit-any -- see above
function staleCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description("Show the fixtures that would be built at their next use; exit code 1 if any.")
    .arguments("[paths...:file]")
    .action(async function (_options, ...paths) {
      refuseFlags(paths, this);
      const found = (await states(paths)).filter(({ state }) => state !== "built");
      for (const { file, state } of found) print(`${escapeLine(file)}  ${state}\n`);
      if (found.length > 0) throw new ExitError(1);
    });
}

// deno-lint-ignore no-explicit-any -- see above
function cleanCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description("Remove fixtures from the cache: those used longest ago until the rest fits.")
    .option("--cap <size:string>", "Size that the cache may keep", { default: "8G" })
    .option("--all", "All of them")
    .action(async ({ cap, all }) => {
      const capBytes = asUsage(() => bytes(cap, "--cap"));
      const removed = await (await new Fixtures().store()).evict(all ? 0 : capBytes);
      const freed = removed.reduce((sum, { bytes }) => sum + bytes, 0);
      const count = `${removed.length} fixture${removed.length === 1 ? "" : "s"}`;
      print(`removed ${count}, ${showBytes(freed)}\n`);
    });
}

/** Shows the fixtures of this folder, or of these paths, with their state. */
export async function listFixtures(paths: readonly string[], options: ListOptions): Promise<void> {
  const found = await states(paths);
  const sizes = new Map(
    (await (await new Fixtures().store()).list()).map((one) => [one.key, one] as const),
  );
  const entryOf = ({ stored }: FoundFixture): ListedFixture | undefined =>
    stored && sizes.get(stored.key);
  if (options.json) {
    const fixtures = found.map((one) => {
      const entry = entryOf(one);
      const { file, path, state } = one;
      const { image, vm, buildMs, inputs } = one.stored?.record ?? {};
      const stored = entry && { key: entry.key, bytes: entry.bytes, usedAt: entry.usedAt };
      return { file, path, state, image, vm, buildMs, inputs, ...stored };
    });
    return print(`${JSON.stringify({ v: 1, fixtures }, null, 2)}\n`);
  }
  if (found.length === 0) return print(`There are no files named *${FIXTURE_SUFFIX} here\n`);
  const rows = found.map((one) => {
    const entry = entryOf(one);
    return [
      escapeLine(one.file),
      one.state,
      escapeLine(one.stored?.record.image ?? ""),
      entry ? showBytes(entry.bytes) : "",
      one.stored ? `${(one.stored.record.buildMs / 1000).toFixed(1)} s` : "",
      entry ? new Date(entry.usedAt).toISOString().slice(0, 16).replace("T", " ") : "",
    ];
  });
  const head = ["fixture", "state", "image", "size", "built in", "last used"];
  print(table(head, rows, makeStyle(hasColor(options.color))));
}

async function states(paths: readonly string[]): Promise<FoundFixture[]> {
  const files = await fixtureFiles(paths);
  return await withMachines(async () => {
    const fixtures = new Fixtures();
    const found: FoundFixture[] = [];
    for (const file of files) found.push({ ...file, ...await fixtures.state(file.path) });
    return found;
  });
}

async function fixtureFiles(paths: readonly string[]): Promise<TestFile[]> {
  try {
    const files = await discoverFiles(paths, Deno.cwd(), FIXTURE_SUFFIX);
    return await Promise.all(
      files.map(async ({ path, file }) => ({ path: await Deno.realPath(path), file })),
    );
  } catch (error) {
    if (error instanceof NothingFoundError) throw usage(error.message);
    throw error;
  }
}

/** Returns how many could not be built. */
async function buildAll(
  verb: "build" | "rebuild",
  files: readonly TestFile[],
  quiet: boolean,
): Promise<number> {
  const fixtures = new Fixtures();
  let failed = 0;
  setEventSink((kind, { message, text }) => {
    if (kind === "warning") printError(`warning: ${escapeLine(String(message))}\n`);
    if (kind === "log" && !quiet) printError(String(text).split("\n").map(escapeLine).join("\n"));
  });
  for (const { path, file } of files) {
    const began = performance.now();
    try {
      const open = verb === "rebuild" ? fixtures.rebuild({ path }) : fixtures.open({ path });
      const { parts } = await open;
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      print(
        `${escapeLine(file)}: ready in ${seconds} s, ${showBytes(parts.state.size)} of ${
          escapeLine(parts.image)
        }\n`,
      );
    } catch (error) {
      if (!(error instanceof FixtureError)) throw error;
      failed++;
      printError(`${escapeLine(basename(file))}: ${error.message}\n`);
    }
  }
  setEventSink(undefined);
  return failed;
}
