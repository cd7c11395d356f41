import { assertEquals, assertStringIncludes } from "@std/assert";
import { HostError } from "../../src/errors.ts";
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  defineFile,
  test,
  TestTimeoutError,
  todo,
} from "../../src/dsl/mod.ts";
import { currentScope, currentSignal, trackOperation, uncharged } from "../../src/scope/mod.ts";
import { ran } from "./_run.ts";

const fails = () => {
  throw new Error("boom");
};
const forever = () => new Promise<void>(() => {});

Deno.test("FileRun runs tests in order, with hooks around them", async () => {
  const order: string[] = [];
  const log = (text: string) => () => void order.push(text);
  const { tests, failures } = await ran(() => {
    beforeAll(log("all 1"));
    beforeAll(log("all 2"));
    beforeEach(log("each 1"));
    beforeEach((t) => t.defer(log(`deferred by beforeEach`)));
    afterEach(log("after 1"));
    afterEach(log("after 2"));
    afterAll(log("end 1"));
    afterAll(log("end 2"));
    test("a", log("a"));
    test("b", log("b"));
  });
  const each = (name: string) => ["each 1", name, "after 2", "after 1", "deferred by beforeEach"];
  assertEquals(order, ["all 1", "all 2", ...each("a"), ...each("b"), "end 2", "end 1"]);
  assertEquals(tests.map(({ status }) => status), ["passed", "passed"]);
  assertEquals(failures, []);
});

Deno.test("FileRun runs no hook of the file when all its tests are skipped", async () => {
  const order: string[] = [];
  const { of } = await ran(() => {
    beforeAll(() => void order.push("beforeAll"));
    afterAll(() => void order.push("afterAll"));
    todo("later");
    test("a", () => void order.push("a"));
  });
  assertEquals(order, []);
  assertEquals([of("a").status, of("a").reason], ["skipped", "todo: later"]);
});

Deno.test("FileRun fails every test when beforeAll fails, and still runs afterAll", async () => {
  const order: string[] = [];
  const { of } = await ran(() => {
    beforeAll(fails);
    afterAll(() => void order.push("afterAll"));
    test("a", () => void order.push("a"));
    test.skip("b", () => {});
  });
  assertEquals(order, ["afterAll"]);
  assertEquals([of("a").status, of("a").failure?.phase], ["failed", "beforeAll"]);
  assertEquals(of("b").status, "skipped");
});

Deno.test("FileRun reports a failing afterAll and a failing file scope as failures of the file", async () => {
  const { failures, of } = await ran(() => {
    beforeAll(() => {
      currentScope().defer(fails);
    });
    afterAll(fails);
    test("a", () => {});
  });
  assertEquals(of("a").status, "passed");
  assertEquals(failures.map(({ phase }) => phase), ["afterAll", "closing the file"]);
});

Deno.test("FileRun reports failures of beforeEach, afterEach and closers beside the test's own", async () => {
  const { of } = await ran(() => {
    afterEach(() => {
      throw new Error("after");
    });
    test("a", (t) => {
      t.defer(() => {
        throw new Error("closing");
      });
      throw new Error("own");
    });
  });
  const { failure, others, class: kind } = of("a");
  assertEquals((failure?.error as Error).message, "own");
  assertEquals(others.map(({ phase }) => phase), ["afterEach", "closing"]);
  assertEquals(kind, "test");
});

Deno.test("FileRun stops a test at its timeout, aborts its signal and goes on", async () => {
  let reason: unknown;
  let closed = false;
  const { of } = await ran(() => {
    test("stuck", { timeout: "60ms" }, (t) => {
      t.signal.addEventListener("abort", () => reason = t.signal.reason);
      t.defer(() => void (closed = true));
      return trackOperation({ op: 'run("sleep 100")', vm: "db" }, forever);
    });
    test("next", () => {});
  });
  const stuck = of("stuck");
  assertEquals([stuck.status, stuck.class], ["failed", "timeout"]);
  const error = stuck.failure?.error as TestTimeoutError;
  assertEquals(error instanceof TestTimeoutError, true);
  assertStringIncludes(error.message, `Test "stuck" did not end within 60 ms`);
  assertStringIncludes(error.message, `machine "db": run("sleep 100") in progress for`);
  assertStringIncludes(error.message, "run_file_test.ts:");
  assertEquals(stuck.inProgress.map(({ op }) => op), ['run("sleep 100")']);
  assertEquals(reason, error);
  assertEquals(closed, true);
  assertEquals(stuck.durationMs >= 59, true);
  assertEquals(of("next").status, "passed");
});

