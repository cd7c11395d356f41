import { assert, assertEquals } from "@std/assert";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("busy");

test("9: 200 operations at once get each its own result, out of order", async (vm) => {
  const order: number[] = [];
  const results = await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    const result = i % 20 === 0
      ? (await vm.run(`sleep 0.${i % 3}; echo ${i}`)).stdout.trim()
      : i % 2 === 0
      ? await vm.writeFile(`/tmp/n${i}`, String(i)).then(() => vm.readTextFile(`/tmp/n${i}`))
      : String((await vm.stat("/proc/self/fd")).isDirectory && i);
    order.push(i);
    return result;
  }));
  assertEquals(results, Array.from({ length: 200 }, (_, i) => String(i)));
  assert(
    order.some((n, i) => i > 0 && n < order[i - 1]!),
    "answers came in the order of questions",
  );
});

test("9: an operation that blocks delays no other", async (vm) => {
  await vm.mknod("/tmp/fifo", 0o010600);
  let released = false;
  const blocked = vm.readTextFile("/tmp/fifo").finally(() => released = true);
  const sleeping = vm.run("sleep 5; echo slept");
  for (let i = 0; i < 20; i++) {
    await vm.stat("/tmp");
    await vm.writeFile("/tmp/other", String(i));
    assertEquals((await vm.run("true")).exitCode, 0);
  }
  assertEquals(released, false);
  await vm.writeFile("/tmp/fifo", "at last");
  assertEquals(await blocked, "at last");
  const { stdout, elapsed } = await sleeping;
  assertEquals(stdout, "slept\n");
  // It has slept a little before the harness knows its pid, and by the guest's clock.
  assert(elapsed >= 4.8, `it slept ${elapsed} s`);
});

test("9: output that nobody reads delays no other operation", async (vm) => {
  await using proc = await vm.runAsync("yes");
  for (let i = 0; i < 10; i++) assertEquals((await vm.run(`echo ${i}`)).stdout, `${i}\n`);
  assert(proc.job.stdout.stats().totalWritten > 0);
});

test("batch() sends many operations at once, and gives an outcome for each", async (vm) => {
  const items = await vm.batch((b) => {
    b.writeFile("/tmp/batch", "x");
    b.stat("/proc");
    b.readFile("/no/such");
    b.syscall("getppid");
  });
  assertEquals(items.map((item) => "ok" in item), [true, true, false, true]);
  assertEquals((items[2] as { err: { errno: string } }).err.errno, "ENOENT");
});

test("waitUntil() sees what a process does", async (vm) => {
  await using _proc = await vm.runAsync("sleep 0.5; touch /tmp/ready; sleep 30");
  assertEquals(
    await vm.waitUntil(() => vm.exists("/tmp/ready"), { interval: 0.05, timeout: 30 }),
    true,
  );
});
