import { BootError, HostError } from "../../errors.ts";
import { cacheDir, type Run } from "../../host/mod.ts";
import { emitEvent, timeScale, uncharged } from "../../scope/mod.ts";
import { PROTOCOL_VERSION, VERSION } from "../../wire/mod.ts";
import { sha256Hex } from "../_hash.ts";
import { hostRun } from "../host_run.ts";
import { drawSecret } from "../identity.ts";
import { chooseTransport, type TransportDecision, vsockAvailable } from "../vsock.ts";
import type {
  Accelerator,
  Machine,
  MachineSpec,
  SavedState,
  StandbyMachine,
  StateKeyOptions,
  Vmm,
} from "../types.ts";
import { type AccelDecision, AcceleratorChooser, FIRST_KVM_MS } from "./accel.ts";
import { HOTPLUG_PORTS } from "./argv.ts";
import { findQemu } from "./binary.ts";
import { takesBootFiles, writeBootMedia } from "./boot_files.ts";
import { ROOT_DISK, rootDisk, startClone } from "./clone.ts";
import { Clones, startFromStandby } from "./clones.ts";
import { makeOverlay, prepareDisk } from "./disks.ts";
import { kernelCmdline } from "./kernel_cmdline.ts";
import type { QemuMachine } from "./machine.ts";
import { type StartContext, startMachine } from "./start.ts";
import { QemuSavedState, saveMachine } from "./saved_state.ts";
import { prepareStandby } from "./standby.ts";
import { ENTRY_VERSION, readEntry } from "./state_entry.ts";
import { hostCpu } from "./template_key.ts";
import { TemplateStore } from "./template_store.ts";

/** Options for {@linkcode QemuVmm}. */
export interface QemuVmmOptions {
  /** @default {"auto"} */
  accel?: "auto" | Accelerator;
  /** Path of QEMU; found on PATH by default. */
  qemu?: string;
  /** @default {"/dev/kvm"} */
  kvmDevice?: string;
  /** @default {"/dev/vhost-vsock"} */
  vsockDevice?: string;
  /** Folder in place of the cache, for verdicts and templates. */
  cache?: string;
  /** The run that machines belong to; that of this process by default. */
  run?: () => Promise<Run>;
  /** Bytes on disk that templates may take. @default {4 GiB} */
  templateCapBytes?: number;
}

const AGENT_MS = 20_000;
const VSOCK_DEVICE = "/dev/vhost-vsock";
/** Bytes that templates may take on disk unless somebody says otherwise. */
export const TEMPLATE_CAP = 4 * 1024 ** 3;

