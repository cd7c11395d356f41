import { assertEquals, assertRejects } from "@std/assert";
import { sharedLook } from "../../src/host/_shared_look.ts";

Deno.test("sharedLook() shares one look among those who ask during another", async () => {
  let truth = 0;
  let looks = 0;
  const gates: PromiseWithResolvers<void>[] = [];
  const look = sharedLook(async () => {
    looks++;
    const seen = truth;
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    await gate.promise;
    return seen;
  });
  const first = look();
  await Promise.resolve();
  truth = 1;
  const others = [look(), look(), look()];
  gates[0]!.resolve();
  assertEquals(await first, 0);
  while (gates.length < 2) await Promise.resolve();
  gates[1]!.resolve();
  // What they see is as it was when they asked, or later.
  assertEquals(await Promise.all(others), [1, 1, 1]);
  assertEquals(looks, 2);
});

Deno.test("sharedLook() fails for those who asked, and looks again for the next", async () => {
  let looks = 0;
  const look = sharedLook(() => {
    if (++looks === 1) throw new Error("blind");
    return Promise.resolve("seen");
  });
  await assertRejects(() => look(), Error, "blind");
  assertEquals(await look(), "seen");
});
