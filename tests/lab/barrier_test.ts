import { assertEquals, assertRejects } from "@std/assert";
import { lab } from "../../src/lab/mod.ts";

Deno.test("lab.barrier() releases all when the last arrives, and begins anew", async () => {
  const order: string[] = [];
  const arrive = async (name: string) => {
    const result = await lab.barrier("b1", 2, 30);
    order.push(name);
    return result;
  };
  const first = arrive("first");
  await Promise.resolve();
  assertEquals(order, []);
  assertEquals(await Promise.all([first, arrive("second")]), [true, true]);
  assertEquals(await Promise.all([arrive("third"), arrive("fourth")]), [true, true]);
});

Deno.test("lab.barrier() gives false when time runs out, and forgets who left", async () => {
  assertEquals(await lab.barrier("b2", 2, "30ms"), false);
  const late = lab.barrier("b2", 2, 30);
  assertEquals(await lab.barrier("b2", 2, 30), true);
  assertEquals(await late, true);
});

Deno.test("lab.barrier() rejects with the reason of its signal", async () => {
  const controller = new AbortController();
  const waiting = lab.barrier("b3", 2, 30, { signal: controller.signal });
  controller.abort("enough");
  assertEquals(await waiting.catch((reason) => reason), "enough");
});

Deno.test("lab.barrier() refuses counts that contradict each other or mean nothing", async () => {
  const first = lab.barrier("b4", 2, "200ms");
  await assertRejects(() => lab.barrier("b4", 3, 1), RangeError, "waits for 2");
  await assertRejects(() => lab.barrier("b4", 0), RangeError, "a whole number from 1");
  await assertRejects(() => lab.barrier("", 1), TypeError, "takes a name");
  await assertRejects(() => lab.barrier("x", 1, "10"), RangeError, '"10"');
  assertEquals(await first, false);
});
