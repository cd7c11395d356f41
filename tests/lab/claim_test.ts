import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { BelljarError } from "../../src/errors.ts";
import { lab, type ResourceRequest, setLabProviders } from "../../src/lab/mod.ts";
import { reserveFor } from "../../src/lab/claim.ts";
import { Scope } from "../../src/scope/mod.ts";

/** Records what is asked of the pool, and what was given back. */
function recordingPool() {
  const asked: ResourceRequest[] = [];
  const released: ResourceRequest[] = [];
  const restore = setLabProviders({
    reserve: (request) => {
      asked.push(request);
      return Promise.resolve({ release: () => void released.push(request) });
    },
  });
  return { asked, released, [Symbol.dispose]: restore };
}

const MiB = 1024 * 1024;
const request = (name: string, memory: number) => ({
  memoryBytes: memory * MiB,
  cpus: 1,
  names: [name],
});

Deno.test("lab.claim() takes its resources once, and machines take theirs out of it", async () => {
  using pool = recordingPool();
  const file = new Scope("file", { kind: "file" });
  await file.run(() => lab.claim({ memory: "512M", cpus: 2 }));
  assertEquals(pool.asked.map(({ memoryBytes, cpus }) => [memoryBytes, cpus]), [[512 * MiB, 2]]);
  const test = new Scope("test", { parent: file });
  const first = await reserveFor(test, request("a", 300));
  const error = await assertRejects(() => reserveFor(test, request("b", 300)), BelljarError);
  assertEquals(error.code, "CLAIM");
  assertStringIncludes(error.message, '"a", "b" take 600 MiB and 2 processors together');
  first.release();
  await reserveFor(test, request("b", 300));
  assertEquals(pool.asked.length, 1);
  await file.close();
  assertEquals(pool.released.length, 1);
});

Deno.test("without a claim every machine asks the pool", async () => {
  using pool = recordingPool();
  const grant = await reserveFor(new Scope("test"), request("a", 256));
  grant.release();
  assertEquals([pool.asked.length, pool.released.length], [1, 1]);
});

Deno.test("lab.claim() refuses a second claim and wrong options by name", async () => {
  using _pool = recordingPool();
  const file = new Scope("file", { kind: "file" });
  await file.run(() => lab.claim({ memory: "1G" }));
  await assertRejects(
    () => file.run(() => lab.claim({ memory: "1G" })),
    TypeError,
    "claim its whole peak at once",
  );
  await file.close();
  await assertRejects(() => lab.claim({ memry: 1 } as never), TypeError, 'did you mean "memory"');
  await assertRejects(() => lab.claim({} as never), TypeError, "needs the option memory");
  await assertRejects(() => lab.claim({ memory: 1, cpus: 0 }), RangeError, "from 1");
});
