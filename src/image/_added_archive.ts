import { directory, parentDirectories } from "./_base_files.ts";
import { cpioBytes, type CpioEntry } from "./_cpio.ts";
import { type ImageLayout, realPath } from "./_layout.ts";

/** Folders that process 1 mounts file systems on. */
const MOUNT_POINTS = ["dev", "etc", "proc", "run", "sys", "tmp"];

/**
 * Writes entries as an archive to be appended to an initramfs of the given layout: links of that
 * are followed, and folders that it has keep their modes.
 */
export function addedArchive(
  entries: readonly CpioEntry[],
  layout: ImageLayout,
): Uint8Array<ArrayBuffer> {
  const known = new Set(layout.folders);
  const isNew = (entry: CpioEntry) => entry.type !== "directory" || !known.has(entry.path);
  const placed = entries.map((entry) => ({
    ...entry,
    path: realPath(entry.path, layout, { last: entry.type === "directory" }),
  }));
  const parents = parentDirectories(placed.map(({ path }) => path));
  return cpioBytes([...parents, ...placed].filter(isNew));
}

/** Entries for the folders that a machine needs whatever its image has. */
export function mountPoints(layout: ImageLayout): CpioEntry[] {
  return MOUNT_POINTS.filter((path) => !Object.hasOwn(layout.links, path)).map(directory);
}
