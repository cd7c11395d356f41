import type { BootFile, Image } from "../image/mod.ts";
import type { AgentClient } from "../wire/mod.ts";
import type { ConsoleLog } from "./console_log.ts";

/** Which program runs machines. */
export type VmmName = "qemu" | "local";
/** How a machine's processors run. */
export type Accelerator = "kvm" | "tcg";
/** Which way the harness talks to the agent. */
export type Transport = "vsock" | "serial" | "local";
/** What a caller may ask for. */
export type TransportChoice = "auto" | "vsock" | "serial";

/** A disk of a machine; its content comes from exactly one place. */
export interface DiskSpec {
  /** Serial number that the guest sees, at most 20 bytes; made `/dev/disk/by-id/virtio-<id>` by the agent. */
  id: string;
  source:
    /** A file that exists and is written to. */
    | { kind: "path"; path: string; format?: "raw" | "qcow2" }
    /** An empty disk that goes with the machine. */
    | { kind: "scratch"; bytes: number }
    /** A file that is never written: the machine's changes go with the machine. */
    | { kind: "template"; path: string; format?: "raw" | "qcow2" };
  readonly: boolean;
}

/** A network card whose other end is a unix socket on which somebody listens. */
export interface NicSpec {
  /** Name of the card within its machine. */
  id: string;
  /** Six bytes in hexadecimal, parted by colons. */
  mac: string;
  /** Each frame on it is preceded by its length, 4 bytes, most significant first. */
  socketPath: string;
}

/** What a machine shall be. */
export interface MachineSpec {
  /** What errors and events call it; also its host name unless `hostname` is set. */
  name: string;
  image: Image;
  memoryBytes: number;
  cpus: number;
  /** Kernel arguments in place of the image's. */
  cmdline?: string;
  /** Kernel arguments that come last. */
  cmdlineAppend?: string;
  /** Files that win over the image's. */
  files?: BootFile[];
  disks?: DiskSpec[];
  nics?: NicSpec[];
  hostname?: string;
  /** Realtime clock at the start, in milliseconds since the epoch; the host's by default. */
  timeMs?: number;
  /** Bytes that are mixed into the guest's random numbers; drawn anew by default. */
  seed?: Uint8Array;
  /** Longest wait for the agent's first words, as the author wrote it. @default {20_000 × time scale} */
  agentTimeoutMs?: number;
  /** Boot, even if a clone would do. */
  cold?: boolean;
  /** With `"no-agent"` a machine is returned as soon as it runs. @default {"agent"} */
  expect?: "agent" | "no-agent";
  /** @default {"auto"} */
  transport?: TransportChoice;
  /** A machine that was prepared ahead; it is used if it fits, and stays the caller's otherwise. */
  standby?: StandbyMachine;
  /** Ends the start; everything that was begun is undone. */
  signal?: AbortSignal;
}

/** A machine that is prepared as far as that goes without knowing whose it will be. Disposing ends it. */
export interface StandbyMachine extends AsyncDisposable {
  /** Pid of the program that runs it. */
  readonly pid: number;
  /** Resolves when it cannot be used any more; never rejects. */
  readonly ended: Promise<void>;
}

/** Milliseconds of a start's steps; a step that was not taken is missing. */
export interface MachineTimings {
  /** From the program's start until all its connections were there. */
  spawnMs?: number;
  /** Loading the state of a template. */
  loadMs?: number;
  /** From the start, or from the end of loading, until the agent's first words. */
  helloMs?: number;
  /** Giving a clone its identity. */
  identityMs?: number;
  /** What was done ahead, before anybody asked for the machine: a start, loading, and a first command. */
  aheadMs?: number;
  /** Building the template that was missing. */
  templateMs?: number;
  /** The whole start. */
  totalMs: number;
}

/** How a machine was started. */
export interface MachineInfo {
  vmm: VmmName;
  /** Version of the program that runs it. */
  version: string;
  how: "clone" | "boot";
  /** Why it was booted and not cloned; empty for a clone. */
  howWhy: string;
  accel: Accelerator | "none";
  /** Why this accelerator. */
  accelWhy: string;
  transport: Transport;
  /** Why this transport. */
  transportWhy: string;
  /** Address on vsock, if it has one. */
  cid?: number;
  /** Release of the kernel, once the agent told it. */
  kernel?: string;
  /** Pid of the program that runs it. */
  pid: number;
  timings: MachineTimings;
}

