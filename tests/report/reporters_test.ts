import {
  assertEquals,
  assertFalse,
  assertLess,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { isKind, REPORTER_NAMES } from "../../src/report/mod.ts";
import { check, event, HOSTILE, report, sampleRun } from "./_events.ts";

const XSD = decodeURIComponent(new URL("./fixtures/junit.xsd", import.meta.url).pathname);
// deno-lint-ignore no-control-regex -- what must not be in a report
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]/;

async function hasProgram(name: string): Promise<boolean> {
  return await new Deno.Command("sh", { args: ["-c", `command -v ${name}`], stdout: "null" })
    .output()
    .then(({ success }) => success);
}

const hasXmllint = await hasProgram("xmllint");
const hasProve = await hasProgram("prove");

Deno.test("no reporter lets a guest's control sequences through", async (t) => {
  for (const name of REPORTER_NAMES.filter((name) => !["json", "perfetto", "tty"].includes(name))) {
    await t.step(name, async () => {
      const text = await report(name, sampleRun(), { verbose: true });
      assertFalse(CONTROL.test(text.toWellFormed().replaceAll("\ufffd", "")));
    });
  }
});

Deno.test("colours are the reporters' own", async () => {
  const text = await report("plain", sampleRun(), { color: true });
  // deno-lint-ignore no-control-regex -- the sequences of our style
  const rest = text.replace(/\x1b\[(1|2|7|22|27|31|32|33|36|39)m/g, "");
  assertFalse(CONTROL.test(rest.toWellFormed()));
  assertStringIncludes(text, "\x1b[31m");
});

Deno.test("reporters take a stream that ends anywhere", async (t) => {
  const events = sampleRun();
  for (const name of REPORTER_NAMES) {
    await t.step(name, async () => {
      for (let length = 0; length <= events.length; length++) {
        await report(name, events.slice(0, length));
      }
    });
  }
});

Deno.test("plain tells each test on a line and everything about failures", async () => {
  const text = await report("plain", sampleRun());
  assertStringIncludes(text, "ok      tests/a.test.ts > passes (12 ms)");
  assertStringIncludes(text, "flaky   tests/a.test.ts > shaky (12 ms) passed on attempt 2");
  assertStringIncludes(text, "skipped tests/a.test.ts > absent: a<script>");
  for (
    const part of [
      "AssertionError: Values are not equal",
      "at tests/helper.ts:5:3",
      "> 5 |",
      "called from tests/a.test.ts:9:2",
      "caused by",
      "also, closing:",
      `machine "db": run("a<script>`,
      "operations before:",
      "closed for you:",
      `console of "db", last lines of /run/console:`,
      `machine "db": tiny, clone, serial, tcg (a<script>`,
      "stdout| out a<script>",
      "stderr| err a<script>",
      "seed: 42",
      "run again: belljar run tests/a.test.ts --filter ",
      "FAILED tests/b.test.ts  (file crashed, host)",
      "FAILED 1 passed, 2 failed, 1 flaky, 1 skipped, 1 file failed in 2 files, 1.5 s",
    ]
  ) assertStringIncludes(text, part);
});

Deno.test("plain --quiet is silent about what passed", async () => {
  const text = await report("plain", sampleRun(), { quiet: true });
  assertFalse(text.includes("> passes"));
  assertStringIncludes(text, "FAILED tests/a.test.ts > fails");
});

Deno.test({
  name: "junit is valid, well counted and holds hostile text as text",
  ignore: !hasXmllint,
  fn: async () => {
    const text = await report("junit", sampleRun());
    const { code, out } = await check(["xmllint", "--noout", "--schema", XSD], text, ".xml");
    assertEquals(code, 0, out);
    const xpath = async (path: string) =>
      (await check(["xmllint", "--xpath", path], text, ".xml")).out.trim();
    assertEquals(await xpath("string(/testsuites/testsuite[1]/@tests)"), "5");
    assertEquals(await xpath("count(/testsuites/testsuite[1]/testcase)"), "5");
    assertEquals(await xpath("string(/testsuites/@failures)"), "1");
    assertEquals(await xpath("string(/testsuites/@errors)"), "2");
    assertEquals(await xpath("count(//testcase[@name='slow']/error)"), "1");
    assertEquals(await xpath("count(//testcase[@name='shaky']/flakyFailure)"), "1");
    assertEquals(await xpath("string(//testsuite[2]/testcase/@name)"), "(file)");
    assertStringIncludes(
      await xpath("string(//testcase[2]/system-out)"),
      "]]> & \"q\" 'a' \\x1b[31mred",
    );
    assertStringIncludes(await xpath("string(//testcase[2]/system-out)"), "[[ATTACHMENT|/out/x");
    assertStringIncludes(await xpath("string(//property[1]/@value)"), '["a"]');
  },
});

Deno.test({
  name: "tap is accepted by prove, with the same counts",
  ignore: !hasProve,
  fn: async () => {
    const { code, out } = await check(
      ["prove", "--exec", "cat"],
      await report("tap", sampleRun()),
      ".t",
    );
    assertEquals(code, 1);
    assertFalse(out.includes("Parse errors"), out);
    assertStringIncludes(out, "Tests: 6 Failed: 3");
    const passing = sampleRun().filter((one) =>
      !(isKind(one, "test_finished") && one.status === "failed") && one.kind !== "file_finished"
    );
    const good = await check(["prove", "--exec", "cat"], await report("tap", passing), ".t");
    assertEquals([good.code, /Result: PASS/.test(good.out)], [0, true], good.out);
  },
});

Deno.test("json is one object with counts and tests", async () => {
  const { status, counts, tests, files, seed } = JSON.parse(await report("json", sampleRun()));
  assertEquals([status, counts.failed, tests.length, files.length, seed], ["failed", 2, 5, 2, 42]);
  assertEquals(tests[0].test, "passes");
  assertEquals(
    tests[1].error.cause.message,
    HOSTILE.toWellFormed() === HOSTILE ? HOSTILE : tests[1].error.cause.message,
  );
});

Deno.test("github annotates the author's line, on one line each", async () => {
  const text = await report("github", sampleRun());
  const annotations = text.split("\n").filter((line) => line.startsWith("::error"));
  assertEquals(annotations.length, 3);
  assertMatch(
    annotations[0]!,
    /^::error title=[^:]*,file=tests\/helper\.ts,line=5,col=3::Values are not equal/,
  );
  assertStringIncludes(annotations[0]!, "%0A");
  assertStringIncludes(annotations[2]!, "file=tests/b.test.ts,line=1");
});

Deno.test("github writes a summary in which hostile text is text", async () => {
  const path = await Deno.makeTempFile();
  const previous = Deno.env.get("GITHUB_STEP_SUMMARY");
  Deno.env.set("GITHUB_STEP_SUMMARY", path);
  try {
    await report("github", sampleRun());
    const text = await Deno.readTextFile(path);
    assertStringIncludes(text, "| 1 | 2 | 1 | 1 | 2 |");
    assertFalse(text.includes("<script>"));
  } finally {
    if (previous === undefined) Deno.env.delete("GITHUB_STEP_SUMMARY");
    else Deno.env.set("GITHUB_STEP_SUMMARY", previous);
    await Deno.remove(path);
  }
});

Deno.test("dot writes a sign per test and wraps at the width", async () => {
  const tests = Array.from(
    { length: 25 },
    (_, i) =>
      event("test_finished", {
        file: "x",
        test: `${i}`,
        status: "passed",
        meta: {},
        attempt: 1,
        durationMs: 1,
      }),
  );
  assertEquals(
    await report("dot", tests, { columns: 10 }),
    `${".".repeat(10)}\n${".".repeat(10)}\n.....`,
  );
  assertStringIncludes(await report("dot", sampleRun()), ".FFfs\nFAILED tests/a.test.ts");
});

Deno.test("digest stays below 2,000 characters, whatever fails", async () => {
  const failures = Array.from({ length: 500 }, (_, i) =>
    event("test_finished", {
      file: `tests/${"long".repeat(20)}.test.ts`,
      test: `${i} ${"name ".repeat(50)}`,
      status: "failed",
      class: "guest",
      meta: {},
      attempt: 1,
      durationMs: 1,
      error: { name: "Error", message: "m".repeat(5000) },
    }));
  const text = await report("digest", failures);
  assertLess(text.length, 2_000);
  assertMatch(text, /and \d+ more failures\n$/);
  assertStringIncludes(
    await report("digest", sampleRun()),
    "(tests/helper.ts:5:3): [test] Values are not equal",
  );
});

Deno.test("tty leaves failures and the summary, and no live lines", async () => {
  const text = await report("tty", sampleRun(), { columns: 60 });
  // deno-lint-ignore no-control-regex -- the erasing of live lines
  const visible = text.split(/(?:.*\n)?\x1b\[\d+A\x1b\[J/).join("");
  assertStringIncludes(visible, "FAILED tests/a.test.ts > fails");
  assertStringIncludes(text, "FAILED 1 passed, 2 failed");
  assertEquals(text.trimEnd().split("\n").at(-1)?.includes("1.5 s"), true);
});

Deno.test("perfetto writes spans and instants of each file in named lanes", async () => {
  const { traceEvents } = JSON.parse(await report("perfetto", sampleRun()));
  const names = (ph: string) =>
    traceEvents.filter((one: { ph: string }) => one.ph === ph)
      .map(({ name, args }: { name: string; args: { name: string } }) =>
        ph === "M" ? args.name : name
      );
  assertEquals(names("M").slice(0, 3), ["tests/a.test.ts", "output", "tests"]);
  assertEquals(names("X").slice(0, 1), ["passes"]);
  assertEquals(names("X").includes("tests/b.test.ts"), true);
  assertEquals(names("i").length, 3);
  const span = traceEvents.find(({ name }: { name: string }) => name === "passes");
  assertEquals([span.dur, Number.isInteger(span.ts), span.args.status], [12346, true, "passed"]);
});
