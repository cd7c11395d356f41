/** What the runner adds to a test file and to a test. */
import { figures, ms, type Row } from "./measure.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Cost per file and per test of `belljar run`, against the same files under bare `Deno.test`. */
export async function runnerCost(runs: number): Promise<Row[]> {
  const dir = await Deno.makeTempDir({ prefix: "bj-bench-" });
  try {
    const own = (name: string, tests: number) =>
      write(`${dir}/own/${name}.test.ts`, `import { test } from "belljar";\n`, "test", tests);
    const bare = (name: string, tests: number) =>
      write(`${dir}/bare/${name}_test.ts`, "", "Deno.test", tests);
    await Deno.mkdir(`${dir}/own`);
    await Deno.mkdir(`${dir}/bare`);
    await own("few", 1);
    await own("many", 201);
    await bare("few", 1);
    await bare("many", 201);
    for (let i = 0; i < 10; i++) await own(`file${i}`, 1);
    const few = await time(runs, belljar(`${dir}/own/few.test.ts`));
    const many = await time(runs, belljar(`${dir}/own/many.test.ts`));
    const eleven = await time(
      runs,
      belljar(
        ...Array.from({ length: 10 }, (_, i) => `${dir}/own/file${i}.test.ts`),
        `${dir}/own/few.test.ts`,
      ),
    );
    const bareFew = await time(runs, denoTest(`${dir}/bare/few_test.ts`));
    const bareMany = await time(runs, denoTest(`${dir}/bare/many_test.ts`));
    const perTest = (many - few) / 200;
    const barePerTest = (bareMany - bareFew) / 200;
    const perFile = (eleven - few) / 10;
    const extra = perTest - barePerTest;
    return [
      {
        measure: "per-test cost of the runner on a trivial test, against bare `Deno.test`",
        result: `${ms(perTest)} against ${ms(Math.max(0, barePerTest))}`,
        target: "≤ 2 ms more",
        met: extra <= 2,
        values: { perTestMs: perTest, barePerTestMs: barePerTest },
      },
      {
        measure: "per-file cost of the runner (one child process each)",
        result: ms(perFile),
        values: { perFileMs: perFile, oneFileMs: few },
      },
    ];
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function write(path: string, head: string, name: string, tests: number): Promise<void> {
  const lines = Array.from({ length: tests }, (_, i) => `${name}("t${i}", () => {});`);
  await Deno.writeTextFile(path, `${head}${lines.join("\n")}\n`);
}

function belljar(...paths: string[]): Deno.Command {
  const bin = Deno.env.get("BELLJAR_BIN");
  if (bin) return new Deno.Command(bin, { args: ["run", ...paths], stdout: "null" });
  return deno(["run", "-A", "-q", ...dependencyFlags(), "main.ts", "run", ...paths]);
}

function denoTest(path: string): Deno.Command {
  return deno(["test", "-A", "-q", "--no-check", "--no-config", path]);
}

function deno(args: string[]): Deno.Command {
  return new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdout: "null" });
}

/** The flags that this process was started with, so that its children find the same packages. */
function dependencyFlags(): string[] {
  return (Deno.env.get("BELLJAR_BENCH_DEPS") ?? "").split(" ").filter((flag) => flag !== "");
}

async function time(runs: number, command: Deno.Command): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i <= runs; i++) {
    const started = performance.now();
    const { success, stderr } = await command.output();
    if (!success) throw new Error(`a measured run failed:\n${new TextDecoder().decode(stderr)}`);
    if (i > 0) samples.push(performance.now() - started); // The first one fills caches.
  }
  return figures(samples).p50;
}