/** Why a machine ended. */
export type EndReason =
  | "quit"
  | "killed"
  | "crashed"
  | "guestPoweroff"
  | "guestReboot"
  | "panic"
  | "agentLost";

/** How a machine ended. */
export interface MachineEnd {
  reason: EndReason;
  /** What the reason's evidence is: the panic's line, the signal. */
  detail?: string;
  exitCode?: number;
  signal?: string;
  /** What the program wrote to its standard error. */
  stderr: string;
}

/** A running machine, whatever runs it. Disposing kills it. */
export interface Machine extends AsyncDisposable {
  readonly name: string;
  readonly info: MachineInfo;
  /** The conversation with its agent; another one after {@linkcode Machine.reset} or a crash of the agent. */
  readonly client: AgentClient | undefined;
  /** Its console from power-on, which outlives it. */
  readonly console: ConsoleLog;
  /** Resolves when it can not be used any more; never rejects. */
  readonly ended: Promise<MachineEnd>;
  /** Calls `fn` with each later conversation, until the returned function is called. */
  onAgent(fn: (client: AgentClient) => void): () => void;
  /** Stops its processors; its monotonic clock stands still. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Restarts it as by its reset button; resolves when the agent serves again. */
  reset(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<AgentClient>;
  /** Presses its power button. */
  powerButton(): Promise<void>;
  /** Ends it in order: disks are flushed, the guest is not asked. */
  quit(): Promise<void>;
  /** Ends it at once. */
  kill(): Promise<void>;
  /** Plugs in a disk; the guest finds it a moment later. */
  attachDisk(disk: DiskSpec): Promise<void>;
  /** Plugs in a network card; the guest finds it a moment later. */
  attachNic(nic: NicSpec): Promise<void>;
  /**
   * Saves its state; it goes on running. The conversation with its agent is another one afterwards: see
   * {@linkcode Machine.onAgent}.
   */
  save(options?: SaveOptions): Promise<SavedState>;
}

/** Options for {@linkcode Machine.save}. */
export interface SaveOptions {
  signal?: AbortSignal;
}

/** The state of a machine at one moment, from which any number of machines can be started. Disposing deletes it. */
export interface SavedState extends AsyncDisposable {
  /** Folder that holds it. */
  readonly path: string;
  /** Bytes on disk, once it has settled. */
  readonly size: number;
  /** Milliseconds that each step took: while the machine stood still, and afterwards. */
  readonly timings: { saveMs: number; settleMs: number };
  /** Resolves when machines can be started from it without waiting. */
  settled(): Promise<void>;
  /** Removes it. */
  delete(): Promise<void>;
  /** Moves it to a folder that is not there yet, on the same file system. It is the caller's to remove then. */
  moveTo(path: string): Promise<void>;
}

/** Options for {@linkcode Vmm.stateKey}. */
export interface StateKeyOptions {
  /** What machines are asked to be reached by. @default {"auto"} */
  transport?: TransportChoice;
}

/** Starts machines. */
export interface Vmm {
  readonly name: VmmName;
  /** Starts a machine, as a clone of a template where that is possible. */
  launch(spec: MachineSpec): Promise<Machine>;
  /**
   * What machines have in common of which one can stand by for another, each launched or each restored from `state`;
   * `undefined` for those that cannot be prepared.
   */
  standbyKey(spec: MachineSpec, state?: SavedState): Promise<string | undefined>;
  /** Prepares a machine for the next launch, or restore, of one like it: see {@linkcode MachineSpec.standby}. */
  standby(spec: MachineSpec, state?: SavedState): Promise<StandbyMachine>;
  /** Starts a machine from a saved state. */
  restore(state: SavedState, spec: MachineSpec): Promise<Machine>;
  /**
   * Takes up a state that was moved to a folder of its own, by this process or another.
   *
   * @throws {HostError} If it is damaged, with the code `STATE_DAMAGED`.
   */
  openState(path: string): Promise<SavedState>;
  /** Changes when machines of before can no longer be started from their saved states. */
  stateKey(options?: StateKeyOptions): Promise<string>;
}
