/** Labs: machines, their processes, files, streams, consoles and clocks. @module */
export type { OperationOptions } from "./_link.ts";
export type { FileData } from "./_transfer.ts";
export type { BootFileOptions, BootOptions, DiskOptions, VmOptions } from "./boot_options.ts";
export { Claim, type ClaimOptions } from "./claim.ts";
export { Clock, type ClockReading } from "./clock.ts";
export { Disk, type DiskParts } from "./disk.ts";
export { Console, type ConsoleStreamOptions } from "./console.ts";
export { allowConsole, type ConsoleFindingListener, onConsoleFinding } from "./console_rules.ts";
export * from "./errors.ts";
export { File } from "./file.ts";
export {
  buildFixture,
  collectFixture,
  defineFixture,
  type Fixture,
  type FixtureFunction,
  type FixtureOptions,
  type UseFixtureOptions,
} from "./fixture.ts";
export { Lab, lab } from "./lab.ts";
export type { OpenOptions } from "./open_flags.ts";
export { type BatchItem, type BatchOperations, GuestOperations } from "./operations.ts";
export type {
  FollowOptions,
  MkdirOptions,
  ReadFileOptions,
  RemoveOptions,
  WriteFileOptions,
} from "./operations_files.ts";
export type { GuestProcess, SyscallRef } from "./operations_syscall.ts";
export type { GuestPath } from "./paths.ts";
export { PendingSyscall, type SyscallState, type SyscallWhere } from "./pending_syscall.ts";
export {
  Process,
  type ProcessKillOptions,
  type ProcessStatus,
  type RunResult,
  type TerminalSize,
} from "./process.ts";
export * from "./providers.ts";
export { setStandbys, type SpareRequest, Standbys, type StandbysOptions } from "./standbys.ts";
export { ResetPoint } from "./reset_point.ts";
export type {
  LimitName,
  Limits,
  LimitValue,
  RunAsyncOptions,
  RunOptions,
  StartOptions,
} from "./run_options.ts";
export type { DirEntry, FileStat, FileSystemStat, FileType } from "./stat.ts";
export {
  type ByteSource,
  checkPatterns,
  type ExpectMatch,
  Stream,
  type StreamWaitOptions,
} from "./stream.ts";
export { type Arch, type IoctlName, type IoctlParts, sys, type SyscallName } from "./sys.ts";
export type { NestedPointer, SyscallArg, SyscallTable } from "./syscall_form.ts";
export type { SyscallResult } from "./syscall_result.ts";
export type { TailOptions } from "./tail.ts";
export type { VmState } from "./_machine_life.ts";
export { LabSnapshot, Snapshot, type SnapshotParts, type SnapshotSpec } from "./snapshot.ts";
export { type AgentCounters, MachineControls, type ShutdownOptions } from "./machine_controls.ts";
export { Vm } from "./vm.ts";
export { Watch, type WatchEvent, type WatchKind, type WatchOptions } from "./watch.ts";
export { type JoinResult, Worker, type WorkerExit } from "./worker.ts";
export type { CapName, NamespaceName, WorkerOptions } from "./worker_options.ts";
export {
  array,
  blob,
  type CField,
  type CRead,
  cstr,
  type CType,
  type CTypeName,
  type CWrite,
  type Struct,
  struct,
  type StructInput,
  type StructOptions,
  type StructValue,
  text,
} from "./struct.ts";
