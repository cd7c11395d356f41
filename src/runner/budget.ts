import { hostLimits } from "../host/mod.ts";

/** What a run may use of its host. */
export interface Budget {
  /** Files that run at the same time. */
  jobs: number;
  /** Memory of all machines together, in bytes. */
  memoryBytes: number;
  /** Processors of all machines together. */
  cpus: number;
}

/** What the user says about the budget. */
export interface BudgetOptions {
  /** As many as there are cores by default. */
  jobs?: number;
  /** 80 % of the host's by default. */
  memoryBytes?: number;
  /** `cpuOvercommit` times the host's by default. */
  cpus?: number;
  /** @default {8} */
  cpuOvercommit?: number;
}

/** Part of the host's memory that machines may use. */
const MEMORY_SHARE = 0.8;
/** Machines are idle most of the time: so many of their processors share one of the host's. */
const CPU_OVERCOMMIT = 8;

/** The budget of a run of so many files on this host. */
export async function budgetFor(options: BudgetOptions, files: number): Promise<Budget> {
  const limits = await hostLimits();
  const { cpuOvercommit = CPU_OVERCOMMIT } = options;
  return {
    jobs: options.jobs ?? Math.max(1, Math.min(files, Math.floor(limits.cores))),
    memoryBytes: options.memoryBytes ?? Math.floor(limits.memoryBytes * MEMORY_SHARE),
    cpus: options.cpus ?? limits.cores * cpuOvercommit,
  };
}
