import { ImageError } from "../errors.ts";
import {
  type DebianPackage,
  findPackage,
  type NoPackage,
  unpackPackage,
} from "./_debian_package.ts";
import { fileDigest } from "./_file_digest.ts";
import { exists, publish, removeTree, sha256, touch, writeFileAtomic } from "./_store.ts";
import type { Arch, BuildContext } from "./build_context.ts";
import type { ImagePart } from "./image.ts";
import { extractVmlinux, hasPvhEntry, kernelFormat, kernelRelease } from "./vmlinux.ts";

/** A kernel that machines can be started with. */
export interface Kernel {
  /** File for QEMU's `-kernel`: the uncompressed kernel where there is one. */
  path: string;
  /** Release (`uname -r`), empty where the file does not tell. */
  release: string;
  /** Folder like `/lib/modules/<release>`, if there is one. */
  modulesDir?: string;
  /** Where it comes from, for people: a package with its version, or a path. */
  origin: string;
  /** Page from which its source can be had, if that is known. */
  source?: string;
  /** SHA-256 of the kernel as distributed. */
  digest: string;
  /** What a user may want to know, such as why the kernel is not uncompressed. */
  notes: string[];
}

/** A kernel given by path. */
export interface KernelPaths {
  /** A bzImage, vmlinux or (aarch64) Image. */
  kernel: string;
  /** Its modules, a folder like `/lib/modules/<release>`; looked for beside the kernel by default. */
  modules?: string;
}

/** Packages that lead to a small kernel for virtual machines, best first. */
const PACKAGES: Record<Arch, readonly string[]> = {
  x86_64: ["linux-image-cloud-amd64", "linux-image-virtual", "linux-image-amd64"],
  aarch64: ["linux-image-cloud-arm64", "linux-image-virtual", "linux-image-arm64"],
};
/** Packages that hold a kernel or its modules; others that they need are for an installed system. */
const KERNEL_PACKAGE = /^linux-(?:image|modules)(?:-unsigned)?-\d/;
/** File of a kernel's folder that describes it; its time tells the last use. */
export const KERNEL_RECORD = "kernel.json";

/** What is kept beside a kernel in the cache; files are named relative to it. */
interface KernelRecord extends Omit<Kernel, "path" | "modulesDir"> {
  /**
   * The file that machines are started with, and its size: a cheap check that it is whole. Missing
   * where the user's own file is used.
   */
  file?: string;
  bytes?: number;
  modules?: string;
}

/** Returns the kernel that a definition names, else the distribution's. */
export async function chosenKernel(
  definition: { kernel?: string; modulesDir?: string },
  context: BuildContext,
  options: { refresh?: boolean } = {},
): Promise<Kernel> {
  const { kernel, modulesDir } = definition;
  if (kernel !== undefined) return await kernelFromPaths({ kernel, modules: modulesDir }, context);
  const found = await distributionKernel(context, options);
  return modulesDir === undefined ? found : { ...found, modulesDir };
}

/** Describes where a kernel is from. */
export function kernelPart({ origin, source }: Kernel): ImagePart {
  return { name: "kernel", origin, source };
}

/**
 * Returns the distribution's kernel: the one in the cache, else the newest that its packages have,
 * else the host's own if that can be read. Needs no root.
 *
 * @param options.refresh Look for a newer package even if there is a kernel in the cache.
 * @throws {ImageError} If no kernel can be had; it names each way.
 */
export async function distributionKernel(
  context: BuildContext,
  options: { refresh?: boolean } = {},
): Promise<Kernel> {
  const root = `${context.cacheDir}/kernels`;
  const pointer = `${root}/default-${context.arch}`;
  if (!options.refresh) {
    const name = await Deno.readTextFile(pointer).catch(() => undefined);
    const known = name && await readRecord(`${root}/${name}`);
    if (known) return known;
  }
  context.onProgress?.("looking for the distribution's kernel package");
  const found = await findPackage(PACKAGES[context.arch], { signal: context.signal });
  if ("reason" in found) return await hostKernel(context, found);
  const packages = await kernelPackages(found, context);
  const main = packages[0]!;
  const name = `${main.name}_${main.version.replaceAll("/", "_")}_${main.arch}`;
  await publish(`${root}/${name}`, (tmp) => unpackKernel(tmp, packages, context), {
    signal: context.signal,
    onWait: () => context.onProgress?.("waiting for another process that fetches the kernel"),
    isWhole: async (dir) => await readRecord(dir) !== undefined,
  });
  const kernel = await readRecord(`${root}/${name}`);
  if (!kernel) throw damaged(`${root}/${name}`);
  await writeFileAtomic(pointer, name);
  return kernel;
}

