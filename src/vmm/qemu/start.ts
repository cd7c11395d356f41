import { removeTree, type Run } from "../../host/mod.ts";
import { ConsoleLog } from "../console_log.ts";
import { hostnameOf } from "../identity.ts";
import type { MachineInfo, MachineSpec } from "../types.ts";
import type { AccelDecision } from "./accel.ts";
import { qemuArgs, type QemuPlan } from "./argv.ts";
import type { QemuBinary } from "./binary.ts";
import { startQemu } from "./launch.ts";
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
  plan: (dir: string) => Promise<Omit<QemuPlan, "sockets" | "consoleLog" | "name" | "accel">>;
  how: MachineInfo["how"];
  howWhy: string;
  /** What the console said before this start: a clone's boot. */
  consoleBefore?: Uint8Array;
  bootSecret: Uint8Array;
  agentTimeoutMs: number;
  /** Files to write once the agent answers, also after a reset. */
  files?: MachineSpec["files"];
  /** Saves the machine. */
  save?: QemuMachineParts["save"];
}

/** Starts QEMU for a machine and negotiates with its monitor; the guest runs or waits for its state. */
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
  const started = await startQemu({
    run,
    qemu,
    machine: spec.name,
    dir,
    args: (sockets) =>
      qemuArgs({ ...plan, name: spec.name, accel: accel.accel, sockets, consoleLog }),
    signal: spec.signal,
  });
  const machine = new QemuMachine({
    name: spec.name,
    dir,
    qemu: started,
    console: new ConsoleLog({ path: consoleLog, writesFile: false, before: consoleBefore }),
    info: {
      vmm: "qemu",
      version: qemu.version,
      how: options.how,
      howWhy: options.howWhy,
      accel: accel.accel,
      accelWhy: accel.why,
      transport: "serial",
      transportWhy: "the control port carries everything",
      pid: started.process.pid,
      timings: { spawnMs: started.spawnMs, totalMs: 0 },
    },
    bootSecret: options.bootSecret,
    identity: {
      hostname: spec.hostname ?? hostnameOf(spec.name),
      timeMs: spec.timeMs,
      seed: spec.seed,
      timeoutMs: options.agentTimeoutMs,
    },
    files: options.files ?? [],
    startedMs,
    save: options.save,
  });
  failed.use(machine);
  await machine.qmp.negotiate({ signal: spec.signal });
  failed.move(); // the machine owns it all from here on
  return machine;
}
