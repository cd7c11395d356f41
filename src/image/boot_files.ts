import { addedArchive } from "./_added_archive.ts";
import { archivePath } from "./_cpio.ts";
import type { ImageLayout } from "./_layout.ts";
import type { Image } from "./image.ts";

/** File of the initramfs that holds the secret which harness and agent share. */
export const SECRET_PATH = "/etc/belljar/secret";

/** Files below here belong to belljar and stay in the initramfs. */
const OWN_FOLDER = "etc/belljar/";

/** A file that is added to an initramfs when a machine starts. */
export interface BootFile {
  /** Absolute path in the guest. */
  path: string;
  /** What is in it. */
  content: Uint8Array;
  /**
   * Permission bits.
   *
   * @default {0o644}
   */
  mode?: number;
  /** Owner; root by default. */
  uid?: number;
  /** Group; root by default. */
  gid?: number;
}

/**
 * Writes files as an archive to be appended to an image's initramfs, where they win over files of
 * the same path. Folders that lie above them are made with mode 0755, but for well-known ones; those
 * that the image has keep theirs.
 *
 * Of files with the same path the last one counts.
 *
 * @param image The image that is started.
 * @throws {TypeError} If a path is not absolute, climbs by "..", or is both a file and a folder.
 */
export function bootFilesCpio(
  files: readonly BootFile[],
  image?: Pick<Image, "layout">,
): Uint8Array<ArrayBuffer> {
  const layout: ImageLayout = image?.layout ?? { folders: [], links: {} };
  const byPath = new Map<string, BootFile>();
  for (const file of files) {
    if (!file.path.startsWith("/")) {
      throw new TypeError(`Cannot add the file "${file.path}" to a machine: expected a full path`);
    }
    byPath.set(archivePath(file.path), file);
  }
  for (const path of byPath.keys()) {
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      if (!byPath.has(path.slice(0, end))) continue;
      throw new TypeError(
        `Cannot add "/${path.slice(0, end)}" to a machine both as a file and as a folder`,
      );
    }
  }
  const entries = [...byPath].map(([path, file]) => ({
    ...file,
    type: "file" as const,
    path: layout.prefix && !path.startsWith(OWN_FOLDER) ? `${layout.prefix}/${path}` : path,
  }));
  return addedArchive(entries, layout);
}
