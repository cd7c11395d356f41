/**
 * The events of a run, as JSON lines: one object per line, `{ v: 1, ts, run, kind, … }`. Reporters, saved streams and
 * merged shards are all made of these.
 *
 * Unknown kinds and fields are kept: a reader skips what it does not know.
 *
 * @module
 */

/** Version of the schema that this belljar writes. */
export const EVENT_VERSION = 1;

/** What made a test fail. */
export type FailureClass = "test" | "guest" | "timeout" | "leak" | "harness" | "host";

/** How a test ended. */
export type TestStatus = "passed" | "failed" | "skipped" | "flaky";

/** How a file ended. */
export type FileStatus = "passed" | "failed" | "skipped" | "crashed" | "timeout" | "interrupted";

/** How a run ended. */
export type RunStatus = "passed" | "failed" | "error" | "interrupted";

/** A place in source code. Lines and columns count from 1. */
export interface Place {
  /** Path of the file, absolute where it is known. */
  file: string;
  line: number;
  column: number;
}

/** The lines of source around a place. */
export interface CodeFrame extends Place {
  lines: { n: number; text: string }[];
}

/** An error as data. */
export interface ErrorInfo {
  /** Name of its class. */
  name: string;
  message: string;
  /** The trace as the runtime printed it, without the message. */
  stack?: string;
  /** Frames of the author's code, innermost first. */
  frames?: Place[];
  /** Source around the innermost frame of the author's code. */
  code?: CodeFrame;
  /** What caused it. */
  cause?: ErrorInfo;
  /** The errors that an aggregate holds. */
  errors?: ErrorInfo[];
  /** Where in the test it arose, if not in its body: `"closing"`, `"beforeEach"`, … */
  phase?: string;
  /** Facts that the error carries as fields: `errno`, `exitCode`, … */
  facts?: Record<string, string | number | boolean>;
}

/** A resource that a scope closed for its author. */
export interface ClosedInfo {
  kind: string;
  name: string;
  site: string;
  leaked: boolean;
  durationMs: number;
}

/** An operation of a test. */
export interface OpInfo {
  op: string;
  vm?: string;
  site?: string;
  /** How long it took, or has taken so far. */
  durationMs: number;
  /** Missing while it is in progress. */
  ok?: boolean;
}

/** The start of a machine, as failures show it. */
export interface MachineStart {
  vm: string;
  image?: string;
  how?: string;
  transport?: string;
  accel?: string;
  /** Why it was started so. */
  why?: string;
}

/** Meta data of a test: the runner's keys and whatever else its author gave. */
export type EventMeta = Record<string, unknown>;

interface Base<Kind extends string> {
  /** Version of the schema. */
  v: 1;
  /** Milliseconds since 1970, with fractions. */
  ts: number;
  /** Identifier of the run. */
  run: string;
  kind: Kind;
}

interface OfFile {
  /** Path of the test file, relative to the directory in which the run was started. */
  file: string;
}

interface OfTest extends OfFile {
  /** Name of the test. */
  test: string;
}

/** Where an event belongs, if it belongs to a file, test or step. */
interface Somewhere {
  file?: string;
  test?: string;
  /** Names of the steps, outermost first. */
  step?: string[];
}

/** The run begins. */
export interface RunStarted extends Base<"run_started"> {
  versions: Record<string, string>;
  host: { os: string; arch: string; cpus: number; memoryBytes: number };
  /** Files at the same time, and what all machines together may use. */
  budget: { jobs: number; memoryBytes?: number; cpus?: number };
  seed: number;
  shard?: { index: number; total: number };
  /** How many files will run. */
  files: number;
  cwd: string;
}

/** Counts of a run, by status of tests. */
export interface RunCounts {
  passed: number;
  failed: number;
  skipped: number;
  flaky: number;
  /** Files, and those of them that did not end by themselves or could not be loaded. */
  files: number;
  failedFiles: number;
}

/** The run has ended; nothing follows. */
export interface RunFinished extends Base<"run_finished"> {
  status: RunStatus;
  exitCode: number;
  durationMs: number;
  counts: RunCounts;
}

/** A file was found. */
export interface FileDiscovered extends Base<"file_discovered">, OfFile {
  /** How long it took the last time. */
  estimateMs?: number;
}

/** A file waits for its turn. */
export interface FileQueued extends Base<"file_queued">, OfFile {
  waitingFor?: string;
}

/** The process of a file runs. */
export interface FileStarted extends Base<"file_started">, OfFile {
  pid: number;
  attempt: number;
}

/** The tests of a file are known. */
export interface FileLoaded extends Base<"file_loaded">, OfFile {
  /** Names of the tests that were chosen to run, in their order. */
  tests: string[];
  /** How many tests the file defines. */
  defined: number;
  timeoutMs: number;
}

/** A file has ended. */
export interface FileFinished extends Base<"file_finished">, OfFile {
  status: FileStatus;
  durationMs: number;
  /** Why it did not pass, in one line. */
  reason?: string;
  class?: FailureClass;
  /** What went wrong outside of its tests. */
  error?: ErrorInfo;
  /** How the process ended, if not as it should. */
  exit?: { code: number; signal?: string };
}

/** A test begins. */
export interface TestStarted extends Base<"test_started">, OfTest {
  meta: EventMeta;
  attempt: number;
  timeoutMs: number;
  place?: Place;
}

/** A step begins. */
export interface StepStarted extends Base<"step_started">, OfTest {
  step: string[];
}