Deno.test("FileRun gives afterEach a live signal after a timeout", async () => {
  const aborted: unknown[] = [];
  await ran(() => {
    afterEach(() => void aborted.push(currentSignal()?.aborted));
    test("stuck", { timeout: "20ms" }, forever);
  });
  assertEquals(aborted, [false]);
});

Deno.test("FileRun does not charge time that uncharged() covers", async () => {
  const { of } = await ran(() => {
    test("queues", { timeout: "50ms" }, async () => {
      await uncharged(() => new Promise((resolve) => setTimeout(resolve, 120)));
    });
  });
  assertEquals(of("queues").status, "passed");
});

Deno.test("FileRun stops the whole file at its timeout", async () => {
  const { of, stopped } = await ran(() => {
    defineFile({ timeout: "50ms" });
    test("stuck", forever);
    test("next", () => {});
  });
  assertEquals(stopped, "timeout");
  assertStringIncludes(String(of("stuck").failure?.error), "The file did not end within 50 ms");
  assertEquals(of("next").reason, "not run: the time of the file had run out");
});

Deno.test("FileRun stops when it is interrupted, and closes what the test opened", async () => {
  const interrupt = new AbortController();
  let closed = false;
  const { of, stopped } = await ran(() => {
    test("running", (t) => {
      t.defer(() => void (closed = true));
      queueMicrotask(() => interrupt.abort());
      return forever();
    });
    test("next", () => {});
  }, { interrupt: interrupt.signal });
  assertEquals(stopped, "interrupted");
  assertEquals([of("running").status, of("running").reason], ["skipped", "interrupted"]);
  assertEquals(of("next").reason, "not run: the run was interrupted");
  assertEquals(closed, true);
});

Deno.test("FileRun retries as often as asked and calls a late success flaky", async () => {
  let calls = 0;
  const { of, seen } = await ran(() => {
    test("flaky", { retries: 2 }, () => {
      if (++calls < 3) fails();
    });
    test("never", fails);
  }, { retries: 1 });
  assertEquals(of("flaky").status, "flaky");
  assertEquals([of("flaky").attempt, of("never").attempt], [3, 2]);
  assertEquals(of("never").status, "failed");
  assertEquals(seen.filter((line) => line.startsWith("end flaky")), [
    "end flaky failed",
    "end flaky failed",
    "end flaky flaky",
  ]);
});

Deno.test("FileRun retries a failure of the host once, unasked", async () => {
  let calls = 0;
  const { of } = await ran(() => {
    test("host", () => {
      calls++;
      throw new HostError("Cannot start QEMU");
    });
  });
  assertEquals([calls, of("host").class, of("host").attempt], [2, "host", 2]);
});

Deno.test("FileRun repeats tests and stops repeating at a failure", async () => {
  let good = 0;
  let bad = 0;
  const { tests } = await ran(() => {
    test("good", () => void good++);
    test("bad", () => {
      if (++bad === 2) fails();
    });
  }, { repeat: 3 });
  assertEquals([good, bad, tests.length], [3, 2, 5]);
});

Deno.test("FileRun stops after the given number of failures", async () => {
  const { of, stopped } = await ran(() => {
    test("a", fails);
    test("b", () => {});
  }, { maxFailures: 1 });
  assertEquals(stopped, "maxFailures");
  assertEquals(of("b").reason, "not run: too many tests had failed");
});

