import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  isMemoryShort,
  Pool,
  type PoolGrant,
  PoolRefusalError,
  type PoolRequest,
} from "../../src/runner/pool.ts";

const MIB = 2 ** 20;

function request(file: string, mib: number, cpus = 1): PoolRequest {
  return { file, memoryBytes: mib * MIB, cpus, names: [`${file}'s`] };
}

/** Whether a promise has settled by the time all that is ready has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  promise.then(() => settled = true, () => settled = true);
  await new Promise((resolve) => setTimeout(resolve));
  return settled;
}

Deno.test("Pool grants what fits and lets the rest wait in order", async () => {
  const waits: string[] = [];
  const pool = new Pool({
    memoryBytes: 1000 * MIB,
    cpus: 10,
    onWait: ({ file }, what) => waits.push(`${file}: ${what}`),
  });
  const a = await pool.reserve(request("a", 600));
  const b = pool.reserve(request("b", 600));
  const c = pool.reserve(request("c", 100));
  assertEquals([await isSettled(b), await isSettled(c)], [false, false]);
  assertStringIncludes(waits[0]!, `b: 600 MiB for "b's", 400 MiB are free`);
  a.release();
  a.release();
  (await b).release();
  (await c).release();
  assertEquals(pool.used, { memoryBytes: 0, cpus: 0, files: 0 });
});

Deno.test("Pool refuses at once what can never fit, with the sum", async () => {
  const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 2 });
  const error = await assertRejects(() => pool.reserve(request("a", 1001)), PoolRefusalError);
  assertStringIncludes(error.refusal.actual, "1001 MiB of the 1000 MiB");
  const held = await pool.reserve(request("a", 600));
  const second = await assertRejects(() => pool.reserve(request("a", 500)), PoolRefusalError);
  assertStringIncludes(second.refusal.actual, "the file holds 600 MiB already");
  held.release();
});

Deno.test("Pool serves files that hold something first", async () => {
  const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 10 });
  const a = await pool.reserve(request("a", 300));
  const x = await pool.reserve(request("x", 500));
  const b = pool.reserve(request("b", 900));
  const more = await pool.reserve(request("a", 200));
  assertEquals(await isSettled(b), false);
  for (const grant of [a, x, more]) grant.release();
  (await b).release();
});

Deno.test("Pool refuses the request that closes a circle of files that hold and wait", async () => {
  const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 10 });
  const a = await pool.reserve(request("a", 500));
  const b = await pool.reserve(request("b", 500));
  const moreOfA = pool.reserve(request("a", 300));
  assertEquals(await isSettled(moreOfA), false);
  const error = await assertRejects(() => pool.reserve(request("b", 200)), PoolRefusalError);
  assertStringIncludes(error.refusal.next, `lab.claim({ memory: "700M" })`);
  assertStringIncludes(
    error.refusal.actual,
    "b holds 500 MiB and wants 200 MiB more, while a does the same",
  );
  b.release();
  (await moreOfA).release();
  a.release();
});

Deno.test("Pool never refuses processors, and lets files share them", async () => {
  const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 2 });
  const grants: PoolGrant[] = [];
  for (let i = 0; i < 5; i++) grants.push(await pool.reserve(request("a", 10)));
  const b = pool.reserve(request("b", 10));
  assertEquals(await isSettled(b), false);
  for (const grant of grants) grant.release();
  (await b).release();
});

Deno.test("Pool takes back what a file held and forgets what it waited for when its process ends", async () => {
  const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 10 });
  await pool.reserve(request("a", 600));
  const x = await pool.reserve(request("x", 300));
  const b = pool.reserve(request("b", 500));
  void pool.reserve(request("a", 200));
  pool.endFile("a");
  (await b).release();
  x.release();
  assertEquals(pool.used.memoryBytes, 0);
});

Deno.test("Pool gives a wait up when its signal aborts, before and after", async () => {
  const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 10 });
  const a = await pool.reserve(request("a", 900));
  const abort = new AbortController();
  const b = pool.reserve(request("b", 500), abort.signal);
  const reason = new Error("enough");
  abort.abort(reason);
  assertEquals(await b.catch((error) => error), reason);
  assertEquals(await pool.reserve(request("b", 1), abort.signal).catch((error) => error), reason);
  a.release();
  (await pool.reserve(request("c", 1000))).release();
});

Deno.test("Pool pauses while the host is short of memory, but not when nothing of ours runs", async () => {
  let short = true;
  const pool = new Pool({
    memoryBytes: 1000 * MIB,
    cpus: 10,
    isShort: () => Promise.resolve(short),
  });
  const a = await pool.reserve(request("a", 100));
  const b = pool.reserve(request("b", 100));
  assertEquals(await isSettled(b), false);
  short = false;
  (await b).release();
  a.release();
  pool.close();
});

Deno.test("isMemoryShort() reads the kernel's figure and takes a missing one for no", async () => {
  const path = await Deno.makeTempFile();
  const figures = (avg: string) =>
    `some avg10=99.00 avg60=0.00\nfull avg10=${avg} avg60=0.00 avg300=0.00 total=1\n`;
  await Deno.writeTextFile(path, figures("0.00"));
  assertEquals(await isMemoryShort(path), false);
  await Deno.writeTextFile(path, figures("35.20"));
  assertEquals(await isMemoryShort(path), true);
  await Deno.remove(path);
  assertEquals(await isMemoryShort(path), false);
});
