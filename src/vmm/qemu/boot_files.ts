import { bootFilesCpio, type Image, joinInitrds, SECRET_PATH } from "../../image/mod.ts";
import type { MachineSpec } from "../types.ts";

/** Name by which a guest that brings its own loader reads the secret from the firmware's configuration. */
export const SECRET_FIRMWARE_FILE = "opt/org.belljar/secret";

/** What is put into a machine's folder before it boots. */
export interface BootMedia {
  /** Initial RAM file system: the image's archives and ours. */
  initrd?: string;
  firmwareFiles: { name: string; path: string }[];
}

/**
 * Whether secret and files get into a machine by its initial RAM file system. That of a disk image is its own system's and
 * hands nothing on.
 */
export function takesBootFiles(image: Image): boolean {
  return image.kind !== "disk";
}

/**
 * Writes what a machine boots from into `dir`: secret and files as a further archive of the initial RAM file system. A disk
 * that brings its own loader gets the secret through the firmware, and its files from its agent.
 */
export async function writeBootMedia(
  dir: string,
  image: Image,
  secret: Uint8Array,
  options: { files?: MachineSpec["files"]; signal?: AbortSignal } = {},
): Promise<BootMedia> {
  if (!takesBootFiles(image)) {
    const path = `${dir}/secret`;
    await Deno.writeFile(path, secret, { mode: 0o600 });
    const own = image.initrds.length > 0 ? `${dir}/initrd` : undefined;
    if (own) await joinInitrds(own, image.initrds, { signal: options.signal });
    return { initrd: own, firmwareFiles: [{ name: SECRET_FIRMWARE_FILE, path }] };
  }
  const archive = bootFilesCpio([
    ...options.files ?? [],
    // Last, so that no file of the author's stands in its place.
    { path: SECRET_PATH, content: secret, mode: 0o600 },
  ], image);
  const initrd = `${dir}/initrd`;
  await joinInitrds(initrd, [...image.initrds, archive], { signal: options.signal });
  return { initrd, firmwareFiles: [] };
}
