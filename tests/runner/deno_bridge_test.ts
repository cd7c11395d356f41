import { assertEquals, assertFalse, assertMatch, assertStringIncludes } from "@std/assert";
import { readEvents } from "../../src/runner/event_file.ts";
import { makeProject, ofKind, outcomes } from "./_belljar.ts";

Deno.test("under deno test hooks, scopes, steps and timeouts are belljar's", async () => {
  await using project = await makeProject({
    "x.test.ts":
      `import { afterAll, afterEach, beforeAll, beforeEach, currentOrder, test } from "./order.ts";
      beforeAll(() => currentOrder.push("beforeAll"));
      beforeEach(() => currentOrder.push("beforeEach"));
      afterEach(() => currentOrder.push("afterEach"));
      afterAll(() => console.log("ORDER " + currentOrder.join(" ")));
      test("one", async (t) => {
        t.defer(() => currentOrder.push("deferred"));
        await t.step("outer", async (s) => {
          s.defer(() => currentOrder.push("step-deferred"));
          await s.step("inner", () => {});
        });
        currentOrder.push("one");
      });
      test("stuck", { timeout: "80ms" }, async (t) => {
        t.defer(() => currentOrder.push("stuck-closed"));
        await new Promise(() => {});
      });
      test("caught", (t) => { try { t.assertEquals(1, 2); } catch { /* swallowed */ } });
      test("skips itself", (t) => t.skip("no such device"));
      test("two", () => currentOrder.push("two"));
    `,
    "order.ts": `export * from "belljar"; export const currentOrder: string[] = [];`,
  });
  const { code, out } = await project.denoTest(["x.test.ts"]);
  assertEquals(code, 1);
  assertMatch(
    out,
    /ORDER beforeAll beforeEach one|ORDER beforeAll beforeEach step-deferred one afterEach deferred beforeEach afterEach stuck-closed/,
  );
  assertStringIncludes(out, `Test "stuck" did not end within 80 ms`);
  assertStringIncludes(out, "skipped: no such device");
  assertMatch(out, /inner \.\.\. ok/);
  assertMatch(out, /caught \.\.\. FAILED/);
  assertMatch(out, /two \.\.\. ok/);
  assertStringIncludes(out, "3 passed");
  assertStringIncludes(out, "2 failed");
});

Deno.test("under deno test only, skip, todo, each and filters work", async () => {
  await using project = await makeProject({
    "a.test.ts": `import { test } from "belljar";
      test.each([[1, 2], [3, 4]])("adds %d and %d", (t, a, b) => t.assert(a < b));
      test.skip("skipped", () => {});
      test.todo("later");
      test("slow", { slow: true }, () => {});
      test("needs", { require: { memory: "900G" } }, () => {});`,
    "only.test.ts": `import { test } from "belljar";
      test("not", (t) => t.fail());
      test.only("just this", () => {});`,
    "todo.test.ts":
      `import { test, todo } from "belljar"; todo("waits"); test("x", (t) => t.fail("ran"));`,
  });
  const a = await project.denoTest(["a.test.ts"]);
  assertEquals(a.code, 0);
  assertMatch(a.out, /adds 3 and 4 \.\.\. ok/);
  assertMatch(a.out, /skipped: needs 900G of memory, this run may use \d+M \.\.\. ignored/);
  assertStringIncludes(a.out, "3 passed | 0 failed | 3 ignored");
  const filtered = await project.denoTest(["--filter", "adds 1", "a.test.ts"]);
  assertStringIncludes(filtered.out, "1 passed | 0 failed | 5 filtered out");
  const only = await project.denoTest(["only.test.ts"]);
  assertMatch(only.out, /just this \.\.\. ok/);
  assertFalse(only.out.includes("not ..."));
  assertEquals((await project.denoTest(["todo.test.ts"])).code, 0);
});

Deno.test("under deno test a file closes what it opened when its tests are done, or filtered out", async () => {
  await using project = await makeProject({
    "x.test.ts": `import { Scope, test } from "belljar";
      import { currentScope } from "./scope.ts";
      currentScope().defer(async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        console.log("FILE CLOSED");
      });
      test("a", () => {});`,
    "scope.ts": `export { currentScope } from ${
      JSON.stringify(new URL("../../src/scope/mod.ts", import.meta.url).href)
    };`,
    "fails.test.ts": `import { afterAll, test } from "belljar";
      afterAll(() => { throw new Error("afterAll broke"); });
      test("a", () => {});`,
  });
  assertStringIncludes((await project.denoTest(["x.test.ts"])).out, "FILE CLOSED");
  assertStringIncludes(
    (await project.denoTest(["--filter", "nothing", "x.test.ts"])).out,
    "FILE CLOSED",
  );
  const fails = await project.denoTest(["fails.test.ts"]);
  assertEquals(fails.code, 1);
  assertStringIncludes(fails.out, "afterAll broke");
});

Deno.test("under deno test failures of steps are told once, several failures all", async () => {
  await using project = await makeProject({
    "x.test.ts": `import { test } from "belljar";
      test("step", async (t) => {
        await t.step("bad", () => { throw new Error("in-the-step"); });
      });
      test("soft", (t) => {
        t.soft.assert(false, "first-soft");
        t.soft.assert(false, "second-soft");
      });`,
  });
  const { out } = await project.denoTest(["x.test.ts"]);
  assertEquals(out.match(/error: Error: in-the-step/g)?.length, 1);
  assertStringIncludes(out, "first-soft");
  assertStringIncludes(out, "second-soft");
});

Deno.test("deno test and belljar run emit the same events for the same file", async () => {
  await using project = await makeProject({
    "x.test.ts": `import { beforeAll, test } from "belljar";
      beforeAll(() => {});
      test("passes", { spec: "A" }, async (t) => {
        await t.step("one", (s) => s.log("hello", 7));
        t.attach("note", "text");
      });
      test("fails", (t) => t.assertEquals(1, 2));
      test("flaky", { retries: 1 }, (t) => t.assert(n++ > 0));
      test("skips", (t) => t.skip("why"));
      let n = 0;`,
  });
  const run = await project.run();
  await project.denoTest(["x.test.ts"], { BELLJAR_EVENTS: project.path("deno.jsonl") });
  const deno = await readEvents(project.path("deno.jsonl"));
  const KINDS = [
    "test_started",
    "test_finished",
    "step_started",
    "step_finished",
    "log",
    "attachment",
  ];
  const plain = (events: typeof deno) =>
    events.filter(({ kind }) => KINDS.includes(kind)).map((event) => {
      const { ts: _ts, run: _run, durationMs: _ms, seed: _seed, ...rest } =
        event as unknown as Record<string, unknown>;
      const { stack: _stack, ...error } = (rest.error ?? {}) as Record<string, unknown>;
      return { ...rest, error };
    });
  assertEquals(plain(deno), plain(run.events));
  assertEquals(outcomes(deno), outcomes(run.events));
  assertEquals(ofKind(deno, "file_finished")[0]?.status, "failed");
});
