import { agentBinary } from "./agent_binary.ts";
import { baseEntries, parentDirectories } from "./_base_files.ts";
import { busyboxApplets, findBusybox } from "./_busybox.ts";
import { cpioChunks, type CpioEntry } from "./_cpio.ts";
import { linkFile, storedImage } from "./_image_store.ts";
import { layoutOf } from "./_layout.ts";
import { BOOT_MODULES, EXTRA_MODULES, moduleEntries } from "./_module_files.ts";
import { sha256 } from "./_store.ts";
import { buildContext, type BuildOptions } from "./build_context.ts";
import type { Image } from "./image.ts";
import { distributionKernel, kernelFromPaths, type KernelPaths } from "./kernel.ts";

/** Options for {@linkcode tinyImage}. */
export interface TinyOptions extends BuildOptions {
  /**
   * Name of an image that is made of this one.
   *
   * @default {"tiny"}
   */
  name?: string;
  /** Kernel to use instead of the distribution's. */
  kernel?: KernelPaths;
  /** Modules to load at boot besides those that a machine needs. */
  modules?: readonly string[];
  /** Kernel arguments of the image. */
  cmdline?: string;
  /** Look for a newer kernel package than the one in the cache. */
  refresh?: boolean;
}

/** Changes whenever the same inputs give another image. */
const VERSION = 1;

/**
 * Returns the built-in image: a kernel, busybox and the agent as process 1. It is built on first
 * use, which downloads a kernel package, and kept until one of its parts changes.
 *
 * @throws {ImageError} If a part is missing; it tells how to get it.
 * @throws {unknown} The reason of `signal`, if that aborts first.
 */
export async function tinyImage(options: TinyOptions = {}): Promise<Image> {
  const context = await buildContext(options);
  const { name = "tiny", modules = [], cmdline = "" } = options;
  const agent = await Deno.readFile(await agentBinary(context));
  const busybox = await findBusybox(context);
  const kernel = options.kernel
    ? await kernelFromPaths(options.kernel, context)
    : await distributionKernel(context, { refresh: options.refresh });
  const inputs = {
    version: VERSION,
    agent: await sha256(agent),
    busybox: busybox.digest,
    kernel: kernel.digest,
    modulesDir: options.kernel && kernel.modulesDir,
    modules: [BOOT_MODULES, EXTRA_MODULES, modules],
    cmdline,
  };
  return await storedImage(name, inputs, async (dir) => {
    context.onProgress?.(`building the image ${name}`);
    const found = await moduleEntries(kernel, { load: modules, signal: context.signal });
    const applets = await busyboxApplets(busybox, { signal: context.signal });
    const entries: CpioEntry[] = [
      ...baseEntries(),
      { type: "file", path: "/init", content: agent, mode: 0o755 },
      { type: "file", path: "/bin/busybox", content: busybox.bytes, mode: 0o755 },
      ...appletEntries(applets),
      ...found.entries,
    ];
    const initrd = ReadableStream.from(cpioChunks(entries));
    await Deno.writeFile(`${dir}/initrd.cpio`, initrd);
    await linkFile(kernel.path, `${dir}/kernel`);
    return {
      kind: "initrd",
      kernel: "kernel",
      kernelRelease: kernel.release,
      initrds: ["initrd.cpio"],
      cmdline,
      agentIsInit: true,
      notes: [...kernel.notes, ...found.notes],
      layout: layoutOf(entries),
    };
  }, context);
}

function appletEntries(applets: string[]): CpioEntry[] {
  const links = applets
    .filter((path) => path !== "bin/busybox")
    .map((path): CpioEntry => ({ type: "symlink", path, target: "/bin/busybox" }));
  return [...parentDirectories(applets), ...links];
}
