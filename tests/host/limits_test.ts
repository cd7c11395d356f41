import { assert, assertEquals } from "@std/assert";
import { controlGroupDirs, freeSpace, hostLimits, parseCpuMax } from "../../src/host/mod.ts";

Deno.test("controlGroupDirs() walks up both kinds of control groups", () => {
  const v2 = controlGroupDirs("0::/user.slice/app\n").map(({ path }) => path);
  assertEquals(v2, [
    "/sys/fs/cgroup/user.slice/app",
    "/sys/fs/cgroup/user.slice",
    "/sys/fs/cgroup",
  ]);
  const v1 = controlGroupDirs("5:cpu,memory:/docker/1\n3:freezer:/x\n");
  assertEquals(v1.map(({ path }) => path), [
    "/sys/fs/cgroup/memory/docker/1",
    "/sys/fs/cgroup/memory/docker",
    "/sys/fs/cgroup/memory",
  ]);
  assertEquals(v1[0]?.memoryMax, "memory.limit_in_bytes");
});

Deno.test("parseCpuMax() reads quotas", async (t) => {
  const rows = [["max 100000", undefined], ["150000 100000", 1.5], ["", undefined]] as const;
  for (const [text, cores] of rows) {
    await t.step(JSON.stringify(text), () => assertEquals(parseCpuMax(text), cores));
  }
});

Deno.test("hostLimits() never promises more than the machine has", async () => {
  const limits = await hostLimits();
  assert(limits.cores > 0 && limits.cores <= navigator.hardwareConcurrency);
  assert(limits.memoryAvailableBytes > 0);
  assert(limits.memoryAvailableBytes <= limits.memoryBytes);
  assert(limits.memoryBytes <= Deno.systemMemoryInfo().total);
});

Deno.test("freeSpace() is at most the size", async () => {
  const { freeBytes, sizeBytes } = await freeSpace("/tmp");
  assert(freeBytes > 0 && freeBytes <= sizeBytes);
});
