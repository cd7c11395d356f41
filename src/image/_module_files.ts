import { directory, parentDirectories, textFile } from "./_base_files.ts";
import type { CpioEntry } from "./_cpio.ts";
import { moduleIndexes } from "./_depmod.ts";
import { type KernelModule, modulesAlias, modulesDep, ModuleTree } from "./modules.ts";
import type { Kernel } from "./kernel.ts";

/** File that lists the modules which process 1 loads, one path per line, in order. */
export const MODULE_LIST_PATH = "/etc/belljar/modules";

/**
 * Modules that a machine needs before its agent answers, or that a clone of it may need at once:
 * after a restore there is no boot during which devices could find their drivers.
 */
export const BOOT_MODULES: readonly string[] = [
  "virtio_pci",
  "virtio_console", // the control port
  "virtio_rng",
  "qemu_fw_cfg",
  "pvpanic_pci", // reports a panic to QEMU
  "vmw_vsock_virtio_transport",
  "virtio_net", // hot-plugged after a restore, as are disks
  "virtio_blk",
];

/** Modules that tests are likely to want; the kernel and `modprobe` find them when asked. */
export const EXTRA_MODULES: readonly string[] = [
  ..."vsock_loopback vhost_vsock vsock_diag button evdev virtiofs virtio_mmio virtio_balloon".split(
    " ",
  ),
  ..."loop dm_mod null_blk zram nbd binfmt_misc".split(" "),
  ..."overlay ext4 squashfs erofs vfat nls_ascii nls_cp437 isofs fuse".split(" "),
  ..."veth bridge tun dummy macvlan sch_netem unix_diag tcp_diag packet_diag".split(" "),
];

/** Modules that systemd asks for by itself, before anything else could load them. */
export const SYSTEMD_MODULES: readonly string[] = ["autofs4", "button", "evdev"];

/** Options for {@linkcode moduleEntries}. */
export interface ModuleEntriesOptions {
  /**
   * Loaded at boot where the kernel has them.
   *
   * @default {BOOT_MODULES}
   */
  boot?: readonly string[];
  /** Loaded at boot besides `boot`; each must exist. */
  load?: readonly string[];
  /**
   * Present besides those that are loaded; left out where the kernel lacks them.
   *
   * @default {EXTRA_MODULES}
   */
  extra?: readonly string[];
  /** Whether to add the indexes that libkmod needs. */
  indexes?: boolean;
  signal?: AbortSignal;
}

/** Entries of an initramfs for a kernel's modules. */
export interface ModuleEntries {
  entries: CpioEntry[];
  /** Paths in the guest of the modules that are loaded at boot, in order. */
  loaded: string[];
  notes: string[];
}

/**
 * Collects the modules of a kernel for an initramfs: those loaded at boot with the list that names
 * them, and others with the files by which `modprobe` finds them.
 *
 * @throws {ImageError} If the modules cannot be read, or one of `load` is missing.
 */
export async function moduleEntries(
  kernel: Kernel,
  options: ModuleEntriesOptions = {},
): Promise<ModuleEntries> {
  const { boot = BOOT_MODULES, load = [], extra = EXTRA_MODULES, signal } = options;
  const tree = kernel.modulesDir ? await ModuleTree.open(kernel.modulesDir) : ModuleTree.empty();
  const release = kernel.release || kernel.modulesDir?.split("/").at(-1) || "unknown";
  const essential = await tree.resolve(boot, { optional: true, signal });
  const wanted = await tree.resolve(load, { signal });
  const loaded = unique([...essential, ...wanted]);
  const more = await tree.resolve(extra, { optional: true, signal });
  const present = unique([...loaded, ...more]);

  const builtin = tree.builtinList();
  const indexes = options.indexes
    ? await moduleIndexes(present, builtin, release, { signal })
    : new Map<string, Uint8Array>();

  const root = `/lib/modules/${release}`;
  const files: CpioEntry[] = [
    ...present.map(({ path, bytes }): CpioEntry => (
      { type: "file", path: `${root}/${path}`, content: bytes }
    )),
    textFile(`${root}/modules.dep`, modulesDep(present)),
    textFile(`${root}/modules.alias`, modulesAlias(present)),
    textFile(`${root}/modules.builtin`, builtin),
    ...[...indexes].map(([name, content]): CpioEntry => (
      { type: "file", path: `${root}/${name}`, content }
    )),
  ];
  const paths = loaded.map(({ path }) => `${root}/${path}`);
  return {
    entries: [
      ...parentDirectories(files.map(({ path }) => path)),
      ...files,
      directory("/etc"),
      directory("/etc/belljar"),
      textFile(MODULE_LIST_PATH, paths.map((path) => `${path}\n`).join("")),
    ],
    loaded: paths,
    notes: missingNotes(kernel, tree),
  };
}

function missingNotes(kernel: Kernel, tree: ModuleTree): string[] {
  if (tree.size === 0) {
    return [`no modules are known for ${kernel.origin}: it must have virtio built in`];
  }
  const missing = BOOT_MODULES.filter((name) => tree.find(name) === undefined);
  return missing.length > 0 ? [`${kernel.origin} lacks the modules ${missing.join(", ")}`] : [];
}

function unique(modules: KernelModule[]): KernelModule[] {
  return [...new Map(modules.map((module) => [module.name, module])).values()];
}
