import { HostError } from "../../errors.ts";
import { removeTree, type Run } from "../../host/mod.ts";
import { ConsoleLog } from "../console_log.ts";
import { hostnameOf } from "../identity.ts";
import type { MachineInfo, MachineSpec } from "../types.ts";
import type { AccelDecision } from "./accel.ts";
import { qemuArgs, type QemuPlan } from "./argv.ts";
import type { QemuBinary } from "./binary.ts";
import { drawCid, type TransportDecision } from "../vsock.ts";
import { CID_TAKEN, startQemu } from "./launch.ts";
import { QemuMachine, type QemuMachineParts } from "./machine.ts";

/** Where and with what machines are started. */
export interface StartContext {
  run: Run;
  qemu: QemuBinary;
  accel: AccelDecision;
}

/** What is decided about one start before QEMU runs. */
export interface StartOptions {
  /** Arguments but for what belongs to this start alone. */
  plan: (
    dir: string,
  ) => Promise<Omit<QemuPlan, "sockets" | "name" | "accel" | "vsockCid">>;
  /** Whether it gets an address on vsock. */
  hasVsock?: boolean;
  /** How its agent is talked to. */
  transport: TransportDecision;
  how: MachineInfo["how"];
  howWhy: string;
  /** What the console said before this start: a clone's boot. */
  consoleBefore?: Uint8Array;
  bootSecret: Uint8Array;
  agentTimeoutMs: number;
  /** Files to write once the agent answers, also after a reset. */
  files?: MachineSpec["files"];
  /** Addresses that cards have in a saved state, and those that they shall have. */
  macs?: { from: string; to: string }[];
  /** Saves the machine; one that never runs has none. */
  save?: QemuMachineParts["save"];
}

/** Starts QEMU for a machine; the guest runs or waits for its state. */
export async function startMachine(
  { run, qemu, accel }: StartContext,
  spec: Pick<MachineSpec, "name" | "hostname" | "timeMs" | "seed" | "signal">,
  options: StartOptions,
): Promise<QemuMachine> {
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
      machine: spec.name,
      dir,
      args: (sockets) =>
        qemuArgs({ ...plan, name: spec.name, accel: accel.accel, vsockCid, sockets }),
      signal: spec.signal,
    }),
  }));
  const machine = new QemuMachine({
    name: spec.name,
    dir,
    qemu: started,
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
    disks: plan.disks,
    nics: plan.nics,
    save: options.save ?? (() => Promise.reject(new TypeError("This machine is saved already"))),
  });
  failed.move(); // the machine owns it all from here on
  return machine;
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
