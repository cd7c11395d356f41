import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { HostError } from "../../src/errors.ts";
import { SlotPool } from "../../src/runner/slot_pool.ts";
import { makeTempDir } from "../host/_temp.ts";

const MIB = 2 ** 20;
const request = (mib: number, signal?: AbortSignal) => ({
  memoryBytes: mib * MIB,
  cpus: 1,
  names: ["v"],
  signal,
});

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const late = new Promise((resolve) => setTimeout(() => resolve("late"), 300));
  return await Promise.race([promise.then(() => "done"), late]) === "done";
}

Deno.test("SlotPool lets processes share the memory of a host", async () => {
  await using dir = await makeTempDir();
  const open = () => new SlotPool({ dir: dir.path, memoryBytes: 1024 * MIB });
  const [one, other] = [open(), open()];
  const held = await one.reserve(request(512));
  const small = await other.reserve(request(100));
  const big = other.reserve(request(512));
  assertEquals(await isSettled(big), false);
  held.release();
  held.release();
  (await big).release();
  small.release();
  (await one.reserve(request(1024))).release();
});

Deno.test("SlotPool serves who holds something before those who wait", async () => {
  await using dir = await makeTempDir();
  const open = () => new SlotPool({ dir: dir.path, memoryBytes: 1024 * MIB });
  const [one, other] = [open(), open()];
  const held = await one.reserve(request(512));
  const all = other.reserve(request(1024));
  assertEquals(await isSettled(all), false);
  const more = await one.reserve(request(256));
  held.release();
  more.release();
  (await all).release();
});

Deno.test("SlotPool refuses what never fits at once, and what does not become free in time", async () => {
  await using dir = await makeTempDir();
  const open = () => new SlotPool({ dir: dir.path, memoryBytes: 1024 * MIB, waitMs: 100 });
  const [one, other] = [open(), open()];
  const error = await assertRejects(() => one.reserve(request(2048)), HostError);
  assertStringIncludes(error.message, "2 GiB of the 1 GiB");
  const [a, b] = [await one.reserve(request(512)), await other.reserve(request(256))];
  const sum = await assertRejects(() => one.reserve(request(600)), HostError);
  assertStringIncludes(sum.message, "holds 512 MiB already");
  const late = await assertRejects(() => one.reserve(request(512)), HostError);
  assertStringIncludes(late.message, `lab.claim({ memory: "1024M" })`);
  a.release();
  b.release();
});

Deno.test("SlotPool gives a wait up when its signal aborts, and leaves nothing locked", async () => {
  await using dir = await makeTempDir();
  const pool = new SlotPool({ dir: dir.path, memoryBytes: 256 * MIB });
  const other = new SlotPool({ dir: dir.path, memoryBytes: 256 * MIB });
  const held = await pool.reserve(request(256));
  const abort = new AbortController();
  const waiting = other.reserve(request(256, abort.signal));
  assertEquals(await isSettled(waiting.catch(() => {})), false);
  abort.abort(new Error("enough"));
  await assertRejects(() => waiting, Error, "enough");
  held.release();
  (await other.reserve(request(256))).release();
});

Deno.test("SlotPool.spare() leaves half of all to others, and is given back before its process waits", async () => {
  await using dir = await makeTempDir();
  const open = () => new SlotPool({ dir: dir.path, memoryBytes: 1024 * MIB, waitMs: 20_000 });
  const [one, other] = [open(), open()];
  const held = await one.reserve(request(256));
  const spare = await one.spare({ memoryBytes: 256 * MIB }, () => spare!.release());
  assertEquals(await other.spare({ memoryBytes: 128 * MIB }, () => {}), undefined);
  // Half is left: whoever has no spares gets that.
  const half = await other.reserve(request(512));
  assertEquals(
    await isSettled(other.reserve(request(128)).then((grant) => grant.release())),
    false,
  );
  const more = await one.reserve(request(256));
  half.release();
  for (const grant of [held, more]) grant.release();
  (await one.reserve(request(1024))).release();
});
