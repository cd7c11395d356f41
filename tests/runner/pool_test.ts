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

Deno.test("Pool charges a clone half of its memory first, then what it uses, and never more than it has", async () => {
  const used = new Map([[1, 60 * MIB], [2, 190 * MIB]]);
  const pool = new Pool({
    memoryBytes: 1000 * MIB,
    cpus: 10,
    memoryOf: (pid) => Promise.resolve(used.get(pid)),
  });
  const mib = () => pool.used.memoryBytes / MIB;
  const first = await pool.reserve(request("a", 256));
  assertEquals(mib(), 256);
  first.isClone(1);
  assertEquals(mib(), 128);
  const second = await pool.reserve(request("b", 256));
  second.isClone(2);
  assertEquals(mib(), 256);
  // Nobody has to wait: nobody looks.
  const booted = await pool.reserve(request("c", 600));
  assertEquals(mib(), 856);
  const waiting = pool.reserve(request("d", 60));
  const grant = await waiting;
  assertEquals(mib(), 916);
  // Half of each was too much for one and too little for the other: 90 and 256 instead of 128 and 128.
  const late = pool.reserve(request("e", 100));
  assertEquals(await isSettled(late), false);
  assertEquals(mib(), 90 + 256 + 600 + 60);
  used.set(2, 100 * MIB);
  grant.release();
  (await late).release();
  assertEquals(mib(), 90 + 150 + 600);
  // What cannot be measured is charged as before; the charge ends with the grant.
  used.clear();
  for (const one of [first, second, booted]) one.release();
  first.isClone(1);
  assertEquals(pool.used, { memoryBytes: 0, cpus: 0, files: 0 });
});

Deno.test("Pool lets those wait no longer than a clone is known to be one", async () => {
  const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 10, memoryOf: () => Promise.resolve(0) });
  const first = await pool.reserve(request("a", 800));
  const second = pool.reserve(request("b", 500));
  assertEquals(await isSettled(second), false);
  first.isClone(Deno.pid);
  (await second).release();
  first.release();
  assertEquals(pool.used.files, 0);
});

Deno.test("Pool tells a file with clones to claim all of their memory", async () => {
  const pool = new Pool({ memoryBytes: 800 * MIB, cpus: 10, memoryOf: () => Promise.resolve(0) });
  const held = await Promise.all(["a", "b"].map((file) => pool.reserve(request(file, 400))));
  held[0]!.isClone(1); // 100 MiB once it is measured
  const first = pool.reserve(request("b", 390));
  assertEquals(await isSettled(first), false);
  const error = await assertRejects(() => pool.reserve(request("a", 390)), PoolRefusalError);
  assertStringIncludes(error.refusal.next, 'memory: "790M"');
  held[0]!.release();
  for (const grant of [held[1]!, await first]) grant.release();
});

Deno.test("Pool measures clones by what the host says of their processes", async () => {
  const pool = new Pool({ memoryBytes: 4 * 1024 * MIB, cpus: 10 });
  const grant = await pool.reserve(request("a", 4 * 1024));
  grant.isClone(Deno.pid);
  const more = await pool.reserve(request("b", 2_500));
  const charged = pool.used.memoryBytes - 2_500 * MIB;
  assertEquals(charged, 1024 * MIB); // This process uses less than the least share.
  grant.release();
  more.release();
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

Deno.test("Pool.spare() is granted at once or not at all, and given back to who waits", async () => {
  const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 2 });
  const a = await pool.reserve(request("a", 500));
  const reclaimed: string[] = [];
  const spare = (file: string, mib: number) =>
    pool.spare({ file, memoryBytes: mib * MIB }, () => reclaimed.push(file));
  assertEquals(await spare("a", 501), undefined);
  const first = await spare("a", 300);
  const second = await spare("b", 100);
  assertEquals(pool.used, { memoryBytes: 900 * MIB, cpus: 1, files: 1 });
  const waiting = pool.reserve(request("c", 400));
  assertEquals(await isSettled(waiting), false);
  assertEquals(reclaimed, ["a", "b"]);
  assertEquals(await spare("a", 1), undefined, "somebody waits");
  second!.release();
  assertEquals(await isSettled(waiting), false);
  first!.release();
  first!.release();
  (await waiting).release();
  a.release();
  assertEquals(pool.used, { memoryBytes: 0, cpus: 0, files: 0 });
});

Deno.test("Pool counts spares neither against their own file nor as what others wait for", async (t) => {
  await t.step("a file may have all the memory although it has spares", async () => {
    const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 2 });
    const spare = await pool.spare({ file: "a", memoryBytes: 600 * MIB }, () => spare!.release());
    const grant = await pool.reserve(request("a", 1000));
    assertEquals(pool.used.memoryBytes, 1000 * MIB);
    grant.release();
  });
  await t.step("files that hold and wait are told once the spares are back", async () => {
    const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 4 });
    const [a, b] = [await pool.reserve(request("a", 450)), await pool.reserve(request("b", 450))];
    const spare = await pool.spare({ file: "b", memoryBytes: 100 * MIB }, () => {});
    const first = pool.reserve(request("a", 200));
    const second = pool.reserve(request("b", 200));
    second.catch(() => {}); // awaited below
    assertEquals([await isSettled(first), await isSettled(second)], [false, false]);
    spare!.release();
    const error = await assertRejects(() => second, PoolRefusalError);
    assertStringIncludes(error.message, "it would wait for ever");
    b.release();
    (await first).release();
    a.release();
  });
  await t.step("a file that ends gives its spares back", async () => {
    const pool = new Pool({ memoryBytes: 1000 * MIB, cpus: 2 });
    await pool.spare({ file: "a", memoryBytes: 600 * MIB }, () => {});
    const waiting = pool.reserve(request("b", 1000));
    assertEquals(await isSettled(waiting), false);
    pool.endFile("a");
    (await waiting).release();
    assertEquals(pool.used.memoryBytes, 0);
  });
  await t.step("a host that is short of memory has none to spare", async () => {
    const pool = new Pool({
      memoryBytes: 1000 * MIB,
      cpus: 2,
      isShort: () => Promise.resolve(true),
    });
    assertEquals(await pool.spare({ file: "a", memoryBytes: MIB }, () => {}), undefined);
  });
});
