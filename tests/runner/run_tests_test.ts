import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { makeProject, ofKind, outcomes } from "./_belljar.ts";

const PASSING = `import { test } from "belljar"; test("passes", (t) => t.assert(true));`;

Deno.test("belljar run runs files, folders and globs, and exits 0 when all pass", async (t) => {
  await using project = await makeProject({
    "a.test.ts": PASSING,
    "sub/b.test.ts": PASSING,
    "sub/deep/c.test.ts": PASSING,
    "sub/other.ts": PASSING,
    "node_modules/x.test.ts": PASSING,
    ".hidden/y.test.ts": PASSING,
  });
  const rows: [string[], string[]][] = [
    [[], ["a.test.ts", "sub/b.test.ts", "sub/deep/c.test.ts"]],
    [["sub"], ["sub/b.test.ts", "sub/deep/c.test.ts"]],
    [["sub/other.ts", "a.test.ts"], ["a.test.ts", "sub/other.ts"]],
    [["sub/*.test.ts"], ["sub/b.test.ts"]],
    [["**/{a,c}.test.ts"], ["a.test.ts", "sub/deep/c.test.ts"]],
    [["./a.test.ts", "a.test.ts"], ["a.test.ts"]],
  ];
  for (const [args, files] of rows) {
    await t.step(args.join(" ") || "(nothing)", async () => {
      const { code, events } = await project.run(args);
      assertEquals(outcomes(events), files.map((file) => `${file} > passes: passed`));
      assertEquals(code, 0);
    });
  }
});

Deno.test("belljar run shows the author's line in an imported helper, and so does deno test", async () => {
  await using project = await makeProject({
    "lib/helper.ts": `import type { TestContext } from "belljar";

interface Sum { a: number; b: number }
export function checkSum(t: TestContext, sum: Sum, expected: number): void {
  // A comment, and types that are stripped.
  t.assertEquals(sum.a + sum.b, expected);
}
`,
    "sum.test.ts": `import { test } from "belljar";
import { checkSum } from "./lib/helper.ts";

test("adds", (t) => {
  checkSum(t, { a: 1, b: 2 }, 4);
});
`,
  });
  const { code, out, events } = await project.run();
  assertEquals(code, 1);
  assertStringIncludes(out, "at lib/helper.ts:6:5");
  assertStringIncludes(out, "called from sum.test.ts:5:3");
  assertStringIncludes(out, "> 6 |   t.assertEquals(sum.a + sum.b, expected);");
  const { error } = ofKind(events, "test_finished")[0] as { error: { frames: unknown[] } };
  assertEquals(error.frames, [
    { file: project.path("lib/helper.ts"), line: 6, column: 5 },
    { file: project.path("sum.test.ts"), line: 5, column: 3 },
  ]);
  const deno = await project.denoTest(["sum.test.ts"]);
  assertEquals(deno.code, 1);
  assertStringIncludes(deno.out, "lib/helper.ts:6:5");
});

Deno.test("a file that exits, crashes, blocks, is killed or does not load costs only itself", async () => {
  await using project = await makeProject({
    "good.test.ts": PASSING,
    "exits.test.ts": `import { test } from "belljar";
      test("before", () => {});
      test("exits", () => Deno.exit(7));
      test("after", () => {});`,
    "rejects.test.ts": `import { test } from "belljar";
      test("rejects", async () => {
        Promise.reject(new Error("nobody catches this"));
        await new Promise((resolve) => setTimeout(resolve, 60_000));
      });
      test("next", () => {});`,
    "blocks.test.ts": `import { test } from "belljar";
      test("blocks", { timeout: "500ms" }, () => { for (;;); });`,
    "killed.test.ts": `import { test } from "belljar";
      test("killed", async () => {
        Deno.kill(Deno.pid, "SIGKILL");
        await new Promise(() => {});
      });`,
    "syntax.test.ts": 'import { test } from "belljar";\ntest("x", () => {\n',
    "throws.test.ts": 'throw new Error("at the top level");',
  });
  const { code, events, out } = await project.run();
  assertEquals(code, 1);
  assertEquals(outcomes(events), [
    "blocks.test.ts > blocks: failed (timeout)",
    "exits.test.ts > after: skipped",
    "exits.test.ts > before: passed",
    "exits.test.ts > exits: failed (test)",
    "good.test.ts > passes: passed",
    "killed.test.ts > killed: failed (host)",
    "rejects.test.ts > next: passed",
    "rejects.test.ts > rejects: failed (test)",
  ]);
  const files = Object.fromEntries(
    ofKind(events, "file_finished").map(({ file, status, reason }) => [file, [status, reason]]),
  );
  assertEquals(files["good.test.ts"], ["passed", undefined]);
  assertEquals(files["exits.test.ts"], [
    "crashed",
    `its process ended with exit code 7 while test "exits" ran`,
  ]);
  assertEquals(files["killed.test.ts"], [
    "crashed",
    `killed by SIGKILL while test "killed" ran, not by belljar`,
  ]);
  assertEquals(files["blocks.test.ts"]?.[0], "timeout");
  assertStringIncludes(
    String(files["blocks.test.ts"]?.[1]),
    `its event loop was blocked in test "blocks"`,
  );
  assertEquals(files["syntax.test.ts"], ["failed", "the file cannot be loaded"]);
  assertEquals(files["throws.test.ts"], ["failed", "the file cannot be loaded"]);
  assertStringIncludes(out, "at the top level");
  assertStringIncludes(out, "nobody catches this");
});

