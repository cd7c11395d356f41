import { StateError } from "../errors.ts";
import { type DiskPlan, HOTPLUG_PORTS } from "./qemu/argv.ts";
import { QemuMachine } from "./qemu/machine.ts";
import { NbdClient } from "./qemu/nbd.ts";
import { plugDisk } from "./qemu/plug.ts";
import type { QmpEvent } from "./qemu/qmp.ts";
import type { Machine } from "./types.ts";

/** How long a guest may take to let go of a disk. */
const DETACH_MS = 60_000;

/** A disk that was unplugged, to be plugged in again. */
export type DetachedDisk = DiskPlan;

/** What can be done with the disks of a running machine from outside of it. */
export interface DiskControl {
  /** Ids of those that are plugged in. */
  ids(): string[];
  /** Its length in bytes. */
  size(id: string): Promise<number>;
  /** What lies on it at this moment; what the guest holds back in its caches does not. */
  read(id: string, offset: number, length: number): Promise<Uint8Array>;
  /** Puts bytes there behind the guest's back. */
  write(id: string, offset: number, data: Uint8Array): Promise<void>;
  /** Asks the guest to let go of it, and unplugs it. */
  detach(id: string): Promise<DetachedDisk>;
  /** Plugs it in again. */
  attach(disk: DetachedDisk): Promise<void>;
}

/**
 * The disks of a machine.
 *
 * @throws {StateError} If the machine is none of QEMU's.
 */
export function diskControl(machine: Machine): DiskControl {
  if (machine instanceof QemuMachine) return new QemuDisks(machine);
  throw new StateError(`Cannot look at the disks of machine "${machine.name}": it has none`, {
    actual: "it is a process of this host",
    next: "run it by QEMU",
  });
}

class QemuDisks implements DiskControl {
  readonly #machine: QemuMachine;

  constructor(machine: QemuMachine) {
    this.#machine = machine;
  }

  ids(): string[] {
    return this.#machine.disks.map(({ id }) => id);
  }

  async size(id: string): Promise<number> {
    const nodes = await this.#machine.qmp.execute<
      { "node-name": string; image: { "virtual-size": number } }[]
    >("query-named-block-nodes", { flat: true });
    const node = nodes.find((one) => one["node-name"] === `${id}-disk`);
    if (node) return node.image["virtual-size"];
    throw new StateError(`Cannot find disk "${id}" of machine "${this.#machine.name}"`);
  }

  async read(id: string, offset: number, length: number): Promise<Uint8Array> {
    return await this.#exported(id, false, (client) => client.read(offset, length));
  }

  async write(id: string, offset: number, data: Uint8Array): Promise<void> {
    const { disks, name } = this.#machine;
    if (disks.find((disk) => disk.id === id)?.readonly) {
      throw new StateError(`Cannot write disk "${id}" of machine "${name}": it is read-only`, {
        next: "attach it without `readonly: true`",
      });
    }
    await this.#exported(id, true, (client) => client.write(offset, data));
  }

  async detach(id: string): Promise<DetachedDisk> {
    const { disks, qmp, name } = this.#machine;
    const plan = disks.find((disk) => disk.id === id)!;
    if (plan.port === undefined) {
      throw new StateError(`Cannot detach disk "${id}" of machine "${name}"`, {
        actual: "it was there at power-on, on a bus that cannot be changed",
        next: "attach it with vm.attachDisk(), or boot without `cold: true`",
      });
    }
    const gone = qmp.waitFor(
      `the end of disk "${id}"`,
      ({ event, data }) => event === "DEVICE_DELETED" && data.device === id,
      { timeoutMs: DETACH_MS },
    );
    gone.catch(() => {}); // device_del tells why.
    await qmp.execute("device_del", { id });
    await gone;
    await qmp.execute("blockdev-del", { "node-name": `${id}-disk` });
    await qmp.execute("blockdev-del", { "node-name": `${id}-file` });
    disks.splice(disks.indexOf(plan), 1);
    return plan;
  }

  async attach(disk: DetachedDisk): Promise<void> {
    const { disks, nics, qmp, name } = this.#machine;
    const taken = [...disks, ...nics].map(({ port }) => port);
    const port = HOTPLUG_PORTS.find((one) => !taken.includes(one));
    if (port === undefined) {
      throw new StateError(`Cannot attach disk "${disk.id}" to machine "${name}"`, {
        expected: `at most ${HOTPLUG_PORTS.length} disks and network cards that are plugged in`,
      });
    }
    const plan = { ...disk, port };
    await plugDisk(qmp, plan);
    disks.push(plan);
  }

  /** QEMU itself reads and writes it: nobody else may have its file open, and what it has in memory counts. */
  async #exported<T>(
    id: string,
    writable: boolean,
    work: (client: NbdClient) => Promise<T>,
  ): Promise<T> {
    const { qmp } = this.#machine;
    const path = await this.#server();
    const name = `x${crypto.randomUUID()}`;
    const deleted = ({ event, data }: QmpEvent) =>
      event === "BLOCK_EXPORT_DELETED" && data.id === name;
    await qmp.execute("block-export-add", {
      type: "nbd",
      id: name,
      "node-name": `${id}-disk`,
      name,
      writable,
    });
    try {
      using client = await NbdClient.connect(path, name);
      const result = await work(client);
      await client.end();
      return result;
    } finally {
      const gone = qmp.waitFor(`the end of export "${name}"`, deleted);
      gone.catch(() => {}); // The command tells why.
      await qmp.execute("block-export-del", { id: name, mode: "hard" });
      await gone;
    }
  }

  /** Starts the server of this machine, once. */
  #server(): Promise<string> {
    const machine = this.#machine;
    const known = servers.get(machine);
    if (known) return known;
    const path = `${machine.dir}/nbd`;
    const started = machine.qmp.execute("nbd-server-start", {
      addr: { type: "unix", data: { path } },
    }).then(() => path);
    started.catch(() => servers.delete(machine)); // The next one tries again.
    servers.set(machine, started);
    return started;
  }
}

/** Sockets of the servers that were started. */
const servers = new WeakMap<QemuMachine, Promise<string>>();
