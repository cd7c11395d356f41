/** What is left of harnesses that are killed at random moments. */
import { type Bench, dependencyFlags, output, ROOT } from "./bench.ts";
import { ms, type Row } from "./measure.ts";

/** Rows of `kills`: runs the kill suite, which fails by what is left. */
export async function killsRows(bench: Bench): Promise<Row[]> {
  const { kills } = bench.effort;
  const seed = crypto.getRandomValues(new Uint16Array(1))[0]!;
  bench.tell(`${kills} kills, BELLJAR_SEED=${seed}`);
  const args = ["test", "-A", "--no-check", ...dependencyFlags()];
  const text = await output(bench, Deno.execPath(), {
    args: [...args, "tests/vm/kill_suite_test.ts"],
    cwd: ROOT,
    env: { BELLJAR_KILLS: String(kills), BELLJAR_SEED: String(seed), NO_COLOR: "1" },
  });
  const found = /(\d+) kills, (\d+) of them late: (\d+) leftovers, all gone within (\d+) ms/.exec(
    text,
  );
  if (!found) throw new Error(`the kill suite does not tell its figures:\n${text}`);
  const [done, late, left, longestMs] = found.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
  ];
  return [{
    id: "kills",
    measure: `${done} random kills of a harness: processes, sockets, locks, directories left`,
    result: `${left}; all gone within ${ms(longestMs)} (seed ${seed})`,
    target: "0 (of 1,000)",
    met: left === 0,
    values: { kills: done, late, left, longestMs, seed },
  }];
}
