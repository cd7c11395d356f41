import { directory, parentDirectories, textFile } from "./_base_files.ts";
import { type Busybox, busyboxPart, findBusybox } from "./_busybox.ts";
import { cpioBytes, type CpioEntry } from "./_cpio.ts";
import { linkFile, storedImage } from "./_image_store.ts";
import { layoutOf } from "./_layout.ts";
import { BOOT_MODULES, moduleEntries, SYSTEMD_MODULES } from "./_module_files.ts";
import { FILES_FOLDER, ROOT_INIT_APPLETS, rootInitScript } from "./_root_init.ts";
import { rootDisk } from "./_root_disk.ts";
import { sha256 } from "./_store.ts";
import { findProgram } from "./_tool.ts";
import { agentBinary } from "./agent_binary.ts";
import type { BuildContext } from "./build_context.ts";
import type { RootfsDefinition } from "./definition.ts";
import type { Image } from "./image.ts";
import { chosenKernel, kernelPart } from "./kernel.ts";

/** Changes whenever the same inputs give another image. */
const VERSION = 5;

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
  const disk = await rootDisk(name, rootfs, size, context);
  const init = definition.init ?? (disk.hasSystemd ? "systemd" : "agent");
  const inputs = {
    version: VERSION,
    disk: disk.digest,
    agent: await sha256(agent),
    busybox: busybox.digest,
    kernel: [kernel.digest, kernel.modulesDir],
    rest: [modules, cmdline, init, start],
    hasDepmod: await findProgram("depmod") !== undefined,
  };
  return await storedImage(name, inputs, async (dir) => {
    const found = await moduleEntries(kernel, {
      boot: init === "systemd" ? [...BOOT_MODULES, ...SYSTEMD_MODULES] : BOOT_MODULES,
      load: modules,
      indexes: true,
      signal: context.signal,
    });
    const entries = initramfs(agent, busybox, rootInitScript(init, start), found.entries);
    await Deno.writeFile(`${dir}/initrd.cpio`, cpioBytes(entries));
    await linkFile(kernel.path, `${dir}/kernel`);
    await linkFile(disk.path, `${dir}/root.ext4`);
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
