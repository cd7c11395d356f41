import { assertEquals, assertStringIncludes } from "@std/assert";
import { beforeAll, beforeEach, test, type TestContext } from "../../src/dsl/mod.ts";
import { currentScope, type Registration } from "../../src/scope/mod.ts";
import { ran } from "./_run.ts";

/** Opens something in the scope of whoever calls, as every resource does. */
function open(name: string, log: string[]): Registration {
  return currentScope().register({ kind: "thing", name, close: () => void log.push(name) });
}

function deep(name: string, log: string[], depth = 3): Registration {
  return depth === 0 ? open(name, log) : deep(name, log, depth - 1);
}

Deno.test("what a helper, a step, a hook or a detached promise opens belongs to the right scope", async () => {
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  await ran(() => {
    beforeAll(() => void deep("file", log));
    beforeEach(() => void deep("beforeEach", log));
    test("a", async (t) => {
      deep("test", log);
      const detached = gate.promise.then(() => deep("detached", log));
      await t.step("s", async () => {
        deep("step", log);
        await Promise.resolve();
        deep("later in step", log);
      });
      log.push("after the step");
      gate.resolve();
      await detached;
      log.push("end of a");
    });
    test("b", () => void log.push("b"));
  });
  assertEquals(log, [
    "later in step",
    "step",
    "after the step",
    "end of a",
    "detached",
    "test",
    "beforeEach",
    "b",
    "beforeEach",
    "file",
  ]);
});

Deno.test("what a detached promise opens after its test has ended is closed at once, with an error for it", async () => {
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  let late: Promise<unknown> | undefined;
  await ran(() => {
    test("a", () => {
      late = gate.promise.then(() => open("late", log)).catch((error) => error);
    });
    test("b", async () => {
      gate.resolve();
      const error = await late as Error;
      assertStringIncludes(error.message, `Cannot open thing late: test "a" has ended`);
      log.push("b");
    });
  });
  assertEquals(log, ["late", "b"]);
});

Deno.test("a closer that throws and one that hangs keep no other from closing; all are named beside the test's error", async () => {
  const log: string[] = [];
  const body = (t: TestContext) => {
    open("first", log);
    t.defer(() => {
      throw new Error("cannot close this");
    });
    open("second", log);
    currentScope().register({
      kind: "thing",
      name: "hanging",
      close: () => new Promise(() => {}),
      limitMs: 100,
    });
    open("third", log);
    throw new Error("the test's own");
  };
  const { of } = await ran(() => test("a", body));
  const { failure, others, closed } = of("a");
  assertEquals(log, ["third", "second", "first"]);
  assertEquals((failure?.error as Error).message, "the test's own");
  const [scopeError] = others.map(({ error }) => (error as Error).message);
  assertStringIncludes(scopeError!, "2 of 5 resources failed");
  assertStringIncludes(scopeError!, "thing hanging, created at ");
  assertStringIncludes(scopeError!, "Not closed within 100 ms");
  assertStringIncludes(scopeError!, "cannot close this");
  assertEquals(scopeError!.match(/scopes_test\.ts:\d+:\d+/g)?.length, 2);
  assertEquals(closed.map(({ name }) => name).length, 5);
});