Deno.test("belljar run exits by what went wrong", async (t) => {
  await using project = await makeProject({
    "pass.test.ts": PASSING,
    "fail.test.ts": `import { test } from "belljar"; test("fails", (t) => t.fail("no"));`,
    "host.test.ts": `import { HostError, test } from "belljar";
      test("host", () => { throw new HostError("Cannot find QEMU"); });`,
    "skip.test.ts": `import { test } from "belljar"; test.skip("skipped", () => {});`,
    "killed.test.ts": `import { test } from "belljar";
      test("killed", async () => { Deno.kill(Deno.pid, "SIGKILL"); await new Promise(() => {}); });`,
    "flaky.test.ts": `import { test } from "belljar"; let n = 0;
      test("flaky", { retries: 1 }, (t) => { if (n++ === 0) t.fail("first"); });`,
    "leak.test.ts": `import { test } from "belljar";
      test("defers", (t) => { t.defer(() => { throw new Error("closing"); }); });`,
    "empty.test.ts": "export {};",
  });
  const rows: [number, string[]][] = [
    [0, ["pass.test.ts"]],
    [0, ["skip.test.ts"]],
    [0, ["flaky.test.ts"]],
    [1, ["fail.test.ts", "pass.test.ts"]],
    [1, ["fail.test.ts", "host.test.ts"]],
    [1, ["skip.test.ts", "--require-all"]],
    [1, ["leak.test.ts"]],
    [2, ["nothing.test.ts"]],
    [2, ["pass.test.ts", "--filter", "no such test"]],
    [0, ["pass.test.ts", "--filter", "no such test", "--allow-empty"]],
    [2, ["empty.test.ts"]],
    [2, ["pass.test.ts", "--filtr", "x"]],
    [2, ["pass.test.ts", "--timeout", "5 s"]],
    [2, ["pass.test.ts", "--filter", "/(/"]],
    [2, ["pass.test.ts", "--reporter", "jnuit"]],
    [2, ["pass.test.ts", "--shard", "4/3"]],
    [2, ["pass.test.ts", "-j", "0"]],
    [3, ["host.test.ts", "pass.test.ts"]],
    [3, ["killed.test.ts"]],
  ];
  for (const [expected, args] of rows) {
    await t.step(`${expected}: ${args.join(" ")}`, async () => {
      const { code, out, err } = await project.run(args);
      assertEquals(code, expected, out + err);
    });
  }
});

Deno.test("belljar run says what is wrong with its arguments, with the nearest right one", async (t) => {
  await using project = await makeProject({ "pass.test.ts": PASSING });
  const rows: [string[], string][] = [
    [["run", "--filtr", "x"], `"--filter"`],
    [["run", "pas.test.ts"], `did you mean "pass.test.ts"?`],
    [["lits"], `did you mean the command "list"?`],
    [["run", "--reporter", "jnuit"], `did you mean "junit"?`],
    [["run", "--timeout", "5x"], `Cannot use "5x" as --timeout`],
    [["run", "--reporter", "tap", "--reporter", "json"], "cannot both write to standard output"],
    [["run", "--accel", "hvm"], "kvm"],
  ];
  for (const [args, text] of rows) {
    await t.step(args.join(" "), async () => {
      const { code, err } = await project.belljar(args);
      assertEquals(code, 2);
      assertStringIncludes(err, text);
    });
  }
});

Deno.test("output of tests is kept apart and shown with the failure", async () => {
  await using project = await makeProject({
    "out.test.ts": `import { test } from "belljar";
      console.log("at load");
      test("a", async (t) => {
        console.log("from a\\x1b[31m");
        console.error("error of a");
        await new Deno.Command("sh", { args: ["-c", "printf 'no newline'"], stdout: "inherit" }).output();
        t.log("logged", { by: "a" });
        t.fail("a fails");
      });
      test("b", () => console.log("from b"));`,
  });
  const { events, out } = await project.run();
  const logs = ofKind(events, "log").map(({ test, stream, text }) => [test, stream, text]);
  const of = (name: string | undefined) => logs.filter(([test]) => test === name);
  assertEquals(of(undefined), [[undefined, "stdout", "at load"]]);
  assertEquals(of("b"), [["b", "stdout", "from b"]]);
  assertEquals(of("a").toSorted(), [
    ["a", "stderr", "error of a"],
    ["a", "stdout", "from a\x1b[31m"],
    ["a", "stdout", "no newline"],
    ["a", "test", 'logged { by: "a" }'],
  ]);
  assertStringIncludes(out, "stdout| from a\\x1b[31m");
  assertStringIncludes(out, "stderr| error of a");
  // What a test wrote is known before it is reported.
  const end = events.findIndex((event) => event.kind === "test_finished");
  const last = events.findLastIndex((event) =>
    event.kind === "log" && (event as { test?: string }).test === "a"
  );
  assertEquals(last < end, true);
});

