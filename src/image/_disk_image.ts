import { ImageError } from "../errors.ts";
import { fileDigest } from "./_file_digest.ts";
import { storedImage } from "./_image_store.ts";
import type { BuildContext } from "./build_context.ts";
import type { DiskDefinition } from "./definition.ts";
import type { Image } from "./image.ts";
import { kernelFromPaths, kernelPart } from "./kernel.ts";

/** Changes whenever the same inputs give another image. */
const VERSION = 2;

const QCOW2_MAGIC = 0x514649fb; // "QFI\xfb", big endian

/**
 * Prepares a disk image whose own system starts the agent as a service. The file is used where it
 * is and never written to.
 *
 * @param definition With full paths.
 * @throws {ImageError} If a file is missing, or the disk is not in the format that is claimed.
 */
export async function diskImage(
  name: string,
  definition: DiskDefinition,
  context: BuildContext,
): Promise<Image> {
  const { disk, cmdline = "" } = definition;
  const format = await detectFormat(name, definition);
  const initrds = [definition.initrd ?? []].flat();
  const kernel = definition.kernel === undefined
    ? undefined
    : await kernelFromPaths({ kernel: definition.kernel }, context);
  const digests = await Promise.all([disk, ...initrds].map((path) => fileDigest(path, context)));
  const inputs = {
    version: VERSION,
    disk,
    format,
    digests,
    initrds,
    kernel: kernel?.digest,
    cmdline,
  };
  return await storedImage(name, inputs, () =>
    Promise.resolve({
      kind: "disk",
      kernel: kernel?.path,
      kernelRelease: kernel?.release,
      initrds,
      disk: { path: disk, format },
      cmdline,
      agentIsInit: false,
      parts: kernel ? [kernelPart(kernel)] : [],
      notes: kernel?.notes ?? [],
    }), context);
}

async function detectFormat(name: string, definition: DiskDefinition): Promise<"raw" | "qcow2"> {
  const { disk, format } = definition;
  const start = new Uint8Array(4);
  try {
    using file = await Deno.open(disk);
    if ((await file.stat()).size === 0) throw new Error("it is empty");
    await file.read(start);
  } catch (cause) {
    throw new ImageError(`Cannot read the disk "${disk}" of the image "${name}"`, {
      cause,
      expected: "a raw or qcow2 disk image",
      actual: cause instanceof Error ? cause.message : String(cause),
      next: "correct `disk` in belljar.config.ts",
    });
  }
  const found = new DataView(start.buffer).getUint32(0) === QCOW2_MAGIC ? "qcow2" : "raw";
  // A raw disk may begin with any bytes, so only a missing magic proves something.
  if (format !== "qcow2" || found === "qcow2") return format ?? found;
  throw new ImageError(`Cannot use the disk "${disk}" of the image "${name}"`, {
    expected: "a qcow2 file, as the definition says",
    actual: "its first bytes are not those of one",
    next: 'write `format: "raw"`, or convert it',
  });
}