/** Starts machines under QEMU: as clones of templates where that is possible. */
export class QemuVmm implements Vmm {
  readonly name = "qemu";
  readonly #options: QemuVmmOptions;
  #store: TemplateStore | undefined;
  #chooser: Promise<AcceleratorChooser> | undefined;
  readonly #clones = new Clones({
    templates: () => this.#templates(),
    snapshots: () => this.#snapshots(),
    transport: (spec) => this.#transport(spec),
    calibrate: async (helloMs) => await (await this.#accelerators()).calibrate(helloMs),
  });
  /** Why this QEMU can make none. */
  #noTemplates: string | undefined;

  constructor(options: QemuVmmOptions = {}) {
    this.#options = options;
  }

  async launch(spec: MachineSpec): Promise<Machine> {
    const started = performance.now();
    const machine = await this.#withAccelerator(async (context, limitMs) => {
      const why = cloneObstacle(spec) ?? this.#noTemplates;
      if (why !== undefined) return await this.#boot(context, spec, limitMs, why);
      try {
        return await this.#clones.start(context, spec, agentLimit(spec, limitMs));
      } catch (error) {
        const reason = templateObstacle(error);
        if (reason === undefined) throw error;
        if ((error as HostError).code === "NO_TEMPLATES") this.#noTemplates = reason;
        emitEvent("warning", { message: `machine "${spec.name}" boots cold: ${reason}` });
        return await this.#boot(context, spec, limitMs, reason);
      }
    }, spec.expect === "no-agent");
    machine.info.timings.totalMs = performance.now() - started;
    return machine;
  }

  async standbyKey(spec: MachineSpec, state?: SavedState): Promise<string | undefined> {
    if (state) return await restoreKey(state);
    if (cloneObstacle(spec) ?? this.#noTemplates) return undefined;
    const context = await this.#context();
    // One that is not proven may be given up by the next start.
    if (!context.accel.proven) return undefined;
    return await this.#clones.key(context, spec);
  }

  async standby(spec: MachineSpec, state?: SavedState): Promise<StandbyMachine> {
    const context = await this.#context();
    if (!state) return await this.#clones.prepare(context, spec, agentLimit(spec));
    const key = await restoreKey(state);
    if (key === undefined) throw new TypeError("No machine can stand by for this state");
    return await prepareStandby(context, {
      key,
      entry: await (state as QemuSavedState).entry(),
      signal: spec.signal,
    });
  }

  async restore(state: SavedState, spec: MachineSpec): Promise<Machine> {
    const started = performance.now();
    if (!(state instanceof QemuSavedState)) {
      throw new TypeError("Cannot restore this state: it was not saved by QEMU");
    }
    const entry = await state.entry();
    const transport = await this.#transport(
      spec,
      entry.facts.vsock ? undefined : "its state was saved from a machine without an address",
    );
    const snapshots = await this.#snapshots();
    const key = await restoreKey(state);
    const machine = await this.#withAccelerator(async (context, limitMs) => {
      const options = { agentTimeoutMs: agentLimit(spec, limitMs), snapshots, transport };
      return await startFromStandby(context, spec, key, options) ??
        await startClone(context, spec, { ...options, entry });
    }, false);
    machine.info.timings.totalMs = performance.now() - started;
    return machine;
  }

  async stateKey({ transport = "auto" }: StateKeyOptions = {}): Promise<string> {
    const qemu = await findQemu({ path: this.#options.qemu });
    const { accel } = await this.accelerator();
    // A machine that can be reached over vsock has a device more.
    const hasVsock = transport === "serial" ? false : await vsockAvailable(
      this.#options.vsockDevice ?? VSOCK_DEVICE,
    );
    const versions = [VERSION, PROTOCOL_VERSION, ENTRY_VERSION];
    const parts = [versions, qemu.version, accel, await hostCpu(), hasVsock];
    return (await sha256Hex(JSON.stringify(parts))).slice(0, 32);
  }

  async openState(path: string): Promise<SavedState> {
    const entry = await readEntry(path);
    if (entry && !("damage" in entry)) {
      return new QemuSavedState(path, undefined, () => Promise.resolve(entry));
    }
    throw new HostError(`Cannot use the state at "${path}"`, {
      code: "STATE_DAMAGED",
      actual: entry?.damage ?? "there is none",
      next: "make it anew",
    });
  }

  /** The accelerator that machines get, and why. */
  async accelerator(
    options: { fresh?: boolean; signal?: AbortSignal } = {},
  ): Promise<AccelDecision> {
    return await (await this.#accelerators()).decide(this.#options.accel, options);
  }

  async #context(): Promise<StartContext> {
    const run = await (this.#options.run ?? hostRun)();
    const qemu = await findQemu({ path: this.#options.qemu });
    const accel = await (await this.#accelerators()).decide(this.#options.accel);
    return { run, qemu, accel };
  }

  /**
   * Runs `start` with the accelerator that was decided on. One that is not proven yet has to bring a machine up in time;
   * else `start` is done again with the other.
   */
  async #withAccelerator<T>(
    start: (context: StartContext, limitMs: number | undefined) => Promise<T>,
    unprovable: boolean,
  ): Promise<T> {
    const chooser = await this.#accelerators();
    const { run, qemu, accel: decided } = await this.#context();
    let accel = decided;
    if (!accel.proven && unprovable) {
      accel = {
        accel: "tcg",
        why: "no machine with an agent has shown that KVM works",
        proven: true,
      };
    }
    if (accel.proven) return await start({ run, qemu, accel }, undefined);
    try {
      const result = await uncharged(() => start({ run, qemu, accel }, FIRST_KVM_MS));
      await chooser.confirm();
      return result;
    } catch (error) {
      const isAccelerator = error instanceof BootError ||
        (error instanceof HostError && error.code === "KVM_REFUSED");
      if (!isAccelerator) throw error;
      accel = await chooser.refute(error.summary);
      emitEvent("warning", { message: accel.why });
      return await start({ run, qemu, accel }, undefined);
    }
  }

  async #boot(
    context: StartContext,
    spec: MachineSpec,
    limitMs: number | undefined,
    why: string,
  ): Promise<QemuMachine> {
    const { image, signal } = spec;
    const auth = drawSecret();
    const agentTimeoutMs = agentLimit(spec, limitMs);
    const snapshots = await this.#snapshots();
    const transport = await this.#transport(spec);
    const vsock = transport.transport === "vsock";
    let initrd: string | undefined;
    let firmwareSecret: string | undefined;
    await using failed = new AsyncDisposableStack();
    const machine = failed.use(
      await startMachine(context, spec, {
        plan: async (dir) => {
          const media = await writeBootMedia(dir, image, auth.secret, {
            files: spec.files,
            signal,
          });
          const disks = await Promise.all((spec.disks ?? []).map((disk) => prepareDisk(dir, disk)));
          if (image.disk) disks.unshift(rootDisk(await makeOverlay(dir, ROOT_DISK, image.disk)));
          initrd = media.initrd;
          firmwareSecret = media.firmwareFiles[0]?.path;
          return {
            memoryBytes: spec.memoryBytes,
            cpus: spec.cpus,
            ram: { kind: "private" },
            kernel: image.kernel,
            initrd: media.initrd,
            cmdline: image.kernel === undefined ? undefined : cmdlineOf(spec, vsock),
            disks,
            nics: spec.nics ?? [],
            firmwareFiles: media.firmwareFiles,
            incoming: false,
          };
        },
        hasVsock: vsock,
        transport,
        how: "boot",
        howWhy: why,
        bootSecret: auth.secret,
        agentTimeoutMs,
        // Elsewhere they are in the initial RAM file system.
        files: takesBootFiles(image) ? [] : spec.files,
        save: (self, options) =>
          saveMachine(context, self, {
            facts: {
              memoryBytes: spec.memoryBytes,
              cpus: spec.cpus,
              cmdline: cmdlineOf(spec, vsock),
              kernel: image.kernel,
              hasInitrd: initrd !== undefined,
              hasFirmwareSecret: firmwareSecret !== undefined,
              vsock,
              imageDigest: image.digest,
              qemu: context.qemu.version,
            },
            bootSecret: auth.secret,
            initrd,
            firmwareSecret,
          }, { ...options, root: snapshots }),
      }),
    );
    if (spec.expect !== "no-agent") {
      const client = await machine.connect(auth, agentTimeoutMs, signal);
      machine.info.kernel = client.agent.kernel;
      const helloMs = performance.now() - machine.startedMs;
      machine.info.timings.helloMs = helloMs;
      if (context.accel.accel === "tcg") await (await this.#accelerators()).calibrate(helloMs);
      await machine.personalize(signal);
    }
    failed.move(); // the caller's from here on
    return machine;
  }

  /** How a machine's agent is talked to. */
  #transport(spec: MachineSpec, obstacle = vsockObstacle(spec)): Promise<TransportDecision> {
    return chooseTransport({
      machine: spec.name,
      choice: spec.transport ?? "auto",
      device: this.#options.vsockDevice ?? VSOCK_DEVICE,
      obstacle,
    });
  }

  #accelerators(): Promise<AcceleratorChooser> {
    const { qemu, kvmDevice, cache, run = hostRun } = this.#options;
    return this.#chooser ??= findQemu({ path: qemu }).then((found) =>
      new AcceleratorChooser({
        qemu: found,
        kvmDevice,
        run,
        cache: cache === undefined ? undefined : `${cache}/accel`,
      })
    ).catch((error) => {
      this.#chooser = undefined; // QEMU may be installed by the next call
      throw error;
    });
  }

  /** On the disk of the cache: a state holds all of a machine's memory. */
  async #snapshots(): Promise<string> {
    return `${this.#options.cache ?? await cacheDir()}/snapshots`;
  }

  async #templates(): Promise<TemplateStore> {
    return this.#store ??= new TemplateStore({
      dir: `${this.#options.cache ?? await cacheDir()}/templates`,
      capBytes: this.#options.templateCapBytes ?? TEMPLATE_CAP,
    });
  }
}

