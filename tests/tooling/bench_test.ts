import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { GROUPS } from "../bench/groups.ts";
import { errorText, figures, inTurns, ms, notMeasured } from "../bench/measure.ts";
import { markdownTable } from "../bench/report.ts";
import { HostError } from "../../src/errors.ts";
import { DENO_FLAGS } from "../runner/_belljar.ts";

async function bench(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const entry = new URL("../bench/main.ts", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-check", ...DENO_FLAGS, entry, ...args],
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

Deno.test("bench --help names every group and option", async () => {
  const { code, out } = await bench("--help");
  assertEquals(code, 0);
  for (const { name, what } of GROUPS) assertMatch(out, new RegExp(`^  ${name} +${what}$`, "m"));
  for (const option of ["--quick", "--json", "--kills", "--check"]) {
    assertStringIncludes(out, option);
  }
});

Deno.test("bench refuses what it does not know before it measures anything", async (t) => {
  const rows: [string[], string][] = [
    [["--quik"], 'error: unknown option "--quik": see scripts/bench --help'],
    [["pings"], 'error: unknown group "pings": expected some of boot, '],
    [["--kills", "none", "kills"], 'error: --kills is "none": expected a whole number above 0'],
  ];
  for (const [args, expected] of rows) {
    await t.step(args.join(" "), async () => {
      const { code, out, err } = await bench(...args);
      assertEquals([code, out], [2, ""]);
      assertStringIncludes(err, expected);
    });
  }
});

Deno.test("inTurns() takes samples in rounds, so that load weighs on all alike", async () => {
  const order: string[] = [];
  const contender = (name: string, times: number) => ({
    times,
    sample: () => Promise.resolve(order.push(name)),
  });
  const found = await inTurns(2, { a: contender("a", 1), b: contender("b", 2) });
  assertEquals(order.join(""), "abbabb");
  assertEquals([found.a.runs, found.b.runs], [2, 4]);
});

Deno.test("figures() sorts by value, not by digits", () => {
  assertEquals(figures([10, 9, 100]), { runs: 3, min: 9, p50: 10, p99: 100, max: 100 });
});

Deno.test("markdownTable() says whether a target is met, and why there are no figures", () => {
  const head = { id: "x", measure: "one | two", target: "≥ 2 ×" };
  const lines = markdownTable([
    { ...head, result: "3 ×", met: true, values: {} },
    { ...head, result: "1 ×", met: false, values: {} },
    notMeasured(head, "no\nport"),
  ]).split("\n");
  assertEquals(lines.slice(2), [
    "| one \\| two | 3 × | ≥ 2 × | met |",
    "| one \\| two | 1 × | ≥ 2 × | **missed** |",
    "| one \\| two | not measured: no port | ≥ 2 × |  |",
  ]);
});

Deno.test("errorText() keeps what was found", () => {
  const error = new HostError("Cannot start it", { actual: "it is gone", next: "look" });
  assertEquals(errorText(error), "Cannot start it (it is gone)");
});

Deno.test("ms() chooses the unit", () => {
  assertEquals([0.0312, 12.345, 999.6, 1500].map(ms), ["31 µs", "12.3 ms", "1000 ms", "1.5 s"]);
});
