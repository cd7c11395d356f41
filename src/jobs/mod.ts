/** Jobs: processes of guests and of this host, tasks, their output and their results. @module */
export type { OutputBytes, OutputChunk } from "./output_buffer.ts";
export * from "./errors.ts";
export { commandArgv, commandText } from "./command.ts";
export { type GuestJobSpec, startGuestJob, SuspendedProcesses } from "./guest_driver.ts";
export { background, BACKGROUND_OPTIONS } from "./host_driver.ts";
export { createJobTable, jobOf, jobs } from "./job_table.ts";
export type {
  AdoptedProcess,
  JobOptions,
  JobTable,
  JobTableOptions,
  ShutdownReport,
} from "./job_table_types.ts";
export type {
  JobFilter,
  JobListener,
  JobView,
  ViewWaitOptions,
  WaitAllResult,
} from "./job_view.ts";
export { type LogMatch, LogWaitError, type LogWaitOptions } from "./log_match.ts";
export {
  DEFAULT_BUFFER_SIZE,
  DEFAULT_HEAD_BYTES,
  OutputBuffer,
  type OutputBufferOptions,
  type OutputLinesOptions,
  type OutputStreamOptions,
} from "./output_buffer.ts";
export { setOutputRoot } from "./output_root.ts";
export { pruneOrphanedOutput, type PruneReport } from "./prune.ts";
export { outcome, Result, statusOf } from "./result.ts";
export { loadServices } from "./load_services.ts";
export {
  clearPort,
  freePort,
  portOwner,
  type PortWaitOptions,
  type ReservedPort,
  reservePort,
  waitForPortFree,
} from "./ports.ts";
export {
  type CommandProbeOptions,
  type FileProbeOptions,
  type LogProbeOptions,
  type Probe,
  probe,
  type ProbeAttempt,
  type ProbeBase,
  type ProbeContext,
  type ProbeOutcome,
  type TcpProbeOptions,
} from "./probe.ts";
export type { HttpProbeOptions } from "./_probe_network.ts";
export { runWithServices, type RunWithServicesOptions } from "./run_with_services.ts";
export * from "./service_errors.ts";
export * from "./service_types.ts";
export { service, services, startService, startServices, withServices } from "./services.ts";
export { type ForwardOptions, PortForward, type PortForwardParts } from "./port_forward.ts";
export { guestPlace, type GuestPlaceOptions } from "./guest_place.ts";
export type { ServicePlace } from "./service_place.ts";
export { type JobIo, type TaskResult } from "./task_job.ts";
export * from "./types.ts";
export * from "./wait_until.ts";
