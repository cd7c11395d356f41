import { IMAGE_RECORD, imageFolder, type ImageRecord, readImage } from "./_image_store.ts";
import { publish, touch } from "./_store.ts";
import type { BuildContext } from "./build_context.ts";
import type { Image } from "./image.ts";

/**
 * Unpacks the image `tiny` that a compiled program carries, once, to the cache.
 *
 * @returns Nothing if this is no compiled program, or one without an image.
 */
export async function embeddedTiny(context: BuildContext): Promise<Image | undefined> {
  if (!Deno.build.standalone) return undefined;
  return await unpackImage(`${import.meta.dirname}/embed/tiny-${context.arch}`, context);
}

/**
 * Unpacks an image to the cache from a folder with its record and its files, each compressed.
 *
 * @returns Nothing if there is no such folder.
 */
export async function unpackImage(from: string, context: BuildContext): Promise<Image | undefined> {
  let text: string;
  try {
    text = await Deno.readTextFile(`${from}/${IMAGE_RECORD}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const { name, digest, sizes }: ImageRecord = JSON.parse(text);
  const dir = imageFolder(name, digest, context);
  await publish(dir, async (tmp) => {
    context.onProgress?.(`unpacking the image ${name}`);
    for (const file of Object.keys(sizes)) {
      using source = await Deno.open(`${from}/${file}.gz`);
      const unpacked = source.readable.pipeThrough(new DecompressionStream("gzip"));
      await Deno.writeFile(`${tmp}/${file}`, unpacked, { signal: context.signal });
    }
    await Deno.writeTextFile(`${tmp}/${IMAGE_RECORD}`, text);
    context.built.add(dir);
  }, {
    signal: context.signal,
    isWhole: async (dir) => await readImage(dir) !== undefined,
  });
  await touch(`${dir}/${IMAGE_RECORD}`);
  return await readImage(dir);
}
