/** Runs test files: one process each. @module */
export * from "./changed.ts";
export * from "./child_command.ts";
export * from "./discover.ts";
export * from "./event_file.ts";
export * from "./fixtures/mod.ts";
export {
  installMachineDefaults,
  MACHINE_VARIABLES,
  type MachineDefaults,
  machineDefaults,
} from "./machine_defaults.ts";
export * from "./merge_runs.ts";
export type { RunSummary } from "./run_summary.ts";
export * from "./run_tests.ts";
export * from "./shard.ts";
export * from "./timings.ts";
export {
  type BelljarConfig,
  CONFIG_FILE,
  defineConfig,
  findConfig,
  loadConfig,
  type LoadedConfig,
} from "./config.ts";
export type { ListedTest } from "./protocol.ts";
