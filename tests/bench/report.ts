/** How rows are shown, and on what machine they were taken. */
import { findQemu } from "../../src/vmm/mod.ts";
import type { Row } from "./measure.ts";

/** The machine that the figures are from. */
export interface HostFacts {
  cpu: string;
  cores: number;
  memoryGiB: number;
  kernel: string;
  qemu: string;
  deno: string;
  /** How machines ran, and why so. */
  accelerator: string;
  acceleratorWhy: string;
  /** Load of the last minute when it began and ended: what else went on. */
  loadBefore: number;
  loadAfter: number;
}

/** What `--json` keeps. */
export interface Report {
  version: 1;
  startedAt: string;
  seconds: number;
  quick: boolean;
  host: HostFacts;
  rows: Row[];
}

/** Describes this host but for its accelerator, which the first machine tells. */
export async function describeHost(): Promise<
  Omit<HostFacts, "accelerator" | "acceleratorWhy" | "loadAfter">
> {
  const cpu = /^model name\s*: (.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1];
  return {
    cpu: cpu ?? "unknown",
    cores: navigator.hardwareConcurrency,
    memoryGiB: Math.round(Deno.systemMemoryInfo().total / 1024 ** 3),
    kernel: Deno.osRelease(),
    qemu: (await findQemu()).version,
    deno: Deno.version.deno,
    loadBefore: load(),
  };
}

/** Runnable and running processes, on average over the last minute. */
export function load(): number {
  return Number(Deno.loadavg()[0]!.toFixed(2));
}

/** The report in Markdown. */
export function markdown({ host, rows, quick, startedAt, seconds }: Report): string {
  const facts = [
    `${host.cores} cores of ${host.cpu}, ${host.memoryGiB} GiB, Linux ${host.kernel}`,
    `QEMU ${host.qemu}, Deno ${host.deno}, ${host.accelerator}`,
    `load ${host.loadBefore} before and ${host.loadAfter} after; ${quick ? "with --quick, " : ""}${
      Math.round(seconds)
    } s from ${startedAt}`,
  ];
  return `${facts.join("  \n")}\n\n${markdownTable(rows)}`;
}

/** Shows rows as a Markdown table. */
export function markdownTable(rows: readonly Row[]): string {
  const lines = rows.map(({ measure, result, target, met }) => {
    const verdict = met === undefined ? "" : met ? "met" : "**missed**";
    return `| ${[measure, result, target ?? "", verdict].map(cell).join(" | ")} |`;
  });
  return ["| measure | result | target | |", "| --- | --- | --- | --- |", ...lines].join("\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll(/\s*\n\s*/g, " ");
}
