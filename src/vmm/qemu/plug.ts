import type { DiskPlan, NicPlan } from "./argv.ts";
import type { QmpClient } from "./qmp.ts";

/** Plugs a disk into its port of a running or stopped machine. */
export async function plugDisk(qmp: QmpClient, disk: DiskPlan): Promise<void> {
  const { id, path, format, readonly, port } = disk;
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
    // The harness may write to it too: see DiskControl.
    "share-rw": true,
    werror: "report",
    rerror: "report",
  });
}

/** Plugs a network card into its port of a running or stopped machine; its other end listens already. */
export async function plugNic(
  qmp: QmpClient,
  nic: NicPlan & { socketPath: string },
): Promise<void> {
  const { id, mac, socketPath, port } = nic;
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
