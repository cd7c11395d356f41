/**
 * Measures what design and README promise, as ratios within one run, and prints a Markdown table. `--json FILE` keeps the
 * numbers, `--quick` measures less often, words choose groups: machines, talk, commands, memory, runner.
 *
 * @module
 */
import { parseArgs } from "@std/cli";
import { markdownTable, type Row } from "./measure.ts";
import { commands, conversation, type Effort, memory, startUp } from "./machines.ts";
import { runnerCost } from "./runner.ts";

const FULL: Effort = {
  boots: 5,
  clones: 20,
  pings: 5_000,
  runs: 200,
  bulkBytes: 256 * 1024 * 1024,
};
const QUICK: Effort = { boots: 2, clones: 8, pings: 1_000, runs: 50, bulkBytes: 64 * 1024 * 1024 };

if (import.meta.main) {
  const flags = parseArgs(Deno.args, { boolean: ["quick"], string: ["json"] });
  const effort = flags.quick ? QUICK : FULL;
  const groups: Record<string, () => Promise<Row[]>> = {
    machines: () => startUp(effort),
    talk: () => conversation(effort),
    commands: () => commands(effort),
    memory: () => memory(),
    runner: () => runnerCost(flags.quick ? 3 : 7),
  };
  const chosen = flags._.length > 0 ? flags._.map(String) : Object.keys(groups);
  const unknown = chosen.find((name) => !Object.hasOwn(groups, name));
  if (unknown !== undefined) {
    throw new RangeError(`Unknown group "${unknown}": expected ${Object.keys(groups).join(", ")}`);
  }
  const rows: Row[] = [];
  for (const name of chosen) {
    progress(`measuring ${name} …`);
    const started = performance.now();
    rows.push(...await groups[name]!());
    progress(`measured ${name} in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  }
  const host = await describeHost();
  print(`${host}\n\n${markdownTable(rows)}`);
  if (flags.json) {
    await Deno.writeTextFile(flags.json, JSON.stringify({ host, rows }, undefined, 2) + "\n");
  }
  Deno.exit(rows.every((row) => row.met !== false) ? 0 : 1);
}

async function describeHost(): Promise<string> {
  const cpu = /^model name\s*: (.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1];
  const output = await new Deno.Command("qemu-system-x86_64", { args: ["--version"] }).output();
  const qemu = /version (\S+)/.exec(new TextDecoder().decode(output.stdout))?.[1];
  const memoryGiB = Math.round(Deno.systemMemoryInfo().total / 1024 ** 3);
  return `${navigator.hardwareConcurrency} cores of ${cpu}, ${memoryGiB} GiB, Linux ${Deno.osRelease()}, ` +
    `QEMU ${qemu}, Deno ${Deno.version.deno}`;
}

function progress(text: string): void {
  // deno-lint-ignore no-console -- its output is its result
  console.error(text);
}

function print(text: string): void {
  // deno-lint-ignore no-console -- its output is its result
  console.log(text);
}
