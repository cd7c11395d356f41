import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  agentBinary,
  bootFilesCpio,
  buildContext,
  distributionKernel,
  type Image,
  joinInitrds,
  resolveImage,
  SECRET_PATH,
} from "../../src/image/mod.ts";
import { tempDir } from "../image/objects.ts";

const FIXTURES = new URL("../image/fixtures", import.meta.url).pathname;
const LIMIT_MS = 120_000;

/** A process 1 that runs `/etc/fixture.sh`, tells what it sees on the console, and powers off. */
const init = () => agentBinary({ sources: FIXTURES });

/** Starts an image with a script of its own and returns what the console showed. */
async function bootImage(
  image: Image,
  script: string,
  options: { dir: string; args?: string[] },
): Promise<string[]> {
  const boot = bootFilesCpio([
    { path: "/etc/fixture.sh", content: new TextEncoder().encode(script), mode: 0o644 },
  ], image);
  await joinInitrds(`${options.dir}/initrd`, [...image.initrds, boot]);
  const args = [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-accel", "tcg,thread=multi,tb-size=64", "-M", "q35", "-cpu", "max", "-m", "256M"],
    ...["-kernel", image.kernel!, "-initrd", `${options.dir}/initrd`],
    ...[
      "-append",
      `console=ttyS0 quiet cryptomgr.notests no_timer_check panic=-1 ${image.cmdline}`,
    ],
    ...["-device", "virtio-serial-pci", "-device", "virtio-rng-pci", "-device", "pvpanic-pci"],
    ...["-serial", "stdio", ...options.args ?? []],
  ];
  const child = new Deno.Command("qemu-system-x86_64", {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(LIMIT_MS),
  }).spawn();
  const { stdout, stderr } = await child.output();
  const text = new TextDecoder().decode(stdout);
  assertStringIncludes(text, "FIXTURE done", new TextDecoder().decode(stderr));
  return text.split(/\r?\n/);
}

Deno.test("tiny boots, loads its modules, and has what its users expect", async () => {
  await using dir = await tempDir();
  const image = await resolveImage("tiny", { agent: await init() });
  assertEquals([image.kind, image.agentIsInit, image.notes], ["initrd", true, []]);
  const size = (await Deno.stat(image.initrds[0]!)).size;
  assert(size < 16 * 1024 * 1024, `the initramfs has ${size} bytes`);

  const lines = await bootImage(
    image,
    `
      id -un; id -u user; stat -c '%a %U' /tmp /root /home/user
      grep -w localhost /etc/hosts | head -n 1
      ls -l /bin/sh | sed 's/.* -> //'
      echo applets $(busybox --list | while read name; do which "$name" || echo "no $name"; done | grep ^no)
      modprobe loop && echo loop loaded
      mkdir /tmp/l /tmp/u /tmp/w /tmp/m
      mount -t overlay -o lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w none /tmp/m && echo overlay mounted
      ls /sys/class/virtio-ports /dev/hwrng
    `,
    { dir: dir.path },
  );
  const modules = lines.filter((line) => line.startsWith("FIXTURE module "));
  assert(modules.length >= 10, modules.join("\n"));
  assertEquals(modules.filter((line) => !/ ok \d+ us$/.test(line)), []);
  const text = lines.join("\n");
  assertStringIncludes(text, "root\n1000\n1777 root\n700 root\n755 user\n127.0.0.1 localhost\n");
  assertStringIncludes(text, "/bin/busybox\napplets no linuxrc\nloop loaded\noverlay mounted\n");
  assertStringIncludes(text, "/dev/hwrng");
});

Deno.test("a boot file wins over the image's and leaves its folders alone", async () => {
  await using dir = await tempDir();
  const image = await resolveImage("tiny", { agent: await init() });
  const own = {
    path: "/etc/hosts",
    content: new TextEncoder().encode("10.0.0.1 own\n"),
    mode: 0o600,
  };
  const home = {
    path: "/home/user/a",
    content: new Uint8Array(),
    mode: 0o640,
    uid: 1000,
    gid: 1000,
  };
  await Deno.writeFile(`${dir.path}/own.cpio`, bootFilesCpio([own, home], image));
  const lines = await bootImage(
    { ...image, initrds: [...image.initrds, `${dir.path}/own.cpio`] },
    "cat /etc/hosts; stat -c '%n %a %U' /etc/hosts /home/user /home/user/a",
    { dir: dir.path },
  );
  const start = lines.indexOf("10.0.0.1 own");
  assertEquals(lines.slice(start, start + 4), [
    "10.0.0.1 own",
    "/etc/hosts 600 root",
    "/home/user 755 user",
    "/home/user/a 640 user",
  ]);
});

