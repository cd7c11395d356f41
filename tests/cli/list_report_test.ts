import { assertEquals, assertStringIncludes } from "@std/assert";
import { makeProject } from "../runner/_belljar.ts";

const FILE = `import { test, lab } from "belljar";
test("fast", { tags: ["a", "b"], ticket: 7 }, () => {});
test("slow", { slow: true }, () => {});
test.skip("not now", () => {});
`;

Deno.test("belljar list names tests with their meta data and runs none", async () => {
  await using project = await makeProject({
    "x.test.ts": `${FILE}test("never", () => Deno.writeTextFileSync("ran", ""));`,
    "boots.test.ts": `import { test, lab } from "belljar";
test("before", () => {});
await lab.vm("v", "tiny").boot();
test("after", () => {});`,
  });
  const { code, out } = await project.belljar(["list"]);
  assertEquals(code, 0);
  assertStringIncludes(out, "fast  #a #b ticket=7");
  assertStringIncludes(out, "slow  slow=true (skipped: slow: runs with --include-slow)");
  assertStringIncludes(out, "not now  (skipped: skipped by its author)");
  assertStringIncludes(out, "note: starts a machine at its top level");
  assertStringIncludes(out, "5 tests in 2 files");
  assertEquals(await Deno.stat(project.path("ran")).catch(() => undefined), undefined);
});

Deno.test("belljar list --json is for programs, and chooses as belljar run does", async () => {
  await using project = await makeProject({ "x.test.ts": FILE });
  const { out } = await project.belljar(["list", "--json", "--no-tag", "b"]);
  const { files } = JSON.parse(out);
  assertEquals(
    files.map(({ tests }: { tests: { name: string }[] }) => tests.map(({ name }) => name)),
    [
      ["slow", "not now"],
    ],
  );
  assertEquals(files[0].tests[0].line, 3);
});

Deno.test("belljar list exits 1 for a file that cannot be loaded", async () => {
  await using project = await makeProject({ "x.test.ts": "throw new Error('broken');" });
  const { code, err } = await project.belljar(["list"]);
  assertEquals(code, 1);
  assertStringIncludes(err, "cannot be loaded: broken");
});

Deno.test("belljar report makes of shards what a whole run says", async () => {
  await using project = await makeProject({
    "a.test.ts":
      `import { test } from "belljar"; test("a", () => {}); test("b", (t) => t.fail("no"));`,
    "b.test.ts": `import { test } from "belljar"; test("c", () => {});`,
    "c.test.ts": `import { test } from "belljar"; test.skip("d", () => {});`,
  });
  const whole = await project.belljar([
    "run",
    "--events",
    "whole.jsonl",
    "--reporter",
    "json=whole.json",
  ]);
  for (const n of [1, 2]) {
    await project.belljar(["run", "--shard", `${n}/2`, "--events", `s${n}.jsonl`]);
  }
  const merged = await project.belljar([
    "report",
    "s1.jsonl",
    "s2.jsonl",
    "--reporter",
    "json=merged.json",
  ]);
  assertEquals([whole.code, merged.code], [1, 1]);
  const read = async (name: string) => JSON.parse(await Deno.readTextFile(project.path(name)));
  const [one, two] = [await read("whole.json"), await read("merged.json")];
  assertEquals(two.counts, one.counts);
  const names = ({ tests }: { tests: { test: string; status: string }[] }) =>
    tests.map(({ test, status }) => `${test} ${status}`).toSorted();
  assertEquals(names(two), names(one));
});

Deno.test("belljar report reads a stream that was cut off, and says so", async () => {
  await using project = await makeProject({
    "a.test.ts": `import { test } from "belljar"; test("a", () => {});`,
  });
  await project.belljar(["run", "--events", "e.jsonl"]);
  const text = await Deno.readTextFile(project.path("e.jsonl"));
  await Deno.writeTextFile(project.path("cut.jsonl"), text.slice(0, text.lastIndexOf("{") + 20));
  const { code, out } = await project.belljar(["report", "cut.jsonl"]);
  assertEquals(code, 3);
  assertStringIncludes(out, "ok      a.test.ts > a");
  assertStringIncludes(out, "The saved run did not end");
});

Deno.test("belljar report --timings feeds belljar run --timings", async () => {
  await using project = await makeProject({
    "a.test.ts": `import { test } from "belljar"; test("a", () => {});`,
  });
  await project.belljar(["run", "--events", "e.jsonl"]);
  assertEquals((await project.belljar(["report", "e.jsonl", "--timings", "t.json"])).code, 0);
  const { files } = JSON.parse(await Deno.readTextFile(project.path("t.json")));
  assertEquals(Object.keys(files), ["a.test.ts"]);
  assertEquals((await project.belljar(["run", "--timings", "t.json", "--shard", "1/1"])).code, 0);
  await Deno.writeTextFile(project.path("bad.json"), "[]");
  const bad = await project.belljar(["run", "--timings", "bad.json"]);
  assertEquals(bad.code, 2);
  assertStringIncludes(bad.err, `Cannot use "bad.json" as timings`);
});
