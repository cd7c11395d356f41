import { ImageError } from "../errors.ts";
import { publish, sha256, touch } from "./_store.ts";
import type { BuildContext } from "./build_context.ts";
import type { Image } from "./image.ts";

/** An image as its folder keeps it: files are named relative to that, or by their full path. */
export interface ImageRecord extends Image {
  /** Sizes of the files in the folder: a cheap check that they are whole. */
  sizes: Record<string, number>;
}

/** File of an image's folder that describes it; its time tells the last use. */
export const IMAGE_RECORD = "image.json";

/** What a builder returns: the image with its files named relative to the folder it filled. */
export type BuiltImage = Omit<Image, "digest" | "arch" | "name">;

/**
 * Returns the image that is made of the given inputs, building it if the cache does not have it.
 *
 * @param inputs Everything that the result depends on; a value that `JSON.stringify` can show.
 * @param build Fills the folder it is given and tells what is in it.
 */
export async function storedImage(
  name: string,
  inputs: unknown,
  build: (dir: string) => Promise<BuiltImage>,
  context: BuildContext,
): Promise<Image> {
  const text = JSON.stringify([context.arch, inputs]);
  const digest = await sha256(new TextEncoder().encode(text));
  const dir = imageFolder(name, digest, context);
  await publish(dir, async (tmp) => {
    const image = { name, arch: context.arch, digest, ...await build(tmp) };
    await writeRecord(tmp, image);
    context.built.add(dir);
  }, {
    signal: context.signal,
    onWait: () => context.onProgress?.(`waiting for another process that builds "${name}"`),
    isWhole: async (dir) => await readImage(dir) !== undefined,
  });
  const image = await readImage(dir);
  if (!image) {
    throw new ImageError(`Cannot use the image "${name}": its files were removed meanwhile`, {
      next: "try again",
    });
  }
  await touch(`${dir}/${IMAGE_RECORD}`);
  return { ...image, name };
}

/** Reads an image's folder; nothing if it is not whole. */
export async function readImage(dir: string): Promise<Image | undefined> {
  try {
    const record: ImageRecord = JSON.parse(await Deno.readTextFile(`${dir}/${IMAGE_RECORD}`));
    const { sizes, ...image } = record;
    for (const [file, size] of Object.entries(sizes)) {
      if ((await Deno.stat(`${dir}/${file}`)).size !== size) return undefined;
    }
    const full = (path: string) => path.startsWith("/") ? path : `${dir}/${path}`;
    return {
      ...image,
      kernel: image.kernel && full(image.kernel),
      initrds: image.initrds.map(full),
      disk: image.disk && { ...image.disk, path: full(image.disk.path) },
    };
  } catch {
    return undefined; // not there, or not ours: made anew by the caller
  }
}

/** Puts a file of the cache into an image's folder without a copy, so that each lives on its own. */
export async function linkFile(from: string, to: string): Promise<void> {
  try {
    await Deno.link(from, to);
  } catch {
    await Deno.copyFile(from, to); // another file system, or one without links
  }
}

/** Returns the folder of the cache for an image. */
export function imageFolder(name: string, digest: string, context: BuildContext): string {
  const safe = name.replace(/[^A-Za-z0-9._-]/g, "_").replace(/^\.+/, "_");
  return `${context.cacheDir}/images/${safe}-${digest.slice(0, 16)}`;
}

async function writeRecord(dir: string, image: Image): Promise<void> {
  const sizes: Record<string, number> = {};
  for await (const entry of Deno.readDir(dir)) {
    if (entry.isFile) sizes[entry.name] = (await Deno.stat(`${dir}/${entry.name}`)).size;
  }
  const record: ImageRecord = { ...image, sizes };
  await Deno.writeTextFile(`${dir}/${IMAGE_RECORD}`, JSON.stringify(record, null, 2));
}