/**
 * Prepares a kernel given by path: finds its modules and takes the uncompressed kernel out of it.
 *
 * @throws {ImageError} If the file cannot be read.
 */
export async function kernelFromPaths(paths: KernelPaths, context: BuildContext): Promise<Kernel> {
  const { kernel: path, modules } = paths;
  const digest = await readable(path, context.signal, () => fileDigest(path, context));
  const dir = `${context.cacheDir}/kernels/${digest.slice(0, 16)}`;
  await publish(dir, async (tmp) => {
    const bytes = await readable(
      path,
      context.signal,
      () => Deno.readFile(path, { signal: context.signal }),
    );
    const release = kernelRelease(bytes) ?? "";
    const kernel = { release, origin: digest, digest, notes: [] };
    if (kernelFormat(bytes) === "bzImage") return await writeKernel(tmp, bytes, kernel, context);
    checkBootable(path, bytes, context.arch);
    await Deno.writeTextFile(`${tmp}/${KERNEL_RECORD}`, JSON.stringify(kernel));
  }, {
    signal: context.signal,
    isWhole: async (dir) => await readRecord(dir) !== undefined,
  });
  const known = await readRecord(dir);
  if (!known) throw damaged(dir);
  // One content may lie at several paths: the record tells only what all of them have in common.
  return {
    ...known,
    path: known.path || path,
    origin: path,
    modulesDir: modules ?? await findModules(path, known.release),
  };
}

async function kernelPackages(
  meta: DebianPackage,
  context: BuildContext,
): Promise<DebianPackage[]> {
  const packages = new Map<string, DebianPackage>();
  const queue = [meta];
  for (let next = queue.shift(); next; next = queue.shift()) {
    if (packages.has(next.name)) continue;
    if (KERNEL_PACKAGE.test(next.name)) packages.set(next.name, next);
    for (const name of next.depends.filter((name) => KERNEL_PACKAGE.test(name))) {
      const found = await findPackage([name], { signal: context.signal });
      if ("reason" in found) {
        throw new ImageError(`Cannot fetch the kernel package "${name}"`, {
          expected: `it to be there, as "${next.name}" needs it`,
          actual: found.reason,
          next: found.next,
        });
      }
      queue.push(found);
    }
  }
  if (packages.size > 0) return [...packages.values()];
  throw new ImageError(`Cannot find the kernel that the package "${meta.name}" stands for`, {
    expected: "a dependency named linux-image-<version>",
    actual: meta.depends.join(", ") || "no dependencies",
    next: "name a kernel in the image definition",
  });
}

async function unpackKernel(
  tmp: string,
  packages: DebianPackage[],
  context: BuildContext,
): Promise<void> {
  const root = `${tmp}/root`;
  const origin = packages.map(({ name, version }) => `${name} ${version}`).join(", ");
  for (const [index, found] of packages.entries()) {
    context.onProgress?.(`fetching ${found.name} ${found.version}`, index / packages.length);
    await unpackPackage(found, root, { signal: context.signal });
  }
  const boot = await Array.fromAsync(Deno.readDir(`${root}/boot`)).catch(() => []);
  const file = boot.find((entry) => entry.isFile && entry.name.startsWith("vmlinuz-"));
  if (!file) throw new ImageError(`Cannot find a kernel in ${origin}`);
  const release = file.name.slice("vmlinuz-".length);
  const modules = await firstExisting([
    `${root}/lib/modules/${release}`,
    `${root}/usr/lib/modules/${release}`,
  ]);
  if (modules) await Deno.rename(modules, `${tmp}/modules`);
  const bytes = await Deno.readFile(`${root}/boot/${file.name}`);
  await removeTree(root);
  const kernel = {
    release,
    modulesDir: modules && "modules",
    origin,
    source: packages[0]?.source,
    digest: await sha256(bytes),
    notes: [],
  };
  await writeKernel(tmp, bytes, kernel, context);
}

