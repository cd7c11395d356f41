import { assertEquals, assertStringIncludes } from "@std/assert";
import { test, type TestContext } from "../../src/dsl/mod.ts";
import { closeCurrentRun } from "../../src/host/mod.ts";
import { currentScope, runTolerant } from "../../src/scope/mod.ts";
import { ran } from "./_run.ts";

async function body(fn: (t: TestContext) => unknown) {
  const result = await ran(() => test("x", fn));
  const outcome = result.of("x");
  const texts = [outcome.failure, ...outcome.others].flatMap((failure) =>
    failure ? [String((failure.error as Error).message ?? failure.error)] : []
  );
  return { ...outcome, texts, seen: result.seen, logs: result.logs };
}

const caught = (fn: () => void) => {
  try {
    fn();
  } catch {
    // The author's code swallows it.
  }
};

Deno.test("t.assert* fails the test even if the error is caught", async () => {
  const { status, texts } = await body((t) => caught(() => t.assertEquals(1, 2)));
  assertEquals([status, texts.length], ["failed", 1]);
  assertStringIncludes(texts[0]!, "Values are not equal");
});

Deno.test("t.fail() fails the test even if caught, and t.assertRejects() too", async () => {
  assertEquals((await body((t) => caught(() => t.fail("no")))).texts, ["Failed assertion: no"]);
  const { status } = await body((t) => t.assertRejects(() => Promise.resolve()).catch(() => {}));
  assertEquals(status, "failed");
});

Deno.test("t.assert* inside assertThrows, assertRejects and tolerated calls does not count", async (t) => {
  const rows: [string, (t: TestContext) => unknown][] = [
    ["assertThrows", (t) => t.assertThrows(() => t.assert(false))],
    ["assertRejects", (t) => t.assertRejects(() => Promise.resolve().then(() => t.assert(false)))],
    ["runTolerant", (t) => caught(() => runTolerant(() => t.assert(false)))],
  ];
  for (const [name, fn] of rows) {
    await t.step(name, async () => assertEquals((await body(fn)).status, "passed"));
  }
});

Deno.test("t.assert* reports an error that it threw once", async () => {
  assertEquals((await body((t) => t.assert(false, "mine"))).texts, ["mine"]);
});

Deno.test("t.soft records every failure and goes on", async () => {
  let reached = false;
  const { status, texts, others } = await body(async (t) => {
    t.soft.assertEquals(1, 2, "first");
    await t.soft.assertRejects(() => Promise.resolve(), "second");
    reached = true;
  });
  assertEquals([status, reached, texts.length], ["failed", true, 2]);
  assertStringIncludes(texts[0]!, "first");
  assertStringIncludes(texts[1]!, "second");
  assertEquals(others[0]?.phase, "soft");
});

Deno.test("t.assertContains() takes text, bytes and arrays", async (t) => {
  const bytes = new Uint8Array([1, 2, 3, 97, 98]);
  const rows: [string, (t: TestContext) => void, string][] = [
    ["text", (t) => t.assertContains("abc", "b"), "passed"],
    ["no text", (t) => t.assertContains("abc", "x"), "failed"],
    ["bytes", (t) => t.assertContains(bytes, new Uint8Array([2, 3])), "passed"],
    ["text in bytes", (t) => t.assertContains(bytes, "ab"), "passed"],
    ["no bytes", (t) => t.assertContains(bytes, new Uint8Array([3, 2])), "failed"],
    ["array", (t) => t.assertContains([{ a: 1 }], { a: 1 }), "passed"],
    ["no item", (t) => t.assertContains([1], 2), "failed"],
    ["wrong type", (t) => t.assertContains("7", 7), "failed"],
    ["no container", (t) => t.assertContains(7 as never, 7), "failed"],
  ];
  for (const [name, fn, status] of rows) {
    await t.step(name, async () => assertEquals((await body(fn)).status, status));
  }
});

Deno.test("t.assertThrows() and t.assertRejects() return the error, the others nothing", async () => {
  const got: unknown[] = [];
  await body(async (t) => {
    got.push(
      t.assertThrows(() => {
        throw new RangeError("r");
      }, RangeError).message,
    );
    got.push((await t.assertRejects(() => Promise.reject(new TypeError("t")), TypeError)).message);
    got.push(t.assertExists(1));
  });
  assertEquals(got, ["r", "t", undefined]);
});

