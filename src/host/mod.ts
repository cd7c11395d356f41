/** What the harness has and does on the host: run folders, guarded processes, locks, limits. @module */
export * from "./cache_dir.ts";
export * from "./end_processes.ts";
export * from "./file_lock.ts";
export { type AgentBinary, spawnDetached } from "./guard.ts";
export * from "./limits.ts";
export * from "./owned_dir.ts";
export * from "./proc.ts";
export * from "./processors.ts";
export { createRunDir, MAX_RUN_DIR, type RunDir, runRoot } from "./run_dir.ts";
export * from "./run.ts";
export * from "./sweep.ts";
