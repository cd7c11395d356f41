import { tryLockFile } from "../host/mod.ts";
import { OUTPUT_FILE, OUTPUT_ROOT_ENTRY, OWNER_LOCK } from "./output_owner.ts";
import { outputRoot } from "./output_root.ts";

/** What {@linkcode pruneOrphanedOutput} did. */
export interface PruneReport {
  /** Files and folders that were removed. */
  removed: string[];
  /** Folders that stay: their owner lives, or they hold what is not ours. */
  kept: string[];
}

/**
 * Removes the outputs that dead processes left. Whether an owner lives is asked of its lock, never of its pid; nothing is
 * removed whose name is not exactly one that belljar gives.
 *
 * @param dir Folder with the owners' folders; that of this process when missing.
 */
export async function pruneOrphanedOutput(dir?: string): Promise<PruneReport> {
  const root = dir ?? await outputRoot();
  const report: PruneReport = { removed: [], kept: [] };
  for (const name of await list(root)) {
    if (OUTPUT_ROOT_ENTRY.test(name)) await pruneOwner(`${root}/${name}`, report);
  }
  return report;
}

async function pruneOwner(dir: string, report: PruneReport): Promise<void> {
  try {
    const info = await Deno.lstat(dir);
    if (!info.isDirectory) return;
    const path = `${dir}/${OWNER_LOCK}`;
    using lock = await tryLockFile(path);
    if (!lock) return void report.kept.push(dir);
    for (const name of await list(dir)) {
      if (OUTPUT_FILE.test(name)) await removeFile(`${dir}/${name}`, report);
    }
    const left = (await list(dir)).filter((name) => name !== OWNER_LOCK);
    if (left.length > 0) return void report.kept.push(dir);
    await removeFile(path, report);
    await Deno.remove(dir);
    report.removed.push(dir);
  } catch {
    // Unreadable, or somebody else was faster: what cannot be pruned stays, and the next one tries again.
    report.kept.push(dir);
  }
}

async function removeFile(path: string, report: PruneReport): Promise<void> {
  const info = await Deno.lstat(path);
  if (!info.isFile) return;
  await Deno.remove(path);
  report.removed.push(path);
}

async function list(dir: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