Deno.test("t.skip() skips, even if caught, and whatever fails afterwards", async (t) => {
  const rows: [string, (t: TestContext) => unknown][] = [
    ["thrown", (t) => t.skip("why")],
    ["caught", (t) => caught(() => t.skip("why"))],
    ["wrapped", (t) => {
      caught(() => t.skip("why"));
      throw new Error("wrapped");
    }],
    ["in a step of it", (t) => t.step("s", () => t.skip("why"))],
  ];
  for (const [name, fn] of rows) {
    await t.step(name, async () => {
      const { status, reason } = await body(fn);
      assertEquals([status, reason], ["skipped", "why"]);
    });
  }
  await t.step("not after a failure", async () => {
    const { status } = await body((t) => {
      t.soft.assert(false);
      t.skip("too late");
    });
    assertEquals(status, "failed");
  });
});

Deno.test("t.step() has a t and a scope of its own", async () => {
  const order: string[] = [];
  const { status, seen } = await body(async (t) => {
    t.defer(() => void order.push("test"));
    const result = await t.step("outer", async (s) => {
      s.defer(() => void order.push("outer"));
      await s.step("inner", (i) => {
        i.defer(() => void order.push("inner"));
        assertEquals(currentScope(), i.scope);
        assertEquals(i.scope.parent, s.scope);
      });
      order.push("end of outer");
      return 7;
    });
    assertEquals(result, 7);
    order.push("end of test");
  });
  assertEquals(status, "passed");
  assertEquals(order, ["inner", "end of outer", "outer", "end of test", "test"]);
  assertEquals(seen.slice(1, -1), [
    "step outer",
    "step outer > inner",
    "stepped outer > inner passed",
    "stepped outer passed",
  ]);
});

Deno.test("t.step() that fails fails the test even if caught; later steps run", async () => {
  const { status, texts, seen } = await body(async (t) => {
    await t.step("bad", () => {
      throw new Error("in step");
    }).catch(() => {});
    await t.step("good", () => {});
  });
  assertEquals([status, texts], ["failed", ["in step"]]);
  assertEquals(seen.includes("stepped bad failed"), true);
  assertEquals(seen.includes("stepped good passed"), true);
});

Deno.test("t.step() whose own t skips is skipped, and the test goes on", async () => {
  const { status, seen } = await body(async (t) => {
    assertEquals(await t.step("s", (s) => s.skip("not here")), undefined);
  });
  assertEquals(status, "passed");
  assertEquals(seen.includes("stepped s skipped"), true);
});

Deno.test("t.step() that nobody awaits fails the test by name", async () => {
  const { status, texts } = await body((t) => {
    t.step("lost", () => new Promise((resolve) => setTimeout(resolve, 20)));
  });
  assertEquals(status, "failed");
  assertStringIncludes(texts[0]!, `returned while step "lost" was running: await t.step()`);
  await new Promise((resolve) => setTimeout(resolve, 30)); // its timer must not outlive this test
});

Deno.test("t.use() and t.defer() close newest first and refuse what cannot be closed", async () => {
  const order: string[] = [];
  const { status } = await body((t) => {
    const made = t.use({ [Symbol.dispose]: () => void order.push("sync") });
    t.use({ [Symbol.asyncDispose]: () => Promise.resolve(void order.push("async")) });
    t.defer(() => void order.push("deferred"));
    assertEquals(typeof made[Symbol.dispose], "function");
    t.assertThrows(() => t.use({} as Disposable), TypeError, "use() takes an object with");
    t.assertThrows(() => t.defer(7 as never), TypeError, "defer() takes a function, got number");
  });
  assertEquals([status, order], ["passed", ["deferred", "async", "sync"]]);
});

Deno.test("t.log() writes text as it is and values inspected", async () => {
  const { logs } = await body((t) => t.log("a", { b: 1 }, 2n));
  assertEquals(logs, ["a { b: 1 } 2n"]);
});

Deno.test("t.attach() refuses what it cannot read", async () => {
  const { texts } = await body((t) => t.attach("x", 7 as never));
  assertEquals(texts, ["t.attach() takes text, bytes, a URL or { path }, got number"]);
});

Deno.test("t.background() and t.service() end with the test, and t.jobs shows them", async () => {
  let pid = 0;
  const { status, texts, closed } = await body(async (t) => {
    const job = await t.background("sleep 100", { name: "sleeper" });
    pid = job.pid!;
    const service = await t.service({ name: "web", command: "exec sleep 100" });
    t.assertEquals(service.state, "ready");
    t.assertEquals(t.jobs.list().length, 2);
    await t.step("a step has its own", async (s) => {
      await s.background("sleep 100");
      s.assertEquals(s.jobs.list().length, 1);
    });
  });
  await closeCurrentRun();
  assertEquals([status, texts], ["passed", []]);
  assertEquals(closed.map(({ leaked }) => leaked).length, 2);
  assertEquals(await Deno.stat(`/proc/${pid}`).then(() => true, () => false), false);
});
