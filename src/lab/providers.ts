/**
 * What the runner lends to labs: images of the configuration, resources of the pool, the choice of monitor.
 *
 * @module
 */
import { type Image, resolveImage } from "../image/mod.ts";
import { StateError } from "../errors.ts";
import { type TransportChoice, type Vmm, vmmFor } from "../vmm/mod.ts";
import type { SnapshotParts } from "./snapshot.ts";

/** What machines need of the host. */
export interface ResourceRequest {
  memoryBytes: number;
  cpus: number;
  /** Names of the machines it is for. */
  names: readonly string[];
  signal?: AbortSignal;
}

/** Resources that were granted. */
export interface ResourceGrant {
  /** Gives them back; harmless when called again. */
  release(): void;
  /** Says that they serve one clone, run by this process: it may be charged what it uses, not what it could. */
  isClone?(pid: number): void;
}

/** A fixture that a machine shall be resumed from. */
export interface FixtureRequest {
  /** Absolute path of its file. */
  path: string;
  signal?: AbortSignal;
}

/** What labs take from whoever runs them. */
export interface LabProviders {
  /** Finds an image by its name. */
  image(name: string, signal?: AbortSignal): Promise<Image>;
  /** Chooses what runs machines. */
  vmm(): Promise<Vmm>;
  /** Waits until the resources are free. */
  reserve(request: ResourceRequest): Promise<ResourceGrant>;
  /** Finds what a fixture has saved, and builds it first if need be. */
  fixture(request: FixtureRequest): Promise<SnapshotParts>;
}

const NOTHING: ResourceGrant = { release() {} };

const defaults: LabProviders = {
  image: (name, signal) => resolveImage(name, { signal }),
  vmm: () =>
    vmmFor({
      vmm: chosen("BELLJAR_VMM", ["qemu", "local"]),
      accel: chosen("BELLJAR_ACCEL", ["auto", "kvm", "tcg"]),
    }),
  reserve: () => Promise.resolve(NOTHING),
  fixture: ({ path }) =>
    Promise.reject(
      new StateError(`Cannot resume fixture "${path}": nobody here builds fixtures`, {
        next: "run the file by `belljar run` or `deno test`",
      }),
    ),
};

let current = defaults;

/** Replaces what labs take; returns a function that puts it back. */
export function setLabProviders(providers: Partial<LabProviders>): () => void {
  const previous = current;
  current = { ...current, ...providers };
  return () => current = previous;
}

/** What labs take now. */
export function labProviders(): LabProviders {
  return current;
}

/** Boot options that hold for the whole process unless a machine says otherwise; the runner's flags arrive here. */
export function processDefaults(): { transport?: TransportChoice; cold?: boolean } {
  const transport = chosen("BELLJAR_TRANSPORT", ["auto", "vsock", "serial"]);
  const cold = chosen("BELLJAR_COLD", ["0", "1"]);
  return {
    ...(transport === undefined ? {} : { transport }),
    ...(cold === undefined ? {} : { cold: cold === "1" }),
  };
}

function chosen<const T extends string>(variable: string, values: readonly T[]): T | undefined {
  const value = Deno.env.get(variable);
  if (value === undefined || value === "") return undefined;
  if ((values as readonly string[]).includes(value)) return value as T;
  throw new TypeError(
    `The environment variable ${variable} must be ${values.join(" or ")}, got ${
      JSON.stringify(value)
    }`,
  );
}
