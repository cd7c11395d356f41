import { findProgram, runToolOk } from "./_tool.ts";
import { ImageError } from "../errors.ts";
import type { BuildContext } from "./build_context.ts";

/** Options for {@linkcode makeExt4}. */
export interface Ext4Options {
  /** Size of the file system; by default what the files need and room to spare. */
  bytes?: number;
  /** Hexadecimal digest that the identifiers of the file system are made of. */
  digest: string;
  /** Owners, by path with leading slash, where the folder's own are not meant. */
  owners: Map<string, Owner>;
}

/** Numeric owner of a file. */
export interface Owner {
  uid: number;
  gid: number;
}

const MIB = 1024 * 1024;
const BLOCK = 4096;

/**
 * Writes the tree below a folder to a new ext4 file system, without root.
 *
 * @throws {ImageError} If mke2fs is missing, or the files do not fit.
 */
export async function makeExt4(
  folder: string,
  file: string,
  options: Ext4Options,
  context: BuildContext,
): Promise<void> {
  const { signal } = context;
  const mke2fs = await findProgram("mke2fs");
  if (!mke2fs) {
    throw new ImageError(`Cannot make a disk of "${folder}": there is no mke2fs`, {
      next: "install e2fsprogs",
    });
  }
  const needed = await treeBytes(folder, context);
  const bytes = options.bytes ?? Math.max(needed * 1.5, needed + 64 * MIB);
  if (bytes < needed) {
    throw new ImageError(`Cannot make a disk of "${folder}": it does not fit`, {
      expected: `at least ${Math.ceil(needed / MIB)}M`,
      actual: `size is ${Math.floor(bytes / MIB)}M`,
      next: "raise or remove `size` in belljar.config.ts",
    });
  }
  context.onProgress?.(`writing a disk of ${Math.ceil(bytes / MIB)} MiB`);
  const uuid = options.digest.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, "$1-$2-$3-$4-$5");
  await runToolOk(`make a disk of "${folder}"`, mke2fs, [
    ...["-q", "-F", "-t", "ext4", "-b", String(BLOCK), "-m", "0", "-U", uuid],
    // Tables are written lazily: the file stays sparse.
    ...["-E", `root_owner=0:0,hash_seed=${uuid},lazy_itable_init=1,lazy_journal_init=1`],
    ...["-d", folder, file, `${Math.ceil(bytes / 1024)}k`],
  ], { signal, next: "look at the message; `size` in belljar.config.ts may be too small" });
  await setOwners(file, options.owners, context);
}

/** Sets owners inside a file system that is not mounted. */
async function setOwners(
  file: string,
  owners: Map<string, Owner>,
  context: BuildContext,
): Promise<void> {
  const script = [...owners]
    .filter(([path]) => !path.includes("\n")) // one command per line, with no way to escape its end
    .map(([path, { uid, gid }]) => {
      const name = `"${path.replaceAll('"', '""')}"`;
      return `sif ${name} uid ${uid}\nsif ${name} gid ${gid}\n`;
    }).join("");
  if (script === "") return;
  const debugfs = await findProgram("debugfs");
  if (!debugfs) {
    throw new ImageError("Cannot set the owners of files in a disk: there is no debugfs", {
      next: "install e2fsprogs",
    });
  }
  await runToolOk("set the owners of files in a disk", debugfs, ["-w", "-f", "-", file], {
    stdin: new TextEncoder().encode(script),
    signal: context.signal,
  });
}

/** Estimates what the files below a folder need in a file system: whole blocks and their inodes. */
async function treeBytes(folder: string, context: BuildContext): Promise<number> {
  const output = await runToolOk(`list "${folder}"`, "find", [folder, "-printf", "%s\\n"], {
    signal: context.signal,
  });
  const sizes = new TextDecoder().decode(output).trim().split("\n").map(Number);
  const blocks = sizes.reduce((sum, size) => sum + Math.ceil(size / BLOCK) * BLOCK + 512, 0);
  return blocks + 24 * MIB; // journal and tables
}
