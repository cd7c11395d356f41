import { BelljarError } from "../../errors.ts";
import { emitEvent, uncharged } from "../../scope/mod.ts";
import type { MachineSpec } from "../types.ts";
import type { TransportDecision } from "../vsock.ts";
import { buildTemplate, startClone, type StartCloneOptions } from "./clone.ts";
import type { QemuMachine } from "./machine.ts";
import { prepareStandby, QemuStandby } from "./standby.ts";
import type { StartContext } from "./start.ts";
import type { StateEntry } from "./state_entry.ts";
import { hostCpu, templateKey } from "./template_key.ts";
import type { TemplateStore } from "./template_store.ts";

/** Options for {@linkcode Clones}. */
export interface ClonesOptions {
  templates: () => Promise<TemplateStore>;
  /** Folder for the states of machines that are saved. */
  snapshots: () => Promise<string>;
  /** How a machine's agent is talked to. */
  transport: (spec: MachineSpec) => Promise<TransportDecision>;
  /** Takes how long a boot took. */
  calibrate: (helloMs: number) => Promise<void>;
}

/** Starts machines as clones of templates, which it has built where they are missing. */
export class Clones {
  readonly #options: ClonesOptions;

  constructor(options: ClonesOptions) {
    this.#options = options;
  }

  /** Starts a machine, from what was prepared for it if that fits. */
  async start(
    context: StartContext,
    spec: MachineSpec,
    agentTimeoutMs: number,
  ): Promise<QemuMachine> {
    const transport = await this.#options.transport(spec);
    const key = await this.#key(context, spec, transport);
    const options = { agentTimeoutMs, snapshots: await this.#options.snapshots(), transport };
    const ready = await startFromStandby(context, spec, key, options);
    if (ready) return ready;
    const obtain = () => this.#template(context, spec, { key, agentTimeoutMs, transport });
    const { entry, templateMs } = await obtain();
    let machine: QemuMachine;
    try {
      machine = await startClone(context, spec, { ...options, entry });
    } catch (error) {
      // A file that was damaged after it was verified, or removed in this moment: once more from the start.
      if (!(error instanceof BelljarError) || !isDamage(error)) throw error;
      await (await this.#options.templates()).drop(key, error.summary);
      machine = await startClone(context, spec, { ...options, entry: (await obtain()).entry });
    }
    machine.info.timings.templateMs = templateMs;
    return machine;
  }

  /** What the machines have in common of which one can stand by for another. */
  async key(context: StartContext, spec: MachineSpec): Promise<string> {
    return await this.#key(context, spec, await this.#options.transport(spec));
  }

  /** Prepares a machine for whoever wants one of its kind next. */
  async prepare(
    context: StartContext,
    spec: MachineSpec,
    agentTimeoutMs: number,
  ): Promise<QemuStandby> {
    const transport = await this.#options.transport(spec);
    const key = await this.#key(context, spec, transport);
    const { entry } = await this.#template(context, spec, { key, agentTimeoutMs, transport });
    return await prepareStandby(context, { key, entry, agentTimeoutMs, signal: spec.signal });
  }

  async #key(
    { qemu, accel }: StartContext,
    spec: MachineSpec,
    transport: TransportDecision,
  ): Promise<string> {
    const vsock = transport.transport === "vsock";
    return await templateKey({ spec, vsock, qemu, accel: accel.accel, cpu: await hostCpu() });
  }

  /** Finds the template of a machine, or builds it. */
  async #template(
    context: StartContext,
    spec: MachineSpec,
    { key, agentTimeoutMs, transport }: {
      key: string;
      agentTimeoutMs: number;
      transport: TransportDecision;
    },
  ): Promise<{ entry: StateEntry; templateMs?: number }> {
    const store = await this.#options.templates();
    const vsock = transport.transport === "vsock";
    const began = performance.now();
    const { entry, built } = await uncharged(() =>
      store.get(key, async (dir) => {
        const helloMs = await buildTemplate(context, spec, { dir, agentTimeoutMs, vsock });
        if (context.accel.accel === "tcg") await this.#options.calibrate(helloMs);
      }, spec.signal)
    );
    if (!built) return { entry };
    const templateMs = performance.now() - began;
    emitEvent("template_built", { key, image: spec.image.name, durationMs: templateMs });
    return { entry, templateMs };
  }
}

function isDamage(error: BelljarError): boolean {
  return ["LOAD_FAILED", "IMAGE_UNREADABLE"].includes(error.code);
}

/** Starts a machine from what was prepared ahead, if that is of its kind and still good. */
export async function startFromStandby(
  context: StartContext,
  spec: MachineSpec,
  key: string | undefined,
  options: Omit<StartCloneOptions, "entry">,
): Promise<QemuMachine | undefined> {
  const { standby, signal, name } = spec;
  if (!(standby instanceof QemuStandby) || standby.key !== key) return undefined;
  const loaded = standby.take();
  if (!loaded) return undefined;
  try {
    return await startClone(context, spec, { ...options, entry: loaded.entry, loaded });
  } catch (error) {
    signal?.throwIfAborted();
    const why = error instanceof BelljarError ? error.summary : String(error);
    emitEvent("warning", {
      message: `machine "${name}" is started anew; of the one that was prepared for it: ${why}`,
    });
    return undefined;
  }
}
