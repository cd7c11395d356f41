import { agentBinary } from "./agent_binary.ts";
import { baseEntries, parentDirectories } from "./_base_files.ts";
import { busyboxApplets, busyboxPart, findBusybox } from "./_busybox.ts";
import { cpioChunks, type CpioEntry } from "./_cpio.ts";
import { linkFile, storedImage } from "./_image_store.ts";
import { layoutOf } from "./_layout.ts";
import { BOOT_MODULES, EXTRA_MODULES, moduleEntries } from "./_module_files.ts";
import { sha256 } from "./_store.ts";
import type { BuildContext } from "./build_context.ts";
import type { KernelBase } from "./definition.ts";
import type { Image } from "./image.ts";
import { chosenKernel, kernelPart } from "./kernel.ts";

/** Changes whenever the same inputs give another image. */
const VERSION = 3;

/**
 * Prepares the built-in image: a kernel, busybox and the agent as process 1. It is built on first
 * use, which downloads a kernel package, and kept until one of its parts changes.
 *
 * @param definition With full paths.
 * @throws {ImageError} If a part is missing; it tells how to get it.
 */
export async function tinyImage(
  name: string,
  definition: KernelBase,
  context: BuildContext,
  options: { refresh?: boolean } = {},
): Promise<Image> {
  const { modules = [], cmdline = "" } = definition;
  const agent = await Deno.readFile(await agentBinary(context));
  const busybox = await findBusybox(context);
  const kernel = await chosenKernel(definition, context, options);
  const inputs = {
    version: VERSION,
    agent: await sha256(agent),
    busybox: busybox.digest,
    kernel: [kernel.digest, definition.kernel && kernel.modulesDir, definition.modulesDir],
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
      parts: [kernelPart(kernel), await busyboxPart(busybox, context)],
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
