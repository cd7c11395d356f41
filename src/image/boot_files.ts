import { parentDirectories } from "./_base_files.ts";
import { archivePath, cpioBytes } from "./_cpio.ts";

/** File of the initramfs that holds the secret which harness and agent share. */
export const SECRET_PATH = "/etc/belljar/secret";

/** A file that is added to an initramfs when a machine starts. */
export interface BootFile {
  /** Absolute path in the guest. */
  path: string;
  content: Uint8Array;
  /**
   * Permission bits.
   *
   * @default {0o644}
   */
  mode?: number;
  uid?: number;
  gid?: number;
}

/**
 * Writes files as an archive to be appended to an image's initramfs, where they win over files of
 * the same path. Folders that lie above them are made with mode 0755, but for well-known ones.
 *
 * Of files with the same path the last one counts.
 *
 * @throws {TypeError} If a path is not absolute, climbs by "..", or is both a file and a folder.
 */
export function bootFilesCpio(files: readonly BootFile[]): Uint8Array<ArrayBuffer> {
  const byPath = new Map<string, BootFile>();
  for (const file of files) {
    if (!file.path.startsWith("/")) {
      throw new TypeError(`Cannot add the file "${file.path}" to a machine: expected a full path`);
    }
    byPath.set(archivePath(file.path), file);
  }
  const folders = parentDirectories(byPath.keys());
  for (const { path } of folders) {
    if (byPath.has(path)) {
      throw new TypeError(`Cannot add "/${path}" to a machine both as a file and as a folder`);
    }
  }
  return cpioBytes([
    ...folders,
    ...[...byPath.values()].map((file) => ({ type: "file" as const, ...file })),
  ]);
}