/** A step has ended. */
export interface StepFinished extends Base<"step_finished">, OfTest {
  step: string[];
  status: "passed" | "failed" | "skipped";
  durationMs: number;
  reason?: string;
  error?: ErrorInfo;
}

/** A test has ended. */
export interface TestFinished extends Base<"test_finished">, OfTest {
  status: TestStatus;
  durationMs: number;
  meta: EventMeta;
  attempt: number;
  /** Why it was skipped. */
  reason?: string;
  class?: FailureClass;
  /** What made it fail. */
  error?: ErrorInfo;
  /** What else went wrong: failed soft assertions, errors while closing. */
  errors?: ErrorInfo[];
  /** Whether another attempt follows. */
  willRetry?: boolean;
  /** Operations in progress when it failed, and the last that ended before. */
  inProgress?: OpInfo[];
  history?: OpInfo[];
  /** What the scope closed because its author had not. */
  closed?: ClosedInfo[];
  machines?: MachineStart[];
  /** Last console lines of each machine. */
  consoles?: { vm: string; path?: string; lines: string[] }[];
  seed?: number;
  place?: Place;
}

/** Something was written: by the test through `t.log()`, or by its process. */
export interface Log extends Base<"log">, Somewhere {
  stream: "stdout" | "stderr" | "test" | "service";
  /** Name of the service that wrote it. */
  service?: string;
  text: string;
}

/** A test attached data. */
export interface Attachment extends Base<"attachment">, Somewhere {
  name: string;
  mediaType: string;
  size: number;
  /** Where it lies, if it was given or stored as a file. */
  path?: string;
  /** The data, if it is short text. */
  text?: string;
}

/** A machine runs. */
export interface VmStarted extends Base<"vm_started">, Somewhere {
  vm: string;
  image?: string;
  how?: "clone" | "boot";
  transport?: string;
  accel?: string;
  /** Why it was booted and not cloned; empty for a clone. */
  howWhy?: string;
  /** Why this transport, and why this accelerator. */
  transportWhy?: string;
  accelWhy?: string;
  /** Bytes of memory. */
  memory?: number;
  pid?: number;
  /** Address on vsock, if it has one. */
  cid?: number;
  /** Release of the guest's kernel. */
  kernel?: string;
  timings?: Record<string, number>;
  /** File with all that its console showed. */
  consolePath?: string;
}

/** A machine has ended. */
export interface VmStopped extends Base<"vm_stopped">, Somewhere {
  vm: string;
  reason: string;
  durationMs?: number;
}

/** An operation has ended. */
export interface Op extends Base<"op">, Somewhere {
  op: string;
  vm?: string;
  startMs: number;
  durationMs: number;
  ok: boolean;
}

/** A part of a machine's console. */
export interface ConsolePart extends Base<"console">, Somewhere {
  vm: string;
  path?: string;
  offset: number;
  length: number;
  text?: string;
}

/** A resource was closed. */
export interface ResourceClosed extends Base<"resource_closed">, Somewhere {
  by: "user" | "walker";
  /** What it is: `"process"`, `"file"`, … (`kind` is the event's own). */
  resource: string;
  name: string;
  site: string;
  leaked?: boolean;
  durationMs?: number;
}

/** The pool's state. */
export interface Pool extends Base<"pool"> {
  /** What machines use, and how many files hold some of it. */
  used: { memoryBytes: number; cpus: number; files: number };
  available: { memoryBytes: number; cpus: number };
}

/** A template was built. */
export interface TemplateBuilt extends Base<"template_built">, Somewhere {
  image: string;
  durationMs: number;
}

/** A fixture is being built: it was not there, or what it is made from has changed. */
export interface FixtureBuilding extends Base<"fixture_building">, Somewhere {
  fixture: string;
}

/** A fixture was built. */
export interface FixtureBuilt extends Base<"fixture_built">, Somewhere {
  fixture: string;
  key: string;
  durationMs: number;
  /** Bytes on disk. */
  bytes: number;
}

/** Something that the reader should know; nothing failed. */
export interface Warning extends Base<"warning">, Somewhere {
  message: string;
  next?: string;
}

/** Every event that this version writes. */
export type KnownEvent =
  | RunStarted
  | RunFinished
  | FileDiscovered
  | FileQueued
  | FileStarted
  | FileLoaded
  | FileFinished
  | TestStarted
  | StepStarted
  | StepFinished
  | TestFinished
  | Log
  | Attachment
  | VmStarted
  | VmStopped
  | Op
  | ConsolePart
  | ResourceClosed
  | Pool
  | TemplateBuilt
  | FixtureBuilding
  | FixtureBuilt
  | Warning;

/** Names of the kinds that this version writes. */
export type KnownKind = KnownEvent["kind"];

/** An event of a kind that this version does not know. */
export interface UnknownEvent extends Base<string> {
  [field: string]: unknown;
}

/** An event as it is read from a stream. */
export type BelljarEvent = KnownEvent | UnknownEvent;

/** The fields of a kind of event without those that every event has. */
export type EventFields<Kind extends KnownKind> = Omit<
  Extract<KnownEvent, { kind: Kind }>,
  "v" | "ts" | "run" | "kind"
>;

/** Narrows an event to a known kind. */
export function isKind<Kind extends KnownKind>(
  event: BelljarEvent,
  kind: Kind,
): event is Extract<KnownEvent, { kind: Kind }> {
  return event.kind === kind;
}
