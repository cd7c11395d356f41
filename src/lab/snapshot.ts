import { StateError } from "../errors.ts";
import type { JobInfo } from "../jobs/mod.ts";
import { currentScope, type Registration } from "../scope/mod.ts";
import type { MachineSpec, SavedState } from "../vmm/mod.ts";
import { forgetState } from "./standbys.ts";

/** What machines of a snapshot are started with. */
export type SnapshotSpec = Omit<MachineSpec, "name" | "image" | "signal">;

/** What a {@linkcode Snapshot} is made of. */
export interface SnapshotParts {
  /** Name of the machine that was saved. */
  vm: string;
  image: string;
  spec: SnapshotSpec;
  state: SavedState;
  /** Whether it belongs to somebody else, as a fixture's does: it is never deleted then. */
  isKept?: boolean;
  /** How many workers were spawned in it: their numbers are taken. */
  workers?: number;
  /** What ran in it on behalf of the process that saved it. */
  jobs?: readonly JobInfo[];
}

/** The state of a machine at one moment. Machines are started from it as quickly as from a template. */
export class Snapshot implements AsyncDisposable {
  /** Name of the machine that was saved. */
  readonly vm: string;
  /** Name of its image. */
  readonly image: string;
  readonly #parts: SnapshotParts;
  readonly #registration: Registration;
  #deleting: Promise<void> | undefined;

  /** Made by `vm.snapshot()`; it is deleted with the scope of the caller. */
  constructor(parts: SnapshotParts) {
    this.vm = parts.vm;
    this.image = parts.image;
    this.#parts = parts;
    this.#registration = currentScope().register({
      kind: "snapshot",
      name: `of machine "${parts.vm}"`,
      close: () => this.delete(),
    });
  }

  /** Bytes on disk; 0 until it has settled. */
  get size(): number {
    return this.#parts.state.size;
  }

  /** Folder that holds it. */
  get path(): string {
    return this.#parts.state.path;
  }

  /** Milliseconds that each step took: while the machine stood still, and afterwards. */
  get timings(): { saveMs: number; settleMs: number } {
    return this.#parts.state.timings;
  }

  /** Resolves when machines can be started from it without waiting. */
  settled(): Promise<void> {
    return this.#parts.state.settled();
  }

  /** Removes it; machines that were started from it live on. Harmless when called again. */
  delete(): Promise<void> {
    return this.#deleting ??= (async () => {
      await Promise.resolve();
      this.#registration.release();
      if (this.#parts.isKept) return;
      forgetState(this.#parts.state);
      await this.#parts.state.delete();
    })();
  }

  /** Removes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.delete();
  }

  /**
   * What a machine is started with.
   *
   * @throws {StateError} If it was deleted.
   */
  open(): SnapshotParts {
    if (!this.#deleting) return this.#parts;
    throw new StateError(`Cannot use the snapshot of machine "${this.vm}": it was deleted`, {
      next: "take another one by vm.snapshot(), in a scope that lives long enough",
    });
  }

  /** Moves it to a folder of the caller, who removes it: it is not deleted with its scope any more. */
  async moveTo(path: string): Promise<void> {
    await this.open().state.moveTo(path);
    this.#registration.release();
  }
}

/** The state of all machines of a lab at about the same moment. */
export class LabSnapshot implements AsyncDisposable {
  /** The snapshots by the names of their machines. */
  readonly machines: ReadonlyMap<string, Snapshot>;

  constructor(machines: ReadonlyMap<string, Snapshot>) {
    this.machines = machines;
  }

  /** Bytes on disk. */
  get size(): number {
    return [...this.machines.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Removes all of it. */
  async delete(): Promise<void> {
    await Promise.all([...this.machines.values()].map((snapshot) => snapshot.delete()));
  }

  /** Removes all of it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.delete();
  }
}
