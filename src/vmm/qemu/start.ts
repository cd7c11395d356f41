import { HostError } from "../../errors.ts";
import { removeTree, type Run } from "../../host/mod.ts";
import { ConsoleLog } from "../console_log.ts";
import { ControlPort } from "../control_port.ts";
import { hostnameOf } from "../identity.ts";
import type { MachineInfo, MachineSpec } from "../types.ts";
import type { AccelDecision } from "./accel.ts";
import { type DiskPlan, type NicPlan, qemuArgs, type QemuPlan } from "./argv.ts";
import type { QemuBinary } from "./binary.ts";
import { drawCid, type TransportDecision } from "../vsock.ts";
import { CID_TAKEN, closeQuietly, type QemuProcess, startQemu } from "./launch.ts";
import { QemuMachine, type QemuMachineParts } from "./machine.ts";

/** Where and with what machines are started. */
export interface StartContext {
  run: Run;
  qemu: QemuBinary;
  accel: AccelDecision;
}

/** What is decided about one program before it runs. */
export interface StartProgramOptions {
  /** Arguments but for what belongs to this start alone. */
  plan: (
    dir: string,
  ) => Promise<Omit<QemuPlan, "sockets" | "name" | "accel" | "vsockCid">>;
  /** Whether it gets an address on vsock. */
  hasVsock?: boolean;
  /** What the console said before this start: a clone's boot. */
  consoleBefore?: Uint8Array;
}

/** A QEMU that runs, with what is on the host for it. Disposing ends it, unless a machine has taken it over. */
export interface StartedProgram extends AsyncDisposable {
  /** Folder with its sockets. */
  readonly dir: string;
  readonly qemu: QemuProcess;
  readonly disks: readonly DiskPlan[];
  readonly nics: readonly NicPlan[];
  readonly consoleLog: string;
  readonly consoleBefore: Uint8Array | undefined;
  readonly vsockCid: number | undefined;
  /** When it was started, by `performance.now()`. */
  readonly startedMs: number;
  /** Leaves it to the caller. */
  move(): void;
}

/** What is decided about one machine. */
export interface StartOptions extends StartProgramOptions, MachineOptions {}

/** What makes a machine of a program. */
export interface MachineOptions {
  /** How its agent is talked to. */
  transport: TransportDecision;
  how: MachineInfo["how"];
  howWhy: string;
  bootSecret: Uint8Array;
  agentTimeoutMs: number;
  /** Files to write once the agent answers, also after a reset. */
  files?: MachineSpec["files"];
  /** Addresses that cards have in a saved state, and those that they shall have. */
  macs?: { from: string; to: string }[];
  /** Saves the machine; one that never runs has none. */
  save?: QemuMachineParts["save"];
  /** The control port, if it was used already. */
  port?: ControlPort;
}

/** Starts QEMU for a machine; the guest runs or waits for its state. */
export async function startMachine(
  context: StartContext,
  spec: MachineNames & Pick<MachineSpec, "signal">,
  options: StartOptions,
): Promise<QemuMachine> {
  const program = await startProgram(context, spec, options);
  return makeMachine(context, spec, program, options);
}

/** Starts QEMU without a machine that stands for it. */
export async function startProgram(
  { run, qemu, accel }: StartContext,
  { name, signal }: Pick<MachineSpec, "name" | "signal">,
  options: StartProgramOptions,
): Promise<StartedProgram> {
  const dir = await run.machineDir();
  await using failed = new AsyncDisposableStack();
  failed.defer(() => removeTree(dir));
  const plan = await options.plan(dir);
  const consoleLog = `${dir}.log`; // beside the folder: it outlives the machine
  const { consoleBefore } = options;
  if (consoleBefore) await Deno.writeFile(consoleLog, consoleBefore, { mode: 0o600 });
  const startedMs = performance.now();
  const { started, vsockCid } = await withFreeCid(options.hasVsock ?? false, async (vsockCid) => ({
    vsockCid,
    started: await startQemu({
      run,
      qemu,
      machine: name,
      dir,
      args: (sockets) => qemuArgs({ ...plan, name, accel: accel.accel, vsockCid, sockets }),
      signal,
    }),
  }));
  const owned = failed.move();
  owned.defer(async () => {
    started.qmp.close();
    for (const conn of [started.control, started.console]) closeQuietly(conn);
    await started.process[Symbol.asyncDispose]();
    if (consoleBefore) await Deno.remove(consoleLog).catch(() => {}); // the run's folder is removed anyway
  });
  let isMoved = false;
  return {
    dir,
    qemu: started,
    disks: plan.disks,
    nics: plan.nics,
    consoleLog,
    consoleBefore,
    vsockCid,
    startedMs,
    move: () => void (isMoved = true),
    [Symbol.asyncDispose]: async () => {
      if (!isMoved) await owned.disposeAsync();
    },
  };
}

/** What a machine is called. */
type MachineNames = Pick<MachineSpec, "name" | "hostname" | "timeMs" | "seed">;

/** Makes a machine of a program, which it owns from then on. */
export function makeMachine(
  { qemu, accel }: Pick<StartContext, "qemu" | "accel">,
  spec: MachineNames,
  program: StartedProgram,
  options: MachineOptions,
): QemuMachine {
  const { dir, vsockCid, consoleLog, consoleBefore, startedMs } = program;
  const started = program.qemu;
  program.move();
  return new QemuMachine({
    name: spec.name,
    dir,
    qemu: started,
    port: options.port ?? new ControlPort(started.control),
    console: new ConsoleLog({ path: consoleLog, writesFile: true, before: consoleBefore }),
    info: {
      vmm: "qemu",
      version: qemu.version,
      how: options.how,
      howWhy: options.howWhy,
      accel: accel.accel,
      accelWhy: accel.why,
      transport: options.transport.transport,
      transportWhy: options.transport.why,
      ...vsockCid === undefined ? {} : { cid: vsockCid },
      pid: started.process.pid,
      timings: { spawnMs: started.spawnMs, totalMs: 0 },
    },
    bootSecret: options.bootSecret,
    identity: {
      hostname: spec.hostname ?? hostnameOf(spec.name),
      timeMs: spec.timeMs,
      seed: spec.seed,
      macs: options.macs,
      timeoutMs: options.agentTimeoutMs,
    },
    files: options.files ?? [],
    transport: options.transport,
    startedMs,
    disks: program.disks,
    nics: program.nics,
    save: options.save ?? (() => Promise.reject(new TypeError("This machine is saved already"))),
  });
}

/** Two in a row that are taken are not to be expected; this many mean that something else is wrong. */
const CID_DRAWS = 8;

/**
 * Runs `start` with an address that no other machine of the host has. Addresses are not reserved: QEMU refuses one that is
 * taken.
 */
export async function withFreeCid<T>(
  hasVsock: boolean,
  start: (cid: number | undefined) => Promise<T>,
  draw: () => number = drawCid,
): Promise<T> {
  if (!hasVsock) return await start(undefined);
  for (let left = CID_DRAWS;; left--) {
    try {
      return await start(draw());
    } catch (error) {
      const isTaken = error instanceof HostError && error.code === CID_TAKEN;
      if (!isTaken || left === 1) throw error;
    }
  }
}
