import { StateError } from "../../errors.ts";
import { makeOverlay } from "./disks.ts";
import type { DiskPlan } from "./argv.ts";
import { readBacking, setBacking } from "./qcow2.ts";

/** A disk of a saved machine. */
export interface SavedDisk extends Omit<DiskPlan, "path"> {
  /** Name of the file in the state's folder, or full path of one that is only read. */
  file: string;
}

/** Files that other files of a folder lie on have names of this kind, the same in every folder. */
const BASE_MARK = "base-";

/**
 * Copies the disks of a machine that stands still into the folder of its state. What is only read stays where it is.
 */
export async function copyDisks(disks: readonly DiskPlan[], dir: string): Promise<SavedDisk[]> {
  const saved: SavedDisk[] = [];
  for (const { path, ...disk } of disks) {
    if (disk.readonly) {
      saved.push({ ...disk, file: path });
      continue;
    }
    const file = `${disk.id}.${disk.format}`;
    await copySparse(path, `${dir}/${file}`);
    if (disk.format === "qcow2") await takeBase(path, `${dir}/${file}`, dir);
    saved.push({ ...disk, file });
  }
  return saved;
}

/** Makes the disks of a machine that is started from a state: what it writes goes to files of its own. */
export async function restoreDisks(
  disks: readonly SavedDisk[],
  from: string,
  dir: string,
): Promise<DiskPlan[]> {
  return await Promise.all(disks.map(async ({ file, ...disk }): Promise<DiskPlan> => {
    const path = file.startsWith("/") ? file : `${from}/${file}`;
    if (disk.readonly) return { ...disk, path };
    const overlay = await makeOverlay(dir, disk.id, { path, format: disk.format });
    return { ...disk, format: "qcow2", path: overlay };
  }));
}

/**
 * Has an overlay's base go with it if that belongs to another state, which may be deleted: by a second name for the same
 * file, since it is never written. Bases outside of states are images and the author's own files.
 */
async function takeBase(original: string, copy: string, dir: string): Promise<void> {
  const backing = await readBacking(copy);
  if (backing === undefined) return;
  const base = backing.startsWith("/") ? backing : `${parentOf(original)}/${backing}`;
  if (!await exists(base)) throw baseGone(copy, base);
  if (!await exists(`${parentOf(base)}/manifest.json`)) return;
  const known = nameOf(base);
  const name = known.startsWith(BASE_MARK)
    ? known
    : `${BASE_MARK}${(await Deno.stat(base)).ino}.qcow2`;
  if (backing !== name) await setBacking(copy, name);
  await linkBase(base, name, dir);
}

/** Bases name what they lie on without a folder, so that they can lie in several. */
async function linkBase(base: string, name: string, dir: string): Promise<void> {
  try {
    await Deno.link(base, `${dir}/${name}`);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return;
    await copySparse(base, `${dir}/${name}`); // another file system
  }
  const below = await readBacking(base);
  if (below !== undefined && !below.startsWith("/")) {
    await linkBase(`${parentOf(base)}/${below}`, below, dir);
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

function baseGone(disk: string, base: string): StateError {
  return new StateError(`Cannot save disk "${nameOf(disk)}": what it lies on was deleted`, {
    actual: `"${base}" is gone`,
    next: "save the machine before the snapshot that it was started from is deleted",
  });
}

async function copySparse(from: string, to: string): Promise<void> {
  try {
    const { success } = await new Deno.Command("cp", {
      args: ["--sparse=always", "--reflink=auto", "--", from, to],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    if (success) return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await Deno.copyFile(from, to); // says what is wrong, or works where cp lacks an option
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
