import { assert, assertEquals } from "@std/assert";
import { closeCurrentRun, isLive, procStat } from "../../src/host/mod.ts";
import { background, jobs } from "../../src/jobs/mod.ts";
import { Scope } from "../../src/scope/mod.ts";
import { jobCases, type Place } from "./_cases.ts";

async function openHost(): Promise<Place> {
  const scope = new Scope("case");
  const tmp = await Deno.realPath(await Deno.makeTempDir());
  return {
    tmp,
    background: (command, options) => scope.run(() => background(command, options)),
    alive: async (pid) => {
      const stat = await procStat(pid);
      return stat !== undefined && isLive(stat);
    },
    exists: (path) => Deno.stat(path).then(() => true, () => false),
    scope,
    async [Symbol.asyncDispose]() {
      await scope[Symbol.asyncDispose]();
      await closeCurrentRun();
      jobs.cleanup();
      await Deno.remove(tmp, { recursive: true });
    },
  };
}

jobCases("host", openHost);

Deno.test("jobs #39 on the host: 1 GiB of output needs little memory", async () => {
  await using place = await openHost();
  const other = await place.background("sleep 60");
  const before = Deno.memoryUsage().rss;
  let peak = before;
  const watch = setInterval(() => peak = Math.max(peak, Deno.memoryUsage().rss), 20);
  const job = await place.background("head -c 1073741824 /dev/zero");
  let slowest = 0;
  while (job.state === "running") {
    const started = performance.now();
    assertEquals((await other.wait(0)).running, true);
    slowest = Math.max(slowest, performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  clearInterval(watch);
  assert(slowest < 100, `a poll took ${slowest} ms`);
  const { status } = await job.wait(60);
  const { totalWritten, currentSize, bytesEvicted } = job.stdout.stats();
  assertEquals(
    [status, totalWritten, currentSize, bytesEvicted],
    ["done:0", 1_073_741_824, 1_048_576, 1_072_693_248],
  );
  assert(peak - before < 64 * 1024 * 1024, `RSS grew by ${peak - before}`);
});
