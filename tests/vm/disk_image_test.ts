import { assertEquals } from "@std/assert";
import { makeExt4 } from "../../src/image/_ext4.ts";
import { cpioBytes } from "../../src/image/_cpio.ts";
import { moduleEntries } from "../../src/image/_module_files.ts";
import {
  agentBinary,
  buildContext,
  distributionKernel,
  resolveImage,
} from "../../src/image/mod.ts";
import { tempDir } from "../image/_objects.ts";
import { openVmm, shell } from "./_vmm.ts";

/** Process 1 of the disk's own initrd: loads drivers and hands over to the disk. */
const INITRD_INIT = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "$module"; done </etc/belljar/modules
until $b mount -t ext4 /dev/vda /disk; do $b sleep 0.1; done
exec $b switch_root /disk /sbin/init
`;

/** Process 1 of the disk's own system, which starts the agent as its users would. */
const DISK_INIT = `#!/bin/busybox sh
export PATH=/bin
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
until port=$($b grep -lx org.belljar.control /sys/class/virtio-ports/*/name); do $b sleep 0.1; done
port=\${port%/name}
/usr/lib/belljar/agent agent --control "/dev/\${port##*/}" \\
  --secret-file /sys/firmware/qemu_fw_cfg/by_name/opt/org.belljar/secret/raw
$b poweroff -f
`;

Deno.test("a disk image starts the agent itself and is never written to", async () => {
  await using dir = await tempDir();
  await using host = await openVmm();
  const context = await buildContext();
  const kernel = await distributionKernel(context);
  const busybox = await Deno.readFile("/bin/busybox");

  const tree = `${dir.path}/tree`;
  for (
    const path of ["bin", "sbin", "dev", "etc", "proc", "sys", "tmp", "run", "usr/lib/belljar"]
  ) {
    await Deno.mkdir(`${tree}/${path}`, { recursive: true });
  }
  await Deno.writeFile(`${tree}/bin/busybox`, busybox, { mode: 0o755 });
  await Deno.symlink("busybox", `${tree}/bin/sh`);
  await Deno.writeTextFile(`${tree}/sbin/init`, DISK_INIT, { mode: 0o755 });
  await Deno.copyFile(await agentBinary(), `${tree}/usr/lib/belljar/agent`);
  const options = { digest: "5".repeat(64), owners: new Map() };
  await makeExt4(tree, `${dir.path}/disk.img`, options, context);
  const { entries } = await moduleEntries(kernel);
  await Deno.writeFile(
    `${dir.path}/initrd`,
    cpioBytes([
      ...["bin", "dev", "disk"].map((path) => ({ type: "directory" as const, path })),
      { type: "file", path: "bin/busybox", content: busybox, mode: 0o755 },
      { type: "file", path: "init", content: new TextEncoder().encode(INITRD_INIT), mode: 0o755 },
      ...entries,
    ]),
  );

  const definition = { disk: "disk.img", kernel: kernel.path, initrd: "initrd" };
  const image = await resolveImage(definition, { root: dir.path });
  assertEquals([image.kind, image.agentIsInit, image.disk?.format], ["disk", false, "raw"]);
  const before = await Deno.readFile(image.disk!.path);
  await using machine = await host.vmm.launch(host.spec({ name: "disk", image, cold: true }));
  const client = machine.client!;
  assertEquals(await shell(client, "busybox readlink /proc/1/exe"), "/bin/busybox\n");
  await shell(client, "echo changed >/changed; busybox sync");
  assertEquals(await shell(client, "busybox cat /changed"), "changed\n");
  assertEquals(await Deno.readFile(image.disk!.path), before);
});
