/** What the steps from a machine to a template, and from a running machine to clones of it, take. */
import { resolveImage } from "../../src/image/mod.ts";
import { type Machine, QemuVmm, type SavedState } from "../../src/vmm/mod.ts";
import { bytesOf } from "../../src/vmm/qemu/template_store.ts";
import { type Bench, freshDir } from "./bench.ts";
import { clientOf } from "./lines.ts";
import { median, mib, ms, type Row } from "./measure.ts";

/** Rows of `snapshot`. */
export async function snapshotRows(bench: Bench): Promise<Row[]> {
  const image = await resolveImage("tiny");
  const spec = { image, memoryBytes: 256 * 1024 ** 2, cpus: 1 };
  const samples: Record<string, number[]> = {};
  const note = (name: string, value: number) => (samples[name] ??= []).push(value);
  const rounds = Math.ceil(bench.effort.rounds / 2);
  bench.tell(`${rounds} templates, each with a snapshot of a clone of it`);
  for (let round = 0; round < rounds; round++) {
    // A cache without templates; the accelerator is known to the process already, or found out again.
    const cache = await freshDir(bench);
    const vmm = new QemuVmm({ run: () => Promise.resolve(bench.run), cache });
    await using machine = await vmm.launch({ ...spec, name: "bench-saved" });
    note("templateMs", machine.info.timings.templateMs ?? NaN);
    note("templateBytes", await templateBytes(cache));
    await clientOf(machine).request("ping", {});
    await using saved = await machine.save();
    const full = await Deno.stat(`${saved.path}/full`).catch(() => undefined); // settled already
    if (full) note("fullBytes", full.size);
    await saved.settled();
    note("saveMs", saved.timings.saveMs);
    note("settleMs", saved.timings.settleMs);
    note("settledBytes", saved.size);
    for (let i = 0; i < 3; i++) note("cloneMs", await restore(vmm, saved, spec));
    await Deno.remove(cache, { recursive: true });
  }
  const of = (name: string) => median(samples[name] ?? [NaN]);
  return [
    {
      id: "snapshot.template",
      measure: "template of a 256 MiB machine, once per image: boot, save, close",
      result: `${ms(of("templateMs"))}, ${mib(of("templateBytes"))} on disk`,
      values: { ms: of("templateMs"), bytes: of("templateBytes"), runs: rounds },
    },
    {
      id: "snapshot.save",
      measure: "snapshot of a running machine: it stands still for",
      result: `${ms(of("saveMs"))}; ${mib(of("fullBytes"))} of state`,
      values: { ms: of("saveMs"), bytes: of("fullBytes"), runs: rounds },
    },
    {
      id: "snapshot.settle",
      measure: "… then settles, off the test's path",
      result: `${ms(of("settleMs"))}; ${mib(of("settledBytes"))} on disk`,
      values: { ms: of("settleMs"), bytes: of("settledBytes"), runs: rounds },
    },
    {
      id: "snapshot.clone",
      measure: "… and a machine from it, to its first reply",
      result: ms(of("cloneMs")),
      values: { ms: of("cloneMs"), runs: samples.cloneMs?.length ?? 0 },
    },
  ];
}

async function restore(
  vmm: QemuVmm,
  saved: SavedState,
  spec: Omit<Parameters<QemuVmm["restore"]>[1], "name">,
): Promise<number> {
  const began = performance.now();
  await using machine: Machine = await vmm.restore(saved, { ...spec, name: "bench-restored" });
  await clientOf(machine).request("ping", {});
  return performance.now() - began;
}

async function templateBytes(cache: string): Promise<number> {
  for await (const { name, isDirectory } of Deno.readDir(`${cache}/templates`)) {
    if (isDirectory) return await bytesOf(`${cache}/templates/${name}`);
  }
  return NaN;
}
