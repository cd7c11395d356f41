import { Command, EnumType } from "@cliffy/command";
import { resolve } from "node:path";
import type { Reporter } from "../report/mod.ts";
import {
  ChangedError,
  changedFiles,
  changedPaths,
  discoverFiles,
  NothingFoundError,
  readShard,
  readTimings,
  type RunTestsOptions,
  type Shard,
  ShardError,
  shardOf,
  type TestFile,
  TestRun,
  TimingsError,
} from "../runner/mod.ts";
import { bytes, milliseconds } from "../values/mod.ts";
import { withDefaults } from "./_defaults.ts";
import { asUsage, ExitError, refuseFlags, usage } from "./_errors.ts";
import { setMachineDefaults } from "./_machine.ts";
import { onSignals } from "./_signals.ts";
import { makeReporters } from "./_reporters.ts";
import { selectionOf } from "./_selection.ts";
import { printError } from "./_terminal.ts";

/** Options that every command has. */
export interface GlobalOptions extends Record<string, unknown> {
  color: boolean;
  quiet?: true;
}

/** `belljar run`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function runCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description("Run tests: of files, folders or globs; of this folder if none is given.")
    .arguments("[paths...:file]")
    .type("accel", new EnumType(["auto", "kvm", "tcg"]))
    .type("transport", new EnumType(["auto", "vsock", "serial"]))
    .type("vmm", new EnumType(["qemu", "local"]))
    .type("standby", new EnumType(["auto", "always", "never"]))
    .group("Which tests")
    .option("--filter <text:string>", "Names that contain the text, or match the /pattern/")
    .option("--tag <tag:string>", "Tests with this tag; repeat for others", { collect: true })
    .option("--skip-tag <tag:string>", "No tests with this tag (also --no-tag)", { collect: true })
    .option("--meta <pair:string>", "Tests with KEY=VALUE in their meta data", { collect: true })
    .option("--skip-meta <pair:string>", "No tests with KEY=VALUE (also --no-meta)", {
      collect: true,
    })
    .option("--include-slow", "Slow tests too")
    .option("--rerun-failed", "What failed in the last runs of this folder")
    .option("--since <ref:string>", "Files that import something that changed since a git ref")
    .option("--changed", "Files that import something that is not committed", {
      conflicts: ["since"],
    })
    .option("--shard <part:string>", "One part of several, such as 1/3")
    .option("--timings <file:file>", "Times for shards, made by belljar report --timings")
    .option("--allow-empty", "It is fine if no test is chosen")
    .group("How they run")
    .option("-j, --jobs <n:integer>", "Files at the same time (default: one per core)")
    .option(
      "--memory <size:string>",
      "Memory of all machines together (default: 80 % of the host's)",
    )
    .option("--cpus <n:integer>", "Processors of all machines together")
    .option(
      "--cpu-overcommit <x:number>",
      "Processors of machines per one of the host (default: 8)",
    )
    .option("--timeout <duration:string>", "Limit of tests that name none")
    .option("--retries <n:integer>", "Run failed tests again, this often")
    .option("--repeat <n:integer>", "Run each test this often")
    .option("--shuffle [seed:integer]", "Files and tests in random order")
    .option("--seed <n:integer>", "Seed of everything random")
    .option("--fail-fast", "Stop at the first failed test")
    .option("--bail <n:integer>", "Stop after this many failed tests")
    .option("--strict", "Tests that leave something open fail")
    .option("--require-all", "Skipped tests fail the run")
    .group("Machines")
    .option("--accel <mode:accel>", "auto, kvm or tcg")
    .option("--transport <mode:transport>", "auto, vsock or serial")
    .option("--vmm <name:vmm>", "qemu or local")
    .option("--cold", "Boot machines instead of cloning them")
    .option(
      "--standby <when:standby>",
      "auto, always or never: prepare machines while tests run (auto: on idle processors)",
    )
    .group("Reports")
    .option(
      "--reporter <name:string>",
      "tty, plain, dot, junit, html, tap, json, github, perfetto, digest; NAME=FILE",
      {
        collect: true,
      },
    )
    .option("--events <file:file>", "Write all events as JSON lines")
    .option("--artifacts <folder:file>", "Keep attachments below this folder")
    .option("-v, --verbose", "Show output of passed tests too")
    .example("All tests below this folder", "belljar run")
    .example("One test", `belljar run tests/net.test.ts --filter "two hosts"`)
    .example("For CI", "belljar run --reporter junit=out/junit.xml --events out/events.jsonl")
    .example("What failed last time", "belljar run --rerun-failed")
    .action(async function (given, ...paths) {
      refuseFlags(paths, this);
      const cwd = Deno.cwd();
      const options = await withDefaults(given, cwd);
      setMachineDefaults(options);
      const ref = options.since ?? (options.changed ? "HEAD" : undefined);
      const files = await changedSince(ref, await findFiles(paths, cwd), cwd);
      const reporters = makeReporters({
        reporter: options.reporter,
        color: options.color,
        verbose: options.verbose,
        quiet: options.quiet,
        cwd,
      });
      const timings = options.timings === undefined
        ? undefined
        : await timingsFrom(options.timings);
      await runAndExit({ ...settingsOf(options), timings, files, cwd, reporters });
    });
}

/** Runs tests under the command line's rules for Ctrl-C, and ends with the run's exit code. */
async function runAndExit(options: RunTestsOptions): Promise<void> {
  if (options.files.length === 0 && !options.allowEmpty) {
    throw usage(
      "There are no test files here, or none is affected: expected files named *.test.ts (see --allow-empty)",
    );
  }
  const run = new TestRun(options);
  using _signals = onSignals({
    first: () => run.interrupt(),
    second: () => run.kill(),
  });
  const { exitCode } = await run.run();
  if (exitCode === 2) {
    printError("belljar: no test was chosen (see --filter, --tag, --allow-empty)\n");
  }
  if (exitCode !== 0) throw new ExitError(exitCode);
}