/** Writes a kernel, unpacked where that is possible, and its record. */
async function writeKernel(
  dir: string,
  bytes: Uint8Array,
  kernel: Omit<Kernel, "path">,
  context: BuildContext,
): Promise<void> {
  context.onProgress?.("unpacking the kernel");
  const { vmlinux, reason } = context.arch === "x86_64"
    ? await extractVmlinux(bytes, { signal: context.signal })
    : {};
  const { modulesDir, ...rest } = kernel;
  const record: KernelRecord = {
    ...rest,
    file: vmlinux ? "vmlinux" : "vmlinuz",
    bytes: (vmlinux ?? bytes).length,
    modules: modulesDir,
    notes: reason ? [`machines start slower, as the kernel stays compressed: ${reason}`] : [],
  };
  await Deno.writeFile(`${dir}/${record.file}`, vmlinux ?? bytes);
  await Deno.writeTextFile(`${dir}/${KERNEL_RECORD}`, JSON.stringify(record, null, 2));
}

/** Reads what {@linkcode writeKernel} wrote, unless it was removed or changed. */
async function readRecord(dir: string): Promise<Kernel | undefined> {
  try {
    const text = await Deno.readTextFile(`${dir}/${KERNEL_RECORD}`);
    const { file, bytes, modules, ...rest }: KernelRecord = JSON.parse(text);
    const path = file === undefined ? "" : `${dir}/${file}`;
    if (path !== "" && (await Deno.stat(path)).size !== bytes) return undefined;
    await touch(`${dir}/${KERNEL_RECORD}`);
    return { ...rest, path, modulesDir: modules && `${dir}/${modules}` };
  } catch {
    return undefined; // not there, or not ours: made anew by the caller
  }
}

async function hostKernel(context: BuildContext, why: NoPackage): Promise<Kernel> {
  const release = Deno.osRelease();
  const kernel = `/boot/vmlinuz-${release}`;
  const modules = `/lib/modules/${release}`;
  try {
    (await Deno.open(kernel)).close();
    await Deno.stat(modules);
  } catch (cause) {
    throw new ImageError("Cannot find a kernel for machines", {
      code: "NO_KERNEL",
      cause,
      expected: `one of the packages ${PACKAGES[context.arch].join(", ")}, or the host's own ` +
        `${kernel} with ${modules}`,
      actual: `${why.reason}; the host's own cannot be read (${
        cause instanceof Error ? cause.message : cause
      })`,
      next: `${why.next}; or name a kernel in belljar.config.ts`,
    });
  }
  const found = await kernelFromPaths({ kernel, modules }, context);
  return { ...found, notes: [...found.notes, `uses the host's kernel: ${why.reason}`] };
}

/** Says which kernel it was that could not be read. */
async function readable<T>(
  path: string,
  signal: AbortSignal | undefined,
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    signal?.throwIfAborted();
    throw new ImageError(`Cannot read the kernel "${path}"`, {
      cause,
      expected: "a bzImage or vmlinux that this user may read",
      actual: cause instanceof Error ? cause.message : String(cause),
    });
  }
}

/** Refuses files that QEMU would only fail to start in silence. */
function checkBootable(path: string, bytes: Uint8Array, arch: Arch): void {
  // Other architectures start an Image, compressed or not, which has no shape of its own.
  if (arch !== "x86_64") return;
  const format = kernelFormat(bytes);
  if (format === "vmlinux" && hasPvhEntry(bytes)) return;
  throw new ImageError(`Cannot start the kernel "${path}"`, {
    expected: "a bzImage, or a vmlinux with a PVH entry (CONFIG_PVH=y)",
    actual: format === "vmlinux" ? "an ELF file without one" : "neither of them",
    next: "give the kernel's arch/x86/boot/bzImage",
  });
}

async function findModules(kernel: string, release: string): Promise<string | undefined> {
  if (release === "") return undefined;
  const folder = kernel.includes("/") ? kernel.slice(0, kernel.lastIndexOf("/")) || "/" : ".";
  return await firstExisting([
    `${folder}/lib/modules/${release}`,
    `${folder}/../lib/modules/${release}`,
    `${folder}/modules/lib/modules/${release}`,
    `/lib/modules/${release}`,
  ]);
}

async function firstExisting(paths: string[]): Promise<string | undefined> {
  for (const path of paths) if (await exists(path)) return path;
  return undefined;
}

function damaged(dir: string): ImageError {
  return new ImageError(`Cannot use the kernel in "${dir}": it was removed or changed`, {
    next: "try again",
  });
}
