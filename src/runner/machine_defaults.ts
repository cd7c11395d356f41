import { BelljarError } from "../errors.ts";
import { resolveImage } from "../image/mod.ts";
import { setLabProviders, setStandbys, Standbys, type StandbysOptions } from "../lab/mod.ts";
import {
  type MachineSpec,
  type SavedState,
  type StateKeyOptions,
  type Vmm,
  type VmmChoice,
  vmmFor,
} from "../vmm/mod.ts";
import type { LoadedConfig } from "./config.ts";
import { Fixtures } from "./fixtures/mod.ts";

/** What a run says about all its machines. */
export interface MachineDefaults {
  vmm?: "qemu" | "local";
  accel?: "auto" | "kvm" | "tcg";
  transport?: "auto" | "vsock" | "serial";
  cold?: boolean;
  /** When machines are prepared ahead: where processors are idle, whatever they do, or never. @default {"auto"} */
  standby?: "auto" | "always" | "never";
}

const CHOICES = {
  vmm: ["qemu", "local"],
  accel: ["auto", "kvm", "tcg"],
  transport: ["auto", "vsock", "serial"],
  standby: ["auto", "always", "never"],
} as const;

/** The variables by which the parent tells the processes of its files, and users tell everybody. */
export const MACHINE_VARIABLES = {
  vmm: "BELLJAR_VMM",
  accel: "BELLJAR_ACCEL",
  transport: "BELLJAR_TRANSPORT",
  cold: "BELLJAR_COLD",
  kernel: "BELLJAR_KERNEL",
  modules: "BELLJAR_MODULES",
  standby: "BELLJAR_STANDBY",
} as const;

/** Those that are set, for a file's process: it may have been started before the command line was read. */
export function machineEnvironment(): Record<string, string> {
  const entries = Object.values(MACHINE_VARIABLES).map((name) => [name, Deno.env.get(name)]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/**
 * Reads the defaults from the environment.
 *
 * @throws {BelljarError} If a variable has a value that means nothing.
 */
export function machineDefaults(env: (name: string) => string | undefined): MachineDefaults {
  const read = <K extends keyof typeof CHOICES>(key: K): MachineDefaults[K] => {
    const text = env(MACHINE_VARIABLES[key]);
    if (!text) return undefined;
    if ((CHOICES[key] as readonly string[]).includes(text)) return text as MachineDefaults[K];
    throw new BelljarError(`Cannot use ${MACHINE_VARIABLES[key]}=${text}`, {
      code: "CONFIG",
      expected: CHOICES[key].join(", "),
    });
  };
  const cold = env(MACHINE_VARIABLES.cold);
  return {
    vmm: read("vmm"),
    accel: read("accel"),
    transport: read("transport"),
    standby: read("standby"),
    ...cold && { cold: cold !== "0" },
  };
}

/** Makes labs use the run's choices and the images of the configuration, and find fixtures. */
export function installMachineDefaults(
  defaults: MachineDefaults,
  config: () => Promise<LoadedConfig>,
): void {
  const { vmm, accel, transport, cold } = defaults;
  const choice: VmmChoice = { ...vmm && { vmm }, ...accel && { accel } };
  const fixtures = new Fixtures();
  setLabProviders({
    fixture: async (request) => (await fixtures.open(request)).parts,
    async vmm() {
      const inner = await vmmFor(choice);
      return transport || cold ? new DefaultingVmm(inner, { transport, cold }) : inner;
    },
    async image(name, signal) {
      // The built-in image needs no configuration, and most files need no other.
      if (name === "tiny") return await resolveImage(name, { signal });
      const { config: { images }, root } = await config();
      return await resolveImage(name, { signal, images, root });
    },
  });
}

/** Has machines prepared ahead for the tests of this process, as far as the run wants that. */
export function installStandbys(
  { standby = "auto" }: MachineDefaults,
  options: Pick<StandbysOptions, "reserve" | "testsAhead">,
): Standbys {
  const idle = { measure: () => Promise.resolve(Infinity) };
  const standbys = new Standbys({ ...options, ...standby === "always" && { room: idle } });
  if (standby !== "never") setStandbys(standbys);
  return standbys;
}

/** Adds the run's choices to what tests leave open. */
class DefaultingVmm implements Vmm {
  readonly #inner: Vmm;
  readonly #defaults: Pick<MachineDefaults, "transport" | "cold">;

  constructor(inner: Vmm, defaults: Pick<MachineDefaults, "transport" | "cold">) {
    this.#inner = inner;
    this.#defaults = defaults;
  }

  get name(): Vmm["name"] {
    return this.#inner.name;
  }

  launch(spec: MachineSpec): ReturnType<Vmm["launch"]> {
    return this.#inner.launch(this.#filled(spec));
  }

  restore(state: SavedState, spec: MachineSpec): ReturnType<Vmm["restore"]> {
    return this.#inner.restore(state, this.#filled(spec));
  }

  standbyKey(spec: MachineSpec, state?: SavedState): ReturnType<Vmm["standbyKey"]> {
    return this.#inner.standbyKey(this.#filled(spec), state);
  }

  standby(spec: MachineSpec, state?: SavedState): ReturnType<Vmm["standby"]> {
    return this.#inner.standby(this.#filled(spec), state);
  }

  openState(path: string): ReturnType<Vmm["openState"]> {
    return this.#inner.openState(path);
  }

  stateKey(options: StateKeyOptions = {}): Promise<string> {
    return this.#inner.stateKey({ transport: this.#defaults.transport, ...options });
  }

  #filled(spec: MachineSpec): MachineSpec {
    const { transport, cold = false } = this.#defaults;
    return {
      ...spec,
      cold: spec.cold || cold,
      transport: spec.transport === "auto" && transport ? transport : spec.transport,
    };
  }
}
