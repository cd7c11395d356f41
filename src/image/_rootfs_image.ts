import { bytes } from "../values/mod.ts";
import { directory, parentDirectories, textFile } from "./_base_files.ts";
import { type Busybox, busyboxPart, findBusybox } from "./_busybox.ts";
import { cpioBytes, type CpioEntry } from "./_cpio.ts";
import { makeExt4 } from "./_ext4.ts";
import { linkFile, storedImage } from "./_image_store.ts";
import { layoutOf } from "./_layout.ts";
import { BOOT_MODULES, moduleEntries, SYSTEMD_MODULES } from "./_module_files.ts";
import { FILES_FOLDER, ROOT_INIT_APPLETS, rootInitScript } from "./_root_init.ts";
import { rootDigest, rootTree } from "./_root_tree.ts";
import { removeTree, sha256 } from "./_store.ts";
import { agentBinary } from "./agent_binary.ts";
import type { BuildContext } from "./build_context.ts";
import type { RootfsDefinition } from "./definition.ts";
import type { Image } from "./image.ts";
import { chosenKernel, kernelPart } from "./kernel.ts";

/** Changes whenever the same inputs give another image. */
const VERSION = 3;

/**
 * Prepares a kernel with a root file system on a disk of its own, made without root. The tree itself
 * is not changed: an initramfs adds the agent when a machine starts.
 *
 * The disk must be given to machines as a virtio disk with the serial number `root`, each
 * with an overlay of its own.
 *
 * @param definition With full paths.
 * @throws {ImageError} If the tree cannot be read or does not fit.
 */
export async function rootfsImage(
  name: string,
  definition: RootfsDefinition,
  context: BuildContext,
  options: { refresh?: boolean } = {},
): Promise<Image> {
  const { rootfs, modules = [], cmdline = "", size, start = "booted" } = definition;
  const agent = await Deno.readFile(await agentBinary(context));
  const busybox = await findBusybox(context);
  const kernel = await chosenKernel(definition, context, options);
  const tree = await rootDigest(name, rootfs, context);
  const inputs = {
    version: VERSION,
    tree: [rootfs, tree],
    agent: await sha256(agent),
    busybox: busybox.digest,
    kernel: [kernel.digest, definition.modulesDir],
    rest: [modules, cmdline, size, definition.init, start],
  };
  return await storedImage(name, inputs, async (dir) => {
    const unpacked = `${dir}/root`;
    const { folder, owners } = await rootTree(rootfs, unpacked, context);
    const init = definition.init ?? (await hasSystemd(folder) ? "systemd" : "agent");
    const found = await moduleEntries(kernel, {
      boot: init === "systemd" ? [...BOOT_MODULES, ...SYSTEMD_MODULES] : BOOT_MODULES,
      load: modules,
      indexes: true,
      signal: context.signal,
    });
    const digest = await sha256(new TextEncoder().encode(JSON.stringify(inputs)));
    const disk = { bytes: size === undefined ? undefined : bytes(size), digest, owners };
    await makeExt4(folder, `${dir}/root.ext4`, disk, context);
    await removeTree(unpacked);

    const entries = initramfs(agent, busybox, rootInitScript(init, start), found.entries);
    await Deno.writeFile(`${dir}/initrd.cpio`, cpioBytes(entries));
    await linkFile(kernel.path, `${dir}/kernel`);
    return {
      kind: "rootfs",
      kernel: "kernel",
      kernelRelease: kernel.release,
      initrds: ["initrd.cpio"],
      disk: { path: "root.ext4", format: "raw" },
      cmdline,
      agentIsInit: init === "agent",
      parts: [kernelPart(kernel), await busyboxPart(busybox, context)],
      notes: [...kernel.notes, ...found.notes],
      layout: { ...layoutOf(entries), prefix: FILES_FOLDER },
    };
  }, context);
}

function initramfs(
  agent: Uint8Array,
  busybox: Busybox,
  script: string,
  modules: CpioEntry[],
): CpioEntry[] {
  const applets = ROOT_INIT_APPLETS.map((name): CpioEntry => (
    { type: "symlink", path: `bin/${name}`, target: "/bin/busybox" }
  ));
  return [
    ...["dev", "newroot", "proc", "sys"].map(directory),
    ...parentDirectories(["bin/sh", "etc/belljar/modules"]),
    { type: "char", path: "dev/console", major: 5, minor: 1 },
    { type: "char", path: "dev/null", major: 1, minor: 3, mode: 0o666 },
    { type: "file", path: "bin/busybox", content: busybox.bytes, mode: 0o755 },
    ...applets,
    { type: "file", path: "agent", content: agent, mode: 0o755 },
    textFile("init", script, 0o755),
    ...modules,
  ];
}

/** Tells whether process 1 of a tree is systemd, by where its links lead inside the tree. */
async function hasSystemd(folder: string): Promise<boolean> {
  for (const path of ["sbin/init", "usr/sbin/init"]) {
    const target = await Deno.readLink(`${folder}/${path}`).catch(() => "");
    if (/(?:^|\/)systemd$/.test(target)) return true;
  }
  return false;
}