Deno.test("tiny boots another kernel, given by path, with that kernel's modules", async () => {
  await using dir = await tempDir();
  const own = await distributionKernel(await buildContext());
  await Deno.copyFile(own.path, `${dir.path}/vmlinux`);
  const release = own.release;
  await Deno.mkdir(`${dir.path}/lib/modules`, { recursive: true });
  await Deno.symlink(own.modulesDir!, `${dir.path}/lib/modules/${release}`);
  const image = await resolveImage("tiny", {
    agent: await init(),
    kernel: { kernel: `${dir.path}/vmlinux` },
  });
  assertEquals([image.kernelRelease, image.notes], [release, []]);
  assertEquals(image.parts[0], { name: "kernel", origin: `${dir.path}/vmlinux` });
  const lines = await bootImage(image, "uname -r; modprobe veth && echo veth loaded", {
    dir: dir.path,
  });
  assert(lines.includes(release), lines.join("\n"));
  assert(lines.includes("veth loaded"), lines.join("\n"));
});

Deno.test("a user's initrd boots unmodified, with its links and folders kept", async () => {
  await using dir = await tempDir();
  const tree = `${dir.path}/tree`;
  await Deno.mkdir(`${tree}/usr/lib`, { recursive: true });
  await Deno.mkdir(`${tree}/usr/bin`);
  await Deno.mkdir(`${tree}/home/special`, { recursive: true, mode: 0o711 });
  await Deno.symlink("usr/lib", `${tree}/lib`);
  await Deno.symlink("usr/bin", `${tree}/bin`);
  await Deno.writeTextFile(`${tree}/usr/lib/own`, "kept\n");
  await Deno.copyFile("/bin/busybox", `${tree}/usr/bin/busybox`);
  await Deno.symlink("busybox", `${tree}/usr/bin/sh`);
  const { success } = await new Deno.Command("sh", {
    args: ["-c", "find . | cpio --quiet -o -H newc -R 0:0 | gzip >../initrd.gz"],
    cwd: tree,
  }).output();
  assertEquals(success, true);
  const before = await Deno.readFile(`${dir.path}/initrd.gz`);

  const definition = { initrd: "initrd.gz", modules: ["veth"], cmdline: "belljar.test=1" };
  const image = await resolveImage(definition, { agent: await init(), root: dir.path });
  const lines = await bootImage(
    image,
    `
      busybox cat /lib/own; busybox readlink /lib
      busybox stat -c %a /home/special
      busybox uname -r; busybox cat /proc/cmdline
      busybox grep -c ^veth /proc/modules
    `,
    { dir: dir.path },
  );
  const start = lines.indexOf("kept");
  assertEquals(lines.slice(start, start + 4), ["kept", "usr/lib", "711", image.kernelRelease]);
  assertMatch(lines[start + 4]!, /belljar\.test=1/);
  assertEquals(lines[start + 5], "1");
  assertEquals(await Deno.readFile(`${dir.path}/initrd.gz`), before);
});

Deno.test("a root file system made of a folder boots from its disk with files added", async () => {
  await using dir = await tempDir();
  const tree = `${dir.path}/tree`;
  await Deno.mkdir(`${tree}/usr/bin`, { recursive: true });
  await Deno.mkdir(`${tree}/data`, { mode: 0o710 });
  await Deno.symlink("usr/bin", `${tree}/bin`);
  await Deno.symlink("/data", `${tree}/alias`);
  await Deno.copyFile("/bin/busybox", `${tree}/usr/bin/busybox`);
  await Deno.symlink("busybox", `${tree}/usr/bin/sh`);
  await Deno.writeTextFile(`${tree}/data/old`, "from the tree\n");

  const options = { agent: await init(), root: dir.path };
  const image = await resolveImage({ rootfs: "tree" }, options);
  assertEquals([image.kind, image.agentIsInit, image.disk?.format], ["rootfs", true, "raw"]);
  const before = await Deno.readFile(image.disk!.path);
  await Deno.writeFile(
    `${dir.path}/own.cpio`,
    bootFilesCpio([
      { path: "/alias/new", content: new TextEncoder().encode("added\n"), mode: 0o600, uid: 7 },
      { path: "/data/old", content: new TextEncoder().encode("replaced\n") },
      { path: SECRET_PATH, content: new Uint8Array(32), mode: 0o400 },
    ], image),
  );
  const lines = await bootImage(
    { ...image, initrds: [...image.initrds, `${dir.path}/own.cpio`] },
    `
      b=/bin/busybox
      $b cat /data/new /data/old; $b stat -c '%a %u' /data/new /data /etc/belljar/secret
      $b grep -c ' / ext4 ' /proc/mounts
      $b ls /lib/modules/$($b uname -r) | $b grep -c modules.dep$
    `,
    {
      dir: dir.path,
      args: [
        ...["-drive", `if=none,id=root,file=${image.disk!.path},format=raw,snapshot=on`],
        ...["-device", "virtio-blk-pci,drive=root,serial=root"],
      ],
    },
  );
  const start = lines.indexOf("added");
  assertEquals(lines.slice(start, start + 7), [
    ...["added", "replaced", "600 7", "710 0", "400 0", "1", "1"],
  ]);
  assertEquals(await Deno.readFile(image.disk!.path), before);
});