Deno.test("FileRun chooses tests by name, tag, meta and speed", async (t) => {
  const file = () => {
    test("boots fast", { tags: "boot", spec: "A" }, () => {});
    test("boots slowly", { tags: ["boot", "long"], slow: true }, () => {});
    test("Reads", { spec: ["A", "B"] }, () => {});
  };
  const rows: [string, Parameters<typeof ran>[1], string[]][] = [
    ["all", {}, ["boots fast", "boots slowly", "Reads"]],
    ["text", { selection: { filter: "boots" } }, ["boots fast", "boots slowly"]],
    ["pattern", { selection: { filter: "/^reads$/i" } }, ["Reads"]],
    ["tag", { selection: { tags: ["long", "x"] } }, ["boots slowly"]],
    ["no tag", { selection: { noTags: ["long"] } }, ["boots fast", "Reads"]],
    ["meta", { selection: { meta: ["spec=A"] } }, ["boots fast", "Reads"]],
    ["meta key", { selection: { meta: ["spec"], noMeta: ["spec=B"] } }, ["boots fast"]],
    ["names", { selection: { names: ["Reads"] } }, ["Reads"]],
  ];
  for (const [name, options, names] of rows) {
    await t.step(name, async () => {
      const { tests } = await ran(file, options);
      assertEquals(tests.map((outcome) => outcome.name), names);
    });
  }
  await t.step("slow", async () => {
    assertEquals((await ran(file)).of("boots slowly").reason, "slow: runs with --include-slow");
    const { of } = await ran(file, { selection: { includeSlow: true } });
    assertEquals(of("boots slowly").status, "passed");
  });
});

Deno.test("FileRun runs only what test.only() marks", async () => {
  const { tests } = await ran(() => {
    test("a", fails);
    test.only("b", () => {});
    test("c", { only: true }, () => {});
  });
  assertEquals(tests.map(({ name, status }) => [name, status]), [["b", "passed"], ["c", "passed"]]);
});

Deno.test("FileRun shuffles by seed alone", async () => {
  const names = Array.from({ length: 12 }, (_, i) => `t${i}`);
  const file = () => names.forEach((name) => test(name, () => {}));
  const order = async (shuffleSeed: number) =>
    (await ran(file, { shuffleSeed })).tests.map(({ name }) => name);
  const first = await order(7);
  assertEquals(await order(7), first);
  assertEquals(first.toSorted(), names.toSorted());
  assertEquals(first.join() === names.join() || (await order(8)).join() === first.join(), false);
});

Deno.test("FileRun runs as many tests at once as the file allows", async () => {
  let now = 0;
  let most = 0;
  const gate = Promise.withResolvers<void>();
  const { tests } = await ran(() => {
    defineFile({ concurrency: 3 });
    for (let i = 0; i < 6; i++) {
      test(`t${i}`, async () => {
        most = Math.max(most, ++now);
        if (now === 3) gate.resolve();
        await gate.promise;
        now--;
      });
    }
  });
  assertEquals(most, 3);
  assertEquals(tests.map(({ name }) => name), ["t0", "t1", "t2", "t3", "t4", "t5"]);
});

Deno.test("FileRun of a strict file fails tests that leave something open", async () => {
  const open = (leaked: boolean) => () =>
    void currentScope().register({
      kind: "process",
      name: "7 `sleep 9`",
      close: () => {},
      leaked: () => leaked,
    });
  const { of } = await ran(() => {
    defineFile({ strict: true });
    test("leaks", open(true));
    test("machine", open(false));
  });
  assertEquals([of("leaks").status, of("leaks").class], ["failed", "leak"]);
  assertStringIncludes(String(of("leaks").failure?.error), "process 7 `sleep 9`, created at ");
  assertEquals(of("machine").status, "passed");
});

Deno.test("FileRun skips what the host cannot do, with the reason", async () => {
  const { of } = await ran(() => test("needs", { require: { kvm: true } }, fails), {
    unmet: ({ meta }) => Promise.resolve(meta.require?.kvm ? "no KVM here" : undefined),
  });
  assertEquals([of("needs").status, of("needs").reason], ["skipped", "no KVM here"]);
});
