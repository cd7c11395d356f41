import { assertEquals } from "@std/assert";
import { agentBinary, resolveImage } from "../../src/image/mod.ts";
import { tempDir } from "../image/objects.ts";
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

/** Makes folders, busybox and process 1 of a small system. */
async function makeTree(tree: string, folders: string, init: [path: string, script: string]) {
  for (const path of folders.split(" ")) await Deno.mkdir(`${tree}/${path}`, { recursive: true });
  await Deno.copyFile("/bin/busybox", `${tree}/bin/busybox`);
  await Deno.symlink("busybox", `${tree}/bin/sh`);
  await Deno.writeTextFile(`${tree}/${init[0]}`, init[1], { mode: 0o755 });
}

async function sh(script: string, cwd: string): Promise<void> {
  const command = new Deno.Command("sh", {
    args: ["-ec", `PATH=$PATH:/sbin:/usr/sbin\n${script}`],
    cwd,
  });
  const { success, stderr } = await command.output();
  assertEquals(success, true, new TextDecoder().decode(stderr));
}

Deno.test("a disk image starts the agent itself, is cloned, and never written to", async () => {
  await using dir = await tempDir();
  await using host = await openVmm();
  const [root, tree, disk] = [dir.path, `${dir.path}/initrd.d`, `${dir.path}/disk.d`];
  await makeTree(tree, "bin dev disk", ["init", INITRD_INIT]);
  await makeTree(disk, "bin sbin dev etc proc sys tmp run usr/lib/belljar", [
    "sbin/init",
    DISK_INIT,
  ]);
  await Deno.copyFile(await agentBinary(), `${disk}/usr/lib/belljar/agent`);
  await sh("find . | cpio --quiet -o -H newc -R 0:0 >../initrd", tree);
  await sh("mke2fs -q -t ext4 -d disk.d disk.img 64M", root);

  // The modules of belljar's kernel, as an archive of their own.
  const modules = await resolveImage({ initrd: "initrd", init: "own" }, { root });
  const definition = { disk: "disk.img", kernel: modules.kernel!, initrd: modules.initrds };
  const image = await resolveImage(definition, { root });
  assertEquals([image.kind, image.agentIsInit, image.disk?.format], ["disk", false, "raw"]);
  const before = await Deno.readFile(image.disk!.path);
  {
    await using machine = await host.vmm.launch(host.spec({ name: "disk", image, cold: true }));
    const client = machine.client!;
    assertEquals(await shell(client, "busybox readlink /proc/1/exe"), "/bin/busybox\n");
    await shell(client, "echo changed >/changed; busybox sync");
    assertEquals(await shell(client, "busybox cat /changed"), "changed\n");
  }
  assertEquals(await Deno.readFile(image.disk!.path), before);

  // Clones share what the template wrote, and keep what each of them writes.
  await using first = await host.vmm.launch(host.spec({ name: "first", image }));
  await using second = await host.vmm.launch(host.spec({ name: "second", image }));
  assertEquals([first.info.how, second.info.how], ["clone", "clone"]);
  for (const { client, name } of [first, second]) {
    await shell(client!, `echo ${name} >>/mine; busybox sync; echo 3 >/proc/sys/vm/drop_caches`);
    assertEquals(await shell(client!, "busybox cat /mine"), `${name}\n`);
  }
  await second.reset();
  assertEquals(await shell(second.client!, "busybox cat /mine"), "second\n");
  assertEquals(await Deno.readFile(image.disk!.path), before);
});
