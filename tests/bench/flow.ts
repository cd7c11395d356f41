/** 1 GiB of output from one process: what it costs the harness, and what it does to others. */
import type { FlowFigures } from "../vm/_flow.ts";
import { type Bench, dependencyFlags, output, ROOT } from "./bench.ts";
import { mib, ms, type Row } from "./measure.ts";

/** Rows of `output`. Each flow is a harness of its own, so that nothing else is in its memory. */
export async function outputRows(bench: Bench): Promise<Row[]> {
  const runs = bench.effort.flows;
  bench.tell(`${runs} × 1 GiB, each by a harness of its own`);
  const all: FlowFigures[] = [];
  for (let i = 0; i < runs; i++) {
    const args = ["run", "-A", "-q", "--no-check", ...dependencyFlags(), "tests/vm/_flow.ts"];
    all.push(JSON.parse(await output(bench, Deno.execPath(), { args, cwd: ROOT })));
  }
  const growth = Math.max(...all.map(({ harnessGrowth }) => harnessGrowth));
  const agentKb = Math.max(...all.map(({ agentGrowthKb }) => agentGrowthKb));
  const slowestMs = Math.max(...all.map(({ slowestMs }) => slowestMs));
  const others = all.reduce((sum, { others }) => sum + others, 0);
  return [
    {
      id: "output.memory",
      measure: "1 GiB of output from one process: growth of the harness",
      result: `${mib(growth)}; of the agent ${mib(agentKb * 1024)}`,
      target: "< 64 MiB",
      met: growth < 64 * 1024 ** 2,
      values: { harnessBytes: growth, agentBytes: agentKb * 1024, runs },
    },
    {
      id: "output.others",
      measure:
        "… meanwhile the slowest of other operations on the machine (a file written and read)",
      result: `${ms(slowestMs)} of ${others}`,
      target: "< 100 ms",
      met: slowestMs < 100,
      values: { slowestMs, others, runs },
    },
  ];
}
