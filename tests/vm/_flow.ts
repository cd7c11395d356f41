/**
 * A harness that does one thing, run by flow_test.ts in a process of its own: what the test runner keeps must not count.
 * It prints its figures as one line of JSON.
 */
import { closeCurrentRun } from "../../src/host/mod.ts";
import { lab, type Vm } from "../../src/lab/mod.ts";
import { Scope } from "../../src/scope/mod.ts";

/** What the flow did to the harness, the agent and others. */
export interface FlowFigures {
  /** Bytes that came. */
  bytes: number;
  /** How much more memory the harness had at most than before, in bytes. */
  harnessGrowth: number;
  /** How much more memory the agent had in the end than before, in KiB. */
  agentGrowthKb: number;
  /** Other operations while the output flowed, and the longest of them in milliseconds. */
  others: number;
  slowestMs: number;
  /** Results of 200 operations that were begun at once while another output flowed. */
  own: string[];
}

/** Size of the output. */
export const FLOW_BYTES = 1024 ** 3;
/** Operations at once. */
export const AT_ONCE = 200;

const SAMPLE_MS = 100;

async function memoryOf(field: "VmRSS" | "VmHWM"): Promise<number> {
  const status = await Deno.readTextFile("/proc/self/status");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)![1]) * 1024;
}

/** Operations of several kinds, begun at once while another output flows; makes what the first use makes besides. */
async function atOnce(vm: Vm): Promise<string[]> {
  await using _output = await vm.runAsync("yes");
  return await Promise.all(
    Array.from({ length: AT_ONCE }, async (_, i) => {
      if (i % 4 === 0) return (await vm.run("echo", { args: [String(i)] })).stdout.trim();
      if (i % 4 === 1) return String((await vm.syscall("lseek", 0, i, 99)).errno && i);
      await vm.writeFile(`/tmp/own${i}`, String(i));
      return await vm.readTextFile(`/tmp/own${i}`);
    }),
  );
}

async function flow(): Promise<FlowFigures> {
  await using scope = new Scope("flow", { kind: "test" });
  return await scope.run(async () => {
    const vm = await lab.vm("flow", "tiny").boot();
    const own = await atOnce(vm);
    const agentBefore = (await vm.counters()).rssKb;
    const before = await memoryOf("VmRSS");
    await Deno.writeTextFile("/proc/self/clear_refs", "5"); // the highest mark starts anew
    const process = await vm.runAsync("head", { args: ["-c", String(FLOW_BYTES), "/dev/zero"] });
    let others = 0;
    let slowestMs = 0;
    while ((await process.status()).running) {
      const began = performance.now();
      await vm.writeFile("/tmp/other", String(others));
      if (await vm.readTextFile("/tmp/other") !== String(others)) throw new Error("another's text");
      slowestMs = Math.max(slowestMs, performance.now() - began);
      others++;
      // A sample now and then: the guest has one processor, and the output shall have most of it.
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    }
    const result = await process.wait("10m");
    result.assertOk();
    return {
      bytes: process.job.stdout.stats().totalWritten,
      harnessGrowth: await memoryOf("VmHWM") - before,
      agentGrowthKb: (await vm.counters()).rssKb - agentBefore,
      others,
      slowestMs,
      own,
    };
  });
}

if (import.meta.main) {
  try {
    const figures = await flow();
    await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(figures)}\n`));
  } finally {
    await closeCurrentRun();
  }
}
