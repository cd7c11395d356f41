/**
 * What the runner lends to labs: images of the configuration, resources of the pool, the choice of monitor.
 *
 * @module
 */
import { type Image, resolveImage } from "../image/mod.ts";
import type { Vmm } from "../vmm/mod.ts";
import { vmmFor } from "../vmm/mod.ts";

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
}

/** What labs take from whoever runs them. */
export interface LabProviders {
  /** Finds an image by its name. */
  image(name: string, signal?: AbortSignal): Promise<Image>;
  /** Chooses what runs machines. */
  vmm(): Promise<Vmm>;
  /** Waits until the resources are free. */
  reserve(request: ResourceRequest): Promise<ResourceGrant>;
}

const NOTHING: ResourceGrant = { release() {} };

const defaults: LabProviders = {
  image: (name, signal) => resolveImage(name, { signal }),
  vmm: () => vmmFor(),
  reserve: () => Promise.resolve(NOTHING),
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