/** A card of a saved machine is connected when QEMU starts, and to what is known when its machine is asked for. */
async function restoreKey(state: SavedState): Promise<string | undefined> {
  if (!(state instanceof QemuSavedState)) return undefined;
  const { dir, facts } = await state.entry();
  return (facts.nics ?? []).length > 0 ? undefined : `state ${dir}`;
}

/** Why a machine cannot be a clone; `undefined` if it can. */
export function cloneObstacle(spec: MachineSpec): string | undefined {
  if (spec.cold) return "asked for";
  if (spec.expect === "no-agent") return "a machine without agent cannot be saved at rest";
  const devices = (spec.disks ?? []).length + (spec.nics ?? []).length;
  if (devices > HOTPLUG_PORTS.length) {
    return `${devices} disks and network cards are more than the ${HOTPLUG_PORTS.length} that can be plugged in`;
  }
  return undefined;
}

/** Why no template can be made where a boot may still do; `undefined` for any other error. */
function templateObstacle(error: unknown): string | undefined {
  if (!(error instanceof HostError)) return undefined;
  if (!["NO_ROOM", "NO_TEMPLATES", "SAVE_FAILED"].includes(error.code)) return undefined;
  return error.message.split("\n").slice(0, 2).map((line) => line.trim()).join("; ");
}

/** Why a machine cannot be reached over vsock, whatever the host can do; `undefined` if it can. */
function vsockObstacle({ image }: MachineSpec): string | undefined {
  if (image.kernel !== undefined) return undefined;
  return `the image "${image.name}" boots by its own loader, so that its agent cannot be told to listen`;
}

function cmdlineOf({ image, cmdline, cmdlineAppend }: MachineSpec, vsock: boolean): string {
  return kernelCmdline({ image: image.cmdline, instead: cmdline, append: cmdlineAppend, vsock });
}

function agentLimit({ agentTimeoutMs }: MachineSpec, limitMs = Infinity): number {
  return Math.min(agentTimeoutMs ?? AGENT_MS * timeScale(), limitMs);
}
