/** What an idle machine costs the harness. */
import { type Bench, dependencyFlags, output, ROOT } from "./bench.ts";
import type { IdleFigures } from "./idle_machines.ts";
import { mib, type Row } from "./measure.ts";

/** Rows of `idle`. */
export async function idleRows(bench: Bench): Promise<Row[]> {
  bench.tell("clones that do nothing, held by a harness of their own");
  const flags = ["--v8-flags=--expose-gc", "--no-check", ...dependencyFlags()];
  const args = ["run", "-A", "-q", ...flags, "tests/bench/idle_machines.ts"];
  const text = await output(bench, Deno.execPath(), { args, cwd: ROOT });
  const { machines, harnessBytes, watcherBytes }: IdleFigures = JSON.parse(text);
  const perMachine = (harnessBytes + watcherBytes) / machines;
  return [{
    id: "idle",
    measure: "memory of the harness per idle machine, without QEMU",
    result: `${mib(perMachine)} (${mib(harnessBytes / machines)} in the harness, ${
      mib(watcherBytes / machines)
    } in what watches QEMU)`,
    target: "< 1 MiB",
    met: perMachine < 1024 ** 2,
    values: { machines, perMachineBytes: perMachine, harnessBytes, watcherBytes },
  }];
}
