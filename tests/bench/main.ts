/**
 * Measures what the design and the README promise, as ratios within one run, and prints a Markdown table.
 *
 * @module
 */
import { deadline } from "@std/async";
import { parseArgs } from "@std/cli/parse-args";
import { closeCurrentRun } from "../../src/host/mod.ts";
import { hostRun, vmmFor } from "../../src/vmm/mod.ts";
import { resolveImage } from "../../src/image/mod.ts";
import { type Bench, FULL, type Group, QUICK } from "./bench.ts";
import { GROUPS } from "./groups.ts";
import { errorText, type Row } from "./measure.ts";
import { describeHost, load, markdown, type Report } from "./report.ts";

const HELP =
  `Measures belljar on this machine, as ratios within one run, and prints a Markdown table.

  scripts/bench [options] [group]...

Groups (all by default):
${GROUPS.map(({ name, what }) => `  ${name.padEnd(12)}${what}`).join("\n")}

Options:
  --quick       measure less often
  --json FILE   keep the numbers, with the machine's description; written after each group
  --kills N     how many kills the group "kills" makes (default ${FULL.kills}, with --quick ${QUICK.kills})
  --check       status 1 if a target is missed
  -h, --help    this text

Progress goes to standard error. The group "binary" needs a compiled belljar: BELLJAR_BIN names one, or DENORT_BIN
lets it be compiled. Peers come from the distribution's packages. What cannot be measured says why.`;

interface Options {
  groups: readonly Group[];
  effort: Bench["effort"];
  quick: boolean;
  json?: string;
  check: boolean;
}

/** A group that takes longer than this hangs. */
const GROUP_LIMIT_MS = 40 * 60_000;

/** Set by a signal; ends the process. */
let interrupted: Promise<never> | undefined;

class UsageError extends Error {}

function readOptions(args: string[]): Options | "help" {
  const flags = parseArgs(args, {
    boolean: ["quick", "help", "check"],
    string: ["json", "kills"],
    alias: { h: "help" },
    unknown: (name) => {
      if (name.startsWith("-")) {
        throw new UsageError(`unknown option "${name}": see scripts/bench --help`);
      }
    },
  });
  if (flags.help) return "help";
  if (flags.json === "") throw new UsageError("--json needs the name of a file");
  const names = flags._.map(String);
  const known = GROUPS.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`unknown group "${unknown}": expected some of ${known.join(", ")}`);
  }
  const kills = flags.kills === undefined ? undefined : Number(flags.kills);
  if (kills !== undefined && !(Number.isInteger(kills) && kills > 0)) {
    throw new UsageError(`--kills is "${flags.kills}": expected a whole number above 0`);
  }
  return {
    groups: GROUPS.filter(({ name }) => names.length === 0 || names.includes(name)),
    effort: { ...flags.quick ? QUICK : FULL, ...kills === undefined ? {} : { kills } },
    quick: flags.quick,
    ...flags.json === undefined ? {} : { json: flags.json },
    check: flags.check,
  };
}

/**
 * Measures the groups one after the other, and keeps the numbers after each. One that fails costs only its own rows, and is
 * told in a row.
 */
async function measure({ groups, effort, quick, json }: Options): Promise<Report> {
  const run = await hostRun();
  const dir = `${run.dir}/b`;
  await Deno.mkdir(dir, { mode: 0o700 });
  const bench: Bench = { effort, run, dir, tell: (text) => progress(`    ${text}`) };
  const started = new Date();
  const before = await describeHost();
  progress("==> set-up: image and accelerator");
  const accelerator = await firstMachine();
  const rows: Row[] = [];
  const report = (): Report => ({
    version: 1,
    startedAt: started.toISOString(),
    seconds: (Date.now() - started.getTime()) / 1000,
    quick,
    host: { ...before, ...accelerator, loadAfter: load() },
    rows,
  });
  for (const { name, what, measure } of groups) {
    progress(`==> ${name}: ${what}`);
    const began = performance.now();
    try {
      rows.push(...await deadline(measure(bench), GROUP_LIMIT_MS));
    } catch (error) {
      if (interrupted) await interrupted; // does not return
      progress(error instanceof Error ? error.stack ?? error.message : String(error));
      rows.push({
        id: name,
        measure: what,
        result: `failed: ${errorText(error)}`,
        notMeasured: errorText(error),
        values: {},
      });
    }
    progress(`    done in ${((performance.now() - began) / 1000).toFixed(0)} s: ${name}`);
    if (json) await Deno.writeTextFile(json, `${JSON.stringify(report(), undefined, 2)}\n`);
  }
  return report();
}

/** Has everything built that the first machine of a host needs, and finds out how machines run here. */
async function firstMachine(): Promise<{ accelerator: string; acceleratorWhy: string }> {
  const image = await resolveImage("tiny");
  const vmm = await vmmFor();
  const spec = { name: "bench-first", image, memoryBytes: 256 * 1024 ** 2, cpus: 1 };
  await using machine = await vmm.launch(spec);
  return { accelerator: machine.info.accel.toUpperCase(), acceleratorWhy: machine.info.accelWhy };
}

/** Ends everything at Ctrl-C: what was started belongs to the run, and ends with it. */
function endOnSignals(): void {
  // What is measured fails by the end of its machines; nobody is left to be told.
  globalThis.addEventListener("unhandledrejection", (event) => {
    if (interrupted) event.preventDefault();
  });
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    Deno.addSignalListener(signal, () => {
      if (interrupted) return;
      progress(`${signal}: ending what was started`);
      interrupted = closeCurrentRun().catch((error) => progress(errorText(error)))
        .then(() => Deno.exit(code));
    });
  }
}

function progress(text: string): void {
  // deno-lint-ignore no-console -- for whoever waits
  console.error(text);
}

function print(text: string): void {
  // deno-lint-ignore no-console -- its output is its result
  console.log(text);
}

async function main(): Promise<number> {
  let options: Options | "help";
  try {
    options = readOptions(Deno.args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    progress(`error: ${error.message}`);
    return 2;
  }
  if (options === "help") {
    print(HELP);
    return 0;
  }
  endOnSignals();
  try {
    const report = await measure(options);
    print(markdown(report));
    return options.check && report.rows.some(({ met }) => met === false) ? 1 : 0;
  } finally {
    if (interrupted) await interrupted;
    await closeCurrentRun();
  }
}

if (import.meta.main) Deno.exit(await main());