/** Finds test files; a path that leads to none is wrong use. */
export async function findFiles(paths: readonly string[], cwd: string): Promise<TestFile[]> {
  try {
    return await discoverFiles(paths, cwd);
  } catch (error) {
    if (error instanceof NothingFoundError) throw usage(error.message);
    throw error;
  }
}

/** The files that are affected by what changed; all of them if nobody asks. */
async function changedSince(
  ref: string | undefined,
  files: TestFile[],
  cwd: string,
): Promise<TestFile[]> {
  if (ref === undefined) return files;
  try {
    return await changedFiles(files, await changedPaths(cwd, ref));
  } catch (error) {
    if (error instanceof ChangedError) throw usage(error.message);
    throw error;
  }
}

async function timingsFrom(path: string): Promise<Record<string, number>> {
  try {
    return await readTimings(path);
  } catch (error) {
    if (error instanceof TimingsError) throw usage(error.message);
    throw error;
  }
}

interface RunOptions {
  filter?: string;
  tag?: string[];
  skipTag?: string[];
  meta?: string[];
  skipMeta?: string[];
  includeSlow?: true;
  rerunFailed?: true;
  shard?: string;
  allowEmpty?: true;
  jobs?: number;
  memory?: string;
  cpus?: number;
  cpuOvercommit?: number;
  timeout?: string;
  retries?: number;
  repeat?: number;
  shuffle?: number | true;
  seed?: number;
  failFast?: true;
  bail?: number;
  strict?: true;
  requireAll?: true;
  events?: string;
  artifacts?: string;
}

type Settings = Omit<RunTestsOptions, "files" | "cwd" | "reporters"> & { reporters?: Reporter[] };

function settingsOf(options: RunOptions): Settings {
  const { memory, timeout, shuffle, retries, repeat, failFast, events, artifacts } = options;
  const seed = options.seed ?? (typeof shuffle === "number" ? shuffle : undefined);
  return {
    jobs: atLeast(1, "jobs", options.jobs),
    memoryBytes: memory === undefined ? undefined : asUsage(() => bytes(memory, "--memory")),
    cpus: atLeast(1, "cpus", options.cpus),
    cpuOvercommit: atLeast(0.1, "cpu-overcommit", options.cpuOvercommit),
    file: {
      selection: selectionOf(options),
      timeoutMs: timeout === undefined ? undefined : readTimeout(timeout),
      retries: atLeast(0, "retries", retries),
      repeat: atLeast(1, "repeat", repeat),
    },
    bail: failFast ? 1 : atLeast(1, "bail", options.bail),
    shard: readShardOption(options.shard),
    rerunFailed: options.rerunFailed,
    shuffle: shuffle !== undefined,
    seed: atLeast(0, "seed", seed),
    strict: options.strict,
    requireAll: options.requireAll,
    allowEmpty: options.allowEmpty,
    events: events === undefined ? undefined : resolve(events),
    artifacts: artifacts === undefined ? undefined : resolve(artifacts),
  };
}

function readTimeout(text: string): number {
  return asUsage(() =>
    milliseconds(/^\d+(\.\d+)?$/.test(text) ? Number(text) : text, { name: "--timeout" })
  );
}

function atLeast(least: number, name: string, value: number | undefined): number | undefined {
  if (value !== undefined && value < least) {
    throw usage(`Option --${name} must be ${least} or more, got ${value}`);
  }
  return value;
}

function readShardOption(text: string | undefined): Shard | undefined {
  try {
    return text === undefined ? shardOf((name) => Deno.env.get(name)) : readShard(text);
  } catch (error) {
    if (error instanceof ShardError) throw usage(error.message);
    throw error;
  }
}
