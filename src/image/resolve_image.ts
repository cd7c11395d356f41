import { ImageError } from "../errors.ts";
import { closest } from "../values/mod.ts";
import { type BuildContext, buildContext, type BuildOptions } from "./build_context.ts";
import { runBuildHook } from "./build_hook.ts";
import {
  BUILT_IN_IMAGES,
  checkImageDefinition,
  type ImageDefinition,
  type ImageDefinitions,
} from "./definition.ts";
import { embeddedTiny } from "./_embedded_image.ts";
import { Found } from "./_found.ts";
import { installedTiny } from "./_installed.ts";
import { diskImage } from "./_disk_image.ts";
import { cleanImages } from "./image_cache.ts";
import type { Image } from "./image.ts";
import { initrdImage } from "./_initrd_image.ts";
import type { KernelPaths } from "./kernel.ts";
import { rootfsImage } from "./_rootfs_image.ts";
import { tinyImage } from "./_tiny_image.ts";

/** Options for {@linkcode resolveImage}. */
export interface ResolveImageOptions extends BuildOptions {
  /** Definitions of the configuration, by name. */
  images?: ImageDefinitions;
  /**
   * Folder that relative paths in definitions start at.
   *
   * @default the current folder
   */
  root?: string;
  /**
   * Kernel to start instead of the image's own.
   *
   * @default what `BELLJAR_KERNEL` and `BELLJAR_MODULES` name, but for disk images
   */
  kernel?: KernelPaths;
  /** Look for a newer kernel package than the one in the cache. */
  refresh?: boolean;
}

/**
 * Turns the name of an image, or a definition, into files that can be started, building what is
 * missing in the cache.
 *
 * @throws {TypeError} If a definition is wrong in shape.
 * @throws {ImageError} If there is no image of that name, or one of its parts is missing.
 * @throws {unknown} The reason of `signal`, if that aborts first.
 */
export async function resolveImage(
  image: string | ImageDefinition,
  options: ResolveImageOptions = {},
): Promise<Image> {
  const { images = {}, root = Deno.cwd(), refresh } = options;
  const name = typeof image === "string" ? image : "custom";
  const definition = typeof image === "string" ? findDefinition(image, images) : image;
  if (image !== "tiny") checkImageDefinition(name, definition);
  // A disk has a boot loader of its own, so that only who asks for it gets another kernel.
  const kernel = options.kernel ?? ("disk" in definition ? undefined : kernelOfEnvironment());
  const context = await buildContext(options);
  if (definition.build) await runBuildHook(name, definition.build, root, context);
  const full = await withFullPaths(name, definition, root);
  const chosen = kernel ? { ...full, kernel: kernel.kernel, modulesDir: kernel.modules } : full;
  const isPlainTiny = image === "tiny" && !kernel && !refresh && !context.agent;
  const agent = Deno.env.get("BELLJAR_AGENT");
  const found = isPlainTiny
    ? await plainTinies.get([context.arch, context.cacheDir, agent], () => plainTiny(context))
    : await buildKind(name, chosen, context, { refresh });
  if (context.built.size > 0) await cleanImages({}, context);
  return found;
}

function kernelOfEnvironment(): KernelPaths | undefined {
  const kernel = Deno.env.get("BELLJAR_KERNEL");
  const modules = Deno.env.get("BELLJAR_MODULES");
  const full = (path: string) => path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
  return kernel
    ? { kernel: full(kernel), modules: modules ? full(modules) : undefined }
    : undefined;
}

/** Every machine of most files is one of these. */
const plainTinies = new Found<Image>((
  { kernel, initrds },
) => [...kernel ? [kernel] : [], ...initrds]);

/** Takes `tiny` from this program, the cache, a build, or an installed program, in this order. */
async function plainTiny(context: BuildContext): Promise<Image> {
  const embedded = await embeddedTiny(context);
  if (embedded) return embedded;
  try {
    return await tinyImage("tiny", {}, context);
  } catch (error) {
    context.signal?.throwIfAborted();
    const installed = await installedTiny(context);
    if (installed) return installed;
    throw error;
  }
}

function buildKind(
  name: string,
  definition: ImageDefinition,
  context: BuildContext,
  options: { refresh?: boolean },
): Promise<Image> {
  if ("rootfs" in definition) return rootfsImage(name, definition, context, options);
  if ("disk" in definition) return diskImage(name, definition, context);
  if ("initrd" in definition) return initrdImage(name, definition, context, options);
  return tinyImage(name, definition, context, options);
}

function findDefinition(name: string, images: ImageDefinitions): ImageDefinition {
  if (name === "tiny") return { base: "tiny" };
  const found = Object.hasOwn(images, name) ? images[name] : undefined;
  if (found) return found;
  const names = [...BUILT_IN_IMAGES, ...Object.keys(images)];
  const near = closest(name, names);
  throw new ImageError(`Cannot find the image "${name}"`, {
    code: "NO_IMAGE",
    expected: `one of ${names.map((known) => JSON.stringify(known)).join(", ")}`,
    next: near
      ? `write "${near}", if that was meant`
      : "define it under `images` in belljar.config.ts",
  });
}

/** Makes paths absolute and reads the file with kernel arguments. */
async function withFullPaths(
  name: string,
  definition: ImageDefinition,
  root: string,
): Promise<ImageDefinition> {
  const full = (path: string) => path.startsWith("/") ? path : `${root}/${path}`;
  const result: Record<string, unknown> = { ...definition };
  for (const key of ["kernel", "modulesDir", "rootfs", "disk"]) {
    if (typeof result[key] === "string") result[key] = full(result[key]);
  }
  if ("initrd" in definition && definition.initrd !== undefined) {
    result.initrd = [definition.initrd].flat().map(full);
  }
  if (definition.cmdlineFile !== undefined) {
    result.cmdline = await readCmdline(name, full(definition.cmdlineFile));
  }
  return result as unknown as ImageDefinition;
}

async function readCmdline(name: string, path: string): Promise<string> {
  try {
    const lines = (await Deno.readTextFile(path)).split("\n").map((line) => line.trim());
    return lines.filter((line) => line !== "" && !line.startsWith("#")).join(" ");
  } catch (cause) {
    throw new ImageError(`Cannot read the kernel arguments of the image "${name}"`, {
      cause,
      expected: `"${path}" to be a text file`,
      actual: cause instanceof Error ? cause.message : String(cause),
    });
  }
}
