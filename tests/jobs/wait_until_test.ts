import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { WaitUntilError } from "../../src/errors.ts";
import { waitUntil } from "../../src/jobs/mod.ts";
import { isTolerated } from "../../src/scope/mod.ts";
import { DurationError, seconds } from "../../src/values/mod.ts";

Deno.test("jobs #81 waitUntil() tries at once, then after each interval", async () => {
  const started = performance.now();
  const tries: number[] = [];
  const value = await waitUntil(({ attempt }) => {
    tries.push(performance.now() - started);
    return attempt === 4 && "ready";
  });
  assertEquals(value, "ready");
  assertEquals(tries.length, 4);
  assert(tries[0]! < 2_000, `the first try came after ${tries[0]} ms`);
  assert(tries[3]! >= 1495, `the fourth try came after ${tries[3]} ms`);
});

Deno.test("jobs #82 waitUntil() names what it waited for", async () => {
  const started = performance.now();
  const error = await assertRejects(
    () => waitUntil(() => false, { timeout: 1, interval: 0.3, desc: "pid file" }),
    WaitUntilError,
  );
  assert(performance.now() - started >= 995);
  assertStringIncludes(error.message, "pid file");
  assert(error.attempts >= 3);
  assert(error.elapsed >= 0.99);
});

Deno.test("jobs #83 waitUntil() with timeout 0 tries exactly once", async () => {
  let calls = 0;
  await assertRejects(() => waitUntil(() => ++calls > 5, { timeout: 0 }), WaitUntilError, "1 try");
  assertEquals(calls, 1);
  assertEquals(await waitUntil(() => "yes", { timeout: 0 }), "yes");
});

Deno.test("jobs #84 waitUntil() abandons a try that never settles", async () => {
  let seen: AbortSignal | undefined;
  await assertRejects(
    () =>
      waitUntil(({ signal }) => {
        seen = signal;
        return new Promise<boolean>(() => {});
      }, { timeout: 0.05 }),
    WaitUntilError,
  );
  assert(seen!.aborted);
});

Deno.test("jobs #85 waitUntil() throws what the condition throws, unless it retries errors", async () => {
  const broken = new Error("no such file");
  const thrower = () => {
    throw broken;
  };
  assertEquals(await assertRejects(() => waitUntil(thrower)), broken);
  const options = { timeout: 0.05, interval: 0.01, retryErrors: true };
  const error = await assertRejects(() => waitUntil(thrower, options), WaitUntilError);
  assertEquals(error.cause, broken);
  assertStringIncludes(error.message, "no such file");
});

Deno.test("jobs #86 seconds() reads durations and refuses the rest", async (t) => {
  for (const [value, expected] of [["1m30s", 90], [1.5, 1.5], ["250ms", 0.25]] as const) {
    await t.step(`${value} is ${expected} s`, () => assertEquals(seconds(value), expected));
  }
  for (const value of [-1, NaN, "10", ""]) {
    await t.step(`${JSON.stringify(value)} is refused`, async () => {
      await assertRejects(() => waitUntil(() => true, { timeout: value }), DurationError);
    });
  }
});

Deno.test("waitUntil() rejects with the reason of its signal, before and during", async () => {
  const reason = new Error("enough");
  await assertRejects(
    () => waitUntil(() => true, { signal: AbortSignal.abort(reason) }),
    Error,
    "enough",
  );
  const controller = new AbortController();
  const waiting = assertRejects(() => waitUntil(() => false, { signal: controller.signal }));
  controller.abort(reason);
  assertEquals(await waiting, reason);
});

Deno.test("waitUntil() tolerates failed assertions only when it retries errors", async () => {
  assertEquals(await waitUntil(() => `${isTolerated()}`, { retryErrors: true }), "true");
  assertEquals(await waitUntil(() => `${isTolerated()}`), "false");
});

Deno.test("waitUntil() refuses misuse by name", async () => {
  await assertRejects(() => waitUntil(true as never), TypeError, "got boolean");
  await assertRejects(() => waitUntil(() => 1, { timout: 1 } as never), TypeError, '"timeout"');
});
