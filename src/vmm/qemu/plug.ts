import type { NicSpec } from "../types.ts";
import type { DiskPlan } from "./argv.ts";
import type { QmpClient } from "./qmp.ts";

/** Plugs a disk into a port of a running or stopped machine. */
export async function plugDisk(qmp: QmpClient, port: string, disk: DiskPlan): Promise<void> {
  const { id, path, format, readonly } = disk;
  await qmp.execute("blockdev-add", {
    driver: "file",
    "node-name": `${id}-file`,
    filename: path,
    "read-only": readonly,
  });
  await qmp.execute("blockdev-add", {
    driver: format,
    "node-name": `${id}-disk`,
    file: `${id}-file`,
    "read-only": readonly,
  });
  await qmp.execute("device_add", {
    driver: "virtio-blk-pci",
    id,
    bus: port,
    drive: `${id}-disk`,
    serial: id,
    werror: "report",
    rerror: "report",
  });
}

/** Plugs a network card into a port of a running or stopped machine; its other end listens already. */
export async function plugNic(qmp: QmpClient, port: string, nic: NicSpec): Promise<void> {
  const { id, mac, socketPath } = nic;
  await qmp.execute("netdev_add", {
    type: "stream",
    id: `${id}-net`,
    server: false,
    addr: { type: "unix", path: socketPath },
  });
  await qmp.execute("device_add", {
    driver: "virtio-net-pci",
    id,
    bus: port,
    netdev: `${id}-net`,
    mac,
    romfile: "",
  });
}
