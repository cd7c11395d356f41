import { assert, assertEquals } from "@std/assert";
import { linkOf } from "../../src/lab/_link.ts";
import { LIMITS, toBytes } from "../../src/wire/mod.ts";
import { DENO_FLAGS } from "../runner/_belljar.ts";
import { AT_ONCE, FLOW_BYTES, type FlowFigures } from "./_flow.ts";
import { sharedMachine } from "./_lab.ts";

const MIB = 1024 * 1024;
const { test } = sharedMachine("stalled");

Deno.test("1 GiB of output grows neither side, and delays nobody", async (t) => {
  const script = new URL("./_flow.ts", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-check", ...DENO_FLAGS, script],
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  assertEquals(code, 0, text.decode(stderr));
  const figures: FlowFigures = JSON.parse(text.decode(stdout));
  const { bytes, harnessGrowth, agentGrowthKb, others, slowestMs, own } = figures;
  const growth = `harness +${(harnessGrowth / MIB).toFixed(1)} MiB, agent +${agentGrowthKb} KiB`;
  await t.step(`${growth}; ${others} others, longest ${slowestMs.toFixed(0)} ms`, () => {
    assertEquals(bytes, FLOW_BYTES);
    assert(harnessGrowth < 64 * MIB);
    assert(agentGrowthKb < 16 * 1024);
    // It flows for seconds: operations that waited for its end would be few.
    assert(others >= 3);
  });
  assertEquals(own, Array.from({ length: AT_ONCE }, (_, i) => String(i)));
});

test("a stream that nobody reads stops its process, and nothing else", async (vm) => {
  const client = linkOf(vm).client("test");
  const before = await vm.counters();
  const stream = client.openStream("in");
  const proc = client.newId();
  const { pid } = await client.request("spawn", {
    proc,
    argv: ["/bin/cat", "/dev/zero"].map(toBytes),
    stdout: stream.id,
  });
  // Asleep with its pipe full: the agent has sent what was granted, and reads no more.
  await vm.waitUntil(
    async () => (await vm.readTextFile(`/proc/${pid}/wchan`)).includes("pipe_write"),
    { timeout: 60, interval: 0.05 },
  );
  const { bytesIn } = client.stats;
  for (let i = 0; i < 50; i++) assertEquals((await vm.run(`echo ${i}`)).stdout, `${i}\n`);
  assert((await vm.counters()).rssKb - before.rssKb < 4 * 1024);
  assert((await vm.readTextFile(`/proc/${pid}/wchan`)).includes("pipe_write"));
  assert(client.stats.bytesIn - bytesIn < LIMITS.INITIAL_CREDIT, "data came without credit");
  await client.request("procSignal", { proc, sig: 9, target: 2 });
  stream.discard();
  await client.request("procRelease", { proc }).catch(() => {}); // its end may not be known yet
});
