import { StateError } from "../errors.ts";
import { type DetachedDisk, type DiskControl, diskControl, type Machine } from "../vmm/mod.ts";

/** Bytes of a sector. */
const SECTOR = 512;

/** What a disk needs of its machine. */
export interface DiskParts {
  /** Name of the machine. */
  vm: string;
  id: string;
  /** What runs it; throws a StateError that names the operation where nothing does. */
  machine: (op: string) => Machine;
  /** Resolves when the guest has the disk. */
  found: () => Promise<void>;
}

/** A disk of a machine, seen from outside: what has really arrived on it, whatever the guest believes. */
export class Disk {
  /** The guest has it as `/dev/disk/by-id/virtio-<id>`. */
  readonly id: string;
  readonly #parts: DiskParts;
  #detached: DetachedDisk | undefined;

  /** Made by `vm.disk()` and `vm.attachDisk()` only. */
  constructor(parts: DiskParts) {
    this.#parts = parts;
    this.id = parts.id;
  }

  /** Whether it is plugged in. */
  get attached(): boolean {
    return diskControl(this.#parts.machine("disk")).ids().includes(this.id);
  }

  /** Its length in bytes. */
  async size(): Promise<number> {
    return await this.#control("size").size(this.id);
  }

  /** Sectors of 512 bytes, as they are on the disk; what the guest has not written back yet is not there. */
  async readSectors(first: number, count = 1): Promise<Uint8Array> {
    const control = this.#control("readSectors");
    await this.#checkRange("readSectors", control, first, count);
    return await control.read(this.id, first * SECTOR, count * SECTOR);
  }

  /** Overwrites sectors of 512 bytes behind the guest's back: what it has in its caches stays there. */
  async writeSectors(first: number, data: Uint8Array): Promise<void> {
    const control = this.#control("writeSectors");
    if (!(data instanceof Uint8Array)) {
      const got = data === null ? "null" : typeof data;
      throw new TypeError(`The data of writeSectors() must be bytes, got ${got}`);
    }
    if (data.length % SECTOR !== 0) {
      throw new RangeError(
        `writeSectors() takes whole sectors of ${SECTOR} bytes, got ${data.length} bytes`,
      );
    }
    await this.#checkRange("writeSectors", control, first, data.length / SECTOR);
    await control.write(this.id, first * SECTOR, data);
  }

  /** Unplugs it; resolves when the guest has let go of it. Its content stays, for {@linkcode attach}. */
  async detach(): Promise<void> {
    this.#detached = await this.#control("detach").detach(this.id);
  }

  /** Plugs it in again; resolves when the guest has it. */
  async attach(): Promise<void> {
    const { vm, machine, found } = this.#parts;
    const control = diskControl(machine("attach"));
    if (!this.#detached) {
      throw new StateError(`Cannot attach disk "${this.id}" of machine "${vm}"`, {
        actual: control.ids().includes(this.id) ? "it is attached" : "it was not detached here",
        next: "detach() it before, or use vm.attachDisk() for another",
      });
    }
    await control.attach(this.#detached);
    this.#detached = undefined;
    await found();
  }

  #control(op: string): DiskControl {
    const control = diskControl(this.#parts.machine(op));
    if (control.ids().includes(this.id)) return control;
    throw new StateError(`Cannot ${op} disk "${this.id}" of machine "${this.#parts.vm}"`, {
      actual: "it is not plugged in",
      next: "attach() it first",
    });
  }

  async #checkRange(
    call: string,
    control: DiskControl,
    first: number,
    count: number,
  ): Promise<void> {
    for (const [name, value] of [["first", first], ["count", count]] as const) {
      if (Number.isSafeInteger(value) && value >= 0) continue;
      throw new RangeError(`${call}() takes a whole number as ${name}, got ${String(value)}`);
    }
    const sectors = Math.floor(await control.size(this.id) / SECTOR);
    if (first + count <= sectors) return;
    throw new RangeError(
      `${call}() of sectors ${first} to ${first + count - 1}: disk "${this.id}" has ${sectors}`,
    );
  }
}
