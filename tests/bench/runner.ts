/** What the runner adds to a test file and to a test. */
import { type Bench, dependencyFlags, freshDir, output, ROOT } from "./bench.ts";
import { inTurns, ms, type Row, time } from "./measure.ts";

const MANY = 200;
const FILES = 10;

/** Rows of `runner`: cost per file and per test of `belljar run`, against the same under bare `Deno.test`. */
export async function runnerRows(bench: Bench): Promise<Row[]> {
  const dir = await freshDir(bench);
  const own = (name: string, tests: number) =>
    write(`${dir}/own/${name}.test.ts`, `import { test } from "belljar";\n`, "test", tests);
  const bare = (name: string, tests: number) =>
    write(`${dir}/bare/${name}_test.ts`, "", "Deno.test", tests);
  await Deno.mkdir(`${dir}/own`);
  await Deno.mkdir(`${dir}/bare`);
  await own("few", 1);
  await own("many", 1 + MANY);
  await bare("few", 1);
  await bare("many", 1 + MANY);
  const files = Array.from({ length: FILES }, (_, i) => `file${i}`);
  for (const file of files) await own(file, 1);
  const run = (...names: string[]) => ({
    times: 1,
    sample: () => time(() => belljar(bench, names.map((name) => `${dir}/own/${name}.test.ts`))),
  });
  const denoTest = (name: string) => ({
    times: 1,
    sample: () =>
      time(() =>
        output(bench, Deno.execPath(), {
          args: ["test", "-A", "-q", "--no-check", "--no-config", `${dir}/bare/${name}_test.ts`],
        })
      ),
  });
  const contenders = {
    few: run("few"),
    many: run("many"),
    eleven: run("few", ...files),
    bareFew: denoTest("few"),
    bareMany: denoTest("many"),
  };
  await inTurns(1, contenders); // fills caches
  const { rounds } = bench.effort;
  bench.tell(`${rounds} runs each of 1 and ${1 + MANY} tests, and of ${1 + FILES} files`);
  const { few, many, eleven, bareFew, bareMany } = await inTurns(rounds, contenders);
  const perTest = (many.p50 - few.p50) / MANY;
  const barePerTest = (bareMany.p50 - bareFew.p50) / MANY;
  const perFile = (eleven.p50 - few.p50) / FILES;
  return [
    {
      id: "runner.test",
      measure: "per-test cost of the runner on a trivial test, against bare `Deno.test`",
      result: `${ms(Math.max(0, perTest))} against ${ms(Math.max(0, barePerTest))}`,
      target: "≤ 2 ms more",
      met: perTest - barePerTest <= 2,
      values: { perTestMs: perTest, barePerTestMs: barePerTest, runs: few.runs },
    },
    {
      id: "runner.file",
      measure: "per-file cost of the runner (one child process each)",
      result: `${ms(Math.max(0, perFile))}; a run of one file ${ms(few.p50)}`,
      values: { perFileMs: perFile, oneFileMs: few.p50, runs: few.runs },
    },
  ];
}

async function write(path: string, head: string, name: string, tests: number): Promise<void> {
  const lines = Array.from({ length: tests }, (_, i) => `${name}("t${i}", () => {});`);
  await Deno.writeTextFile(path, `${head}${lines.join("\n")}\n`);
}

async function belljar(bench: Bench, paths: string[]): Promise<void> {
  const args = ["run", "-A", "-q", ...dependencyFlags(), "main.ts", "run", ...paths];
  await output(bench, Deno.execPath(), { args, cwd: ROOT });
}
