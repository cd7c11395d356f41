/** How soon the compiled program runs a first test, and what staging adds. */
import { type Bench, freshDir, output, ROOT } from "./bench.ts";
import { errorText, inTurns, ms, notMeasured, type Row, type RowHead } from "./measure.ts";

const START: RowHead = {
  id: "binary.start",
  measure: "start of the compiled program to its first test",
  target: "< 150 ms",
};
const STAGING: RowHead = {
  id: "binary.staging",
  measure: "staging of 20 files that it has not seen",
  target: "< 300 ms",
};
const FILES = 20;
const NO_PROGRAM =
  "no compiled belljar: set BELLJAR_BIN to one, or DENORT_BIN so that scripts/compile can make one";

/** Rows of `binary`. */
export async function binaryRows(bench: Bench): Promise<Row[]> {
  let program: string | undefined;
  try {
    program = await findBinary(bench);
  } catch (error) {
    return [START, STAGING].map((head) => notMeasured(head, errorText(error)));
  }
  if (program === undefined) return [START, STAGING].map((head) => notMeasured(head, NO_PROGRAM));
  const runs = bench.effort.rounds * 2;
  bench.tell(`${runs} runs each of one file, and of ${FILES} files, new and known`);
  const dir = await freshDir(bench);
  const start = (folder: string) => untilFirstTest(bench, program, folder);
  await Deno.mkdir(`${dir}/one`);
  await project(`${dir}/one`, 1);
  await start(`${dir}/one`);
  let serial = 0;
  let last = "";
  const { one, fresh, known } = await inTurns(runs, {
    one: { times: 1, sample: () => start(`${dir}/one`) },
    fresh: {
      times: 1,
      sample: async () => {
        last = `${dir}/many${++serial}`;
        await Deno.mkdir(last);
        await project(last, FILES);
        return await start(last);
      },
    },
    known: { times: 1, sample: () => start(last) },
  });
  const staging = fresh.p50 - one.p50;
  return [
    {
      ...START,
      result: `${ms(one.p50)} (${ms(one.min)} to ${ms(one.max)})`,
      met: one.p50 < 150,
      values: { ...one },
    },
    {
      ...STAGING,
      result: `${ms(Math.max(0, staging))}; ${ms(Math.max(0, known.p50 - one.p50))} when known`,
      met: staging < 300,
      values: {
        stagingMs: staging,
        knownMs: known.p50 - one.p50,
        freshMs: fresh.p50,
        oneMs: one.p50,
        runs: fresh.runs,
      },
    },
  ];
}

/** The program that is named, or one compiled now. */
async function findBinary(bench: Bench): Promise<string | undefined> {
  const given = Deno.env.get("BELLJAR_BIN");
  if (given) return await Deno.realPath(given);
  if (!Deno.env.get("DENORT_BIN")) return undefined;
  bench.tell("scripts/compile");
  await output(bench, `${ROOT}scripts/compile`, { cwd: ROOT });
  return `${ROOT}dist/belljar`;
}

/** A test file that notes when its test begins, and imports modules of a usual size. */
async function project(dir: string, files: number): Promise<void> {
  // Nobody has staged this before.
  const salt = crypto.randomUUID();
  const names = Array.from({ length: files - 1 }, (_, i) => `module${i}`);
  for (const name of names) {
    const functions = Array.from({ length: 12 }, (_, i) =>
      [
        `/** Part ${i} of ${name}, ${salt}. */`,
        `export function part${i}(values: readonly number[], options: { scale?: number } = {}): number {`,
        `  const { scale = ${i} } = options;`,
        "  return values.reduce((sum, value) => sum + value * scale, 0);",
        "}",
      ].join("\n"));
    await Deno.writeTextFile(`${dir}/${name}.ts`, `${functions.join("\n\n")}\n`);
  }
  const imports = names.map((name, i) => `import { part0 as used${i} } from "./${name}.ts";`);
  await Deno.writeTextFile(
    `${dir}/first.test.ts`,
    `import { test } from "belljar";
${imports.join("\n")}
// ${salt}
test("first", () => {
  const now: number = performance.timeOrigin + performance.now();
  Deno.writeTextFileSync(${JSON.stringify(`${dir}/began`)}, String(now));
  return void [${names.map((_, i) => `used${i}([1])`).join(", ")}];
});
`,
  );
}

/** Milliseconds from the program's start to the first line of its first test. */
async function untilFirstTest(bench: Bench, program: string, dir: string): Promise<number> {
  const started = performance.timeOrigin + performance.now();
  await output(bench, program, { args: ["run", "--quiet", dir], cwd: dir });
  return Number(await Deno.readTextFile(`${dir}/began`)) - started;
}
