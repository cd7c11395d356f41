import { addedArchive, mountPoints } from "./_added_archive.ts";
import { listCpio } from "./_cpio_list.ts";
import type { CpioEntry } from "./_cpio.ts";
import { fileDigest } from "./_file_digest.ts";
import { linkFile, storedImage } from "./_image_store.ts";
import { type ImageLayout, layoutOf } from "./_layout.ts";
import { moduleEntries } from "./_module_files.ts";
import { sha256 } from "./_store.ts";
import { agentBinary } from "./agent_binary.ts";
import type { BuildContext } from "./build_context.ts";
import type { InitrdDefinition } from "./definition.ts";
import type { Image } from "./image.ts";
import { ImageError } from "../errors.ts";
import { chosenKernel, kernelPart } from "./kernel.ts";

/** Where the agent lies in images that start it themselves. */
export const AGENT_PATH = "/usr/lib/belljar/agent";

/** Changes whenever the same inputs give another image. */
const VERSION = 2;

/**
 * Prepares a kernel with a user's own initial RAM file systems. Those are used as they are; the agent
 * and the kernel's modules follow in an archive of their own.
 *
 * @param definition With full paths.
 * @throws {ImageError} If a file is missing or an archive cannot be read.
 */
export async function initrdImage(
  name: string,
  definition: InitrdDefinition,
  context: BuildContext,
  options: { refresh?: boolean } = {},
): Promise<Image> {
  const { modules = [], cmdline = "", init = "agent" } = definition;
  const initrds = [definition.initrd].flat();
  const agent = await Deno.readFile(await agentBinary(context));
  const kernel = await chosenKernel(definition, context, options);
  const inputs = {
    version: VERSION,
    initrds: [initrds, await Promise.all(initrds.map((path) => initrdDigest(name, path, context)))],
    agent: await sha256(agent),
    kernel: [kernel.digest, kernel.modulesDir],
    rest: [modules, cmdline, init],
  };
  return await storedImage(name, inputs, async (dir) => {
    context.onProgress?.(`building the image ${name}`);
    const { layout, notes } = await readLayout(initrds, context);
    const found = await moduleEntries(kernel, { load: modules, signal: context.signal });
    const path = init === "agent" ? "/init" : AGENT_PATH;
    const entries: CpioEntry[] = [
      ...mountPoints(layout),
      { type: "file", path, content: agent, mode: 0o755 },
      ...found.entries,
    ];
    await Deno.writeFile(`${dir}/belljar.cpio`, addedArchive(entries, layout));
    await linkFile(kernel.path, `${dir}/kernel`);
    return {
      kind: "initrd",
      kernel: "kernel",
      kernelRelease: kernel.release,
      initrds: [...initrds, "belljar.cpio"],
      cmdline,
      agentIsInit: init === "agent",
      parts: [kernelPart(kernel)],
      notes: [...kernel.notes, ...notes, ...found.notes],
      layout,
    };
  }, context);
}

async function initrdDigest(name: string, path: string, context: BuildContext): Promise<string> {
  try {
    return await fileDigest(path, context);
  } catch (cause) {
    context.signal?.throwIfAborted();
    throw new ImageError(`Cannot read the initrd "${path}" of the image "${name}"`, {
      cause,
      actual: cause instanceof Error ? cause.message : String(cause),
      next: "correct `initrd` in belljar.config.ts",
    });
  }
}

async function readLayout(
  initrds: string[],
  context: BuildContext,
): Promise<{ layout: ImageLayout; notes: string[] }> {
  try {
    const lists = [];
    for (const path of initrds) lists.push(...await listCpio(await Deno.readFile(path), context));
    return { layout: layoutOf(lists), notes: [] };
  } catch (error) {
    context.signal?.throwIfAborted();
    // The kernel may know more formats than we do, so this alone is no reason not to try.
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return {
      layout: { folders: [], links: {} },
      notes: [`links to folders in the initrd may be replaced, as it cannot be listed: ${reason}`],
    };
  }
}