Deno.test("--rerun-failed runs just what failed, and forgets it when it passes", async () => {
  const file = (ok: boolean) =>
    `import { test } from "belljar"; test("a", () => {}); test("b", (t) => t.assert(${ok}, "b"));`;
  await using project = await makeProject({ "x.test.ts": file(false), "y.test.ts": PASSING });
  assertEquals((await project.run()).code, 1);
  const again = await project.run(["--rerun-failed"]);
  assertEquals(outcomes(again.events), ["x.test.ts > b: failed (test)"]);
  await project.write({ "x.test.ts": file(true) });
  assertEquals(outcomes((await project.run(["--rerun-failed"])).events), ["x.test.ts > b: passed"]);
  assertEquals((await project.run(["--rerun-failed", "--allow-empty"])).events.length > 0, true);
  assertEquals((await project.run(["--rerun-failed"])).code, 2);
});

Deno.test("--fail-fast stops other tests and files, and closes what they opened", async () => {
  await using project = await makeProject({
    "a.test.ts": `import { test } from "belljar";
      test("waits", async (t) => {
        t.defer(() => Deno.writeTextFileSync("closed", "yes"));
        Deno.writeTextFileSync("waiting", "");
        await new Promise((_, reject) => t.signal.addEventListener("abort", () => reject(t.signal.reason)));
      });`,
    "b.test.ts": `import { test } from "belljar";
      test("fails", async (t) => {
        while (!await Deno.stat("waiting").catch(() => undefined)) await new Promise((r) => setTimeout(r, 10));
        t.fail("stop");
      });
      test("never", () => {});`,
  });
  const { code, events } = await project.run(["--fail-fast", "-j", "2"]);
  assertEquals(code, 1);
  assertEquals(outcomes(events), [
    "a.test.ts > waits: skipped",
    "b.test.ts > fails: failed (test)",
    "b.test.ts > never: skipped",
  ]);
  assertEquals(await Deno.readTextFile(project.path("closed")), "yes");
});

Deno.test("shards run each test exactly once", async () => {
  const files = Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`f${i}.test.ts`, PASSING]));
  await using project = await makeProject(files);
  const all: string[] = [];
  for (const shard of ["1/3", "2/3", "3/3"]) {
    all.push(...outcomes((await project.run(["--shard", shard])).events));
  }
  assertEquals(all.toSorted(), Object.keys(files).map((file) => `${file} > passes: passed`));
  const { events } = await project.run([], { CI_NODE_INDEX: "2", CI_NODE_TOTAL: "3" });
  assertEquals(ofKind(events, "run_started")[0]?.shard, { index: 2, total: 3 });
});

Deno.test("belljar run refuses Deno.test() by line", async () => {
  await using project = await makeProject({ "d.test.ts": `\nDeno.test("x", () => {});\n` });
  const { code, out } = await project.run();
  assertEquals(code, 1);
  assertMatch(out, /d\.test\.ts:2:6/);
  assertStringIncludes(out, 'import { test } from "belljar"');
});

Deno.test("defining a test while tests run fails by name", async () => {
  await using project = await makeProject({
    "late.test.ts": `import { test } from "belljar"; test("a", () => test("late", () => {}));`,
  });
  assertStringIncludes((await project.run()).out, `Cannot define test "late"`);
});

Deno.test("what a file leaves undone runs once more when somebody kills its process", async () => {
  await using project = await makeProject({
    "x.test.ts": `import { test } from "belljar";
      test("before", () => {});
      test("killed once", async () => {
        if (await Deno.stat("once").catch(() => undefined)) return;
        await Deno.writeTextFile("once", "");
        Deno.kill(Deno.pid, "SIGKILL");
        await new Promise(() => {});
      });
      test("after", () => {});`,
  });
  const { code, events, out } = await project.run();
  assertEquals(code, 0);
  assertEquals(outcomes(events), [
    "x.test.ts > after: passed",
    "x.test.ts > before: passed",
    "x.test.ts > killed once: flaky",
  ]);
  assertEquals(ofKind(events, "file_started").map(({ attempt }) => attempt), [1, 2]);
  assertStringIncludes(out, "what it left undone runs once more");
});
