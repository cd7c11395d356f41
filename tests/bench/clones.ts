/** Memory of ten clones together, against one machine that was booted. */
import { processMemory } from "../../src/host/mod.ts";
import { resolveImage } from "../../src/image/mod.ts";
import { vmmFor } from "../../src/vmm/mod.ts";
import type { Bench } from "./bench.ts";
import { clientOf } from "./lines.ts";
import { median, mib, ms, type Row, times } from "./measure.ts";

const CLONES = 10;

/** Rows of `clones`. */
export async function clonesRows({ effort, tell }: Bench): Promise<Row[]> {
  const vmm = await vmmFor();
  const image = await resolveImage("tiny");
  const spec = { image, memoryBytes: 256 * 1024 ** 2, cpus: 1 };
  const cold = async () => {
    await using machine = await vmm.launch({ ...spec, name: "cold", cold: true });
    await clientOf(machine).request("ping", {});
    return await pss(machine.info.pid);
  };
  const clones = async () => {
    await using opened = new AsyncDisposableStack();
    const began = performance.now();
    const started = await Promise.allSettled(
      Array.from({ length: CLONES }, (_, i) => vmm.launch({ ...spec, name: `clone${i}` })),
    );
    for (const each of started) if (each.status === "fulfilled") opened.use(each.value);
    const machines = started.map((each) => {
      if (each.status === "rejected") throw each.reason;
      return each.value;
    });
    await Promise.all(machines.map((each) => clientOf(each).request("ping", {})));
    const elapsedMs = performance.now() - began;
    const each = await Promise.all(machines.map(({ info }) => pss(info.pid)));
    return { bytes: each.reduce((sum, bytes) => sum + bytes, 0), elapsedMs };
  };
  {
    await using _first = await vmm.launch({ ...spec, name: "first" }); // builds the template
  }
  const rounds = Math.ceil(effort.rounds / 2);
  tell(`${rounds} rounds of one cold boot and ${CLONES} clones`);
  const coldBytes: number[] = [];
  const all: { bytes: number; elapsedMs: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    coldBytes.push(await cold());
    all.push(await clones());
  }
  const one = median(coldBytes);
  const total = median(all.map(({ bytes }) => bytes));
  const elapsedMs = median(all.map(({ elapsedMs }) => elapsedMs));
  const ratio = total / one;
  return [
    {
      id: "clones.memory",
      measure: `${CLONES} clones of a 256 MiB machine: total PSS, against one that was booted`,
      result: `${mib(total)} against ${mib(one)}: ${times(ratio)}`,
      target: "≤ 3 ×",
      met: ratio <= 3,
      values: { totalBytes: total, coldBytes: one, ratio, runs: rounds },
    },
    {
      id: "clones.at-once",
      measure: `${CLONES} clones at once, until all have answered`,
      result: ms(elapsedMs),
      target: "≤ 3 s",
      met: elapsedMs <= 3_000,
      values: { elapsedMs, runs: rounds },
    },
  ];
}

async function pss(pid: number): Promise<number> {
  const memory = await processMemory(pid);
  if (!memory) throw new Error(`process ${pid} has ended`);
  return memory.pssBytes;
}
