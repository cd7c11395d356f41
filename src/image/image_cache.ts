import { bytes, checkOptions, optionTable, type Size } from "../values/mod.ts";
import { IMAGE_RECORD, readImage } from "./_image_store.ts";
import { ROOT_RECORD } from "./_root_disk.ts";
import { tryLockFile } from "../host/mod.ts";
import { removeTree, sweepLeftovers } from "./_store.ts";
import { buildContext, type BuildOptions } from "./build_context.ts";
import type { ImageKind } from "./image.ts";
import { KERNEL_RECORD } from "./kernel.ts";

/** An image that is in the cache. */
export interface CachedImage {
  /** Name that it was built for. */
  name: string;
  /** What it is made of. */
  kind: ImageKind;
  /** Digest of everything that it is made of. */
  digest: string;
  /** Release of its kernel, if that is known. */
  kernelRelease?: string;
  /** Folder of the cache that holds it. */
  dir: string;
  /** Bytes on disk; what it shares with others counts for each. */
  bytes: number;
  /** When it was last asked for. */
  usedAt: Date;
}

/** Options for {@linkcode cleanImages}. */
export interface CleanImagesOptions {
  /**
   * Size that the cache of images may have.
   *
   * @default {"8G"}
   */
  cap?: Size;
  /** Remove only images of this name, whatever the size of the cache. */
  name?: string;
  /** Remove everything, in use or not. */
  all?: boolean;
}

/** What {@linkcode cleanImages} did. */
export interface CleanImagesResult {
  /** Folders that were removed. */
  removed: string[];
  /** Bytes on disk that were freed. */
  freed: number;
  /** Bytes on disk that are still used. */
  kept: number;
}

const CLEAN = optionTable<CleanImagesOptions>()({ cap: "size", name: "string", all: "boolean" });
const DEFAULT_CAP = "8G";
/** What was asked for a moment ago may be about to be started. */
const RECENT_MS = 10 * 60_000;

/** Folders of the cache that hold entries, with the file whose time tells their last use. */
const SECTIONS = [
  ["images", IMAGE_RECORD],
  ["kernels", KERNEL_RECORD],
  ["roots", ROOT_RECORD],
  ["agents", "belljar-agent"],
] as const;

interface Entry {
  dir: string;
  usedAt: Date;
  /** Bytes on disk by inode: entries share files. */
  blocks: Map<number, number>;
}

/** Lists the images in the cache, the last used first. */
export async function listImages(options: BuildOptions = {}): Promise<CachedImage[]> {
  const { cacheDir } = await buildContext(options);
  const images: CachedImage[] = [];
  for (const { dir, usedAt, blocks } of await entriesOf(cacheDir, "images", IMAGE_RECORD)) {
    const image = await readImage(dir);
    if (!image) continue;
    const { name, kind, digest, kernelRelease } = image;
    images.push({ name, kind, digest, kernelRelease, dir, bytes: sum(blocks), usedAt });
  }
  return images.toSorted((a, b) => b.usedAt.getTime() - a.usedAt.getTime());
}

/**
 * Removes what was not used for longest until the cache of images is small enough. What is being
 * built, and what was used within ten minutes, stays unless `all` is set; a machine that runs keeps
 * the files that it has open.
 *
 * @throws {TypeError} If an option is unknown or has the wrong type.
 */
export async function cleanImages(
  options: CleanImagesOptions = {},
  build: BuildOptions = {},
): Promise<CleanImagesResult> {
  checkOptions("cleanImages()", options, CLEAN);
  const { name, all = false } = options;
  const cap = all ? 0 : bytes(options.cap ?? DEFAULT_CAP, "cap of cleanImages()");
  const { cacheDir } = await buildContext(build);
  for (const [section] of SECTIONS) {
    await sweepLeftovers(`${cacheDir}/${section}`).catch(ignoreMissing);
  }
  const sections = await Promise.all(
    SECTIONS.map(([section, record]) => entriesOf(cacheDir, section, record)),
  );
  const entries = sections.flat().toSorted((a, b) => a.usedAt.getTime() - b.usedAt.getTime());
  const before = sum(merged(entries));
  const removed = new Set<Entry>();
  for (const entry of entries) {
    const isWanted = name === undefined
      ? sum(merged(entries.filter((other) => !removed.has(other)))) > cap || all
      : (await readImage(entry.dir))?.name === name;
    const isRecent = Date.now() - entry.usedAt.getTime() < RECENT_MS;
    if (!isWanted || (isRecent && !all && name === undefined)) continue;
    if (await removeEntry(entry.dir)) removed.add(entry);
  }
  const kept = sum(merged(entries.filter((entry) => !removed.has(entry))));
  return { removed: [...removed].map(({ dir }) => dir), freed: before - kept, kept };
}

/** Removes an entry unless somebody is building it. */
async function removeEntry(dir: string): Promise<boolean> {
  const slash = dir.lastIndexOf("/");
  const lockPath = `${dir.slice(0, slash)}/.${dir.slice(slash + 1)}.lock`;
  using lock = await tryLockFile(lockPath, { create: true });
  if (!lock) return false;
  // Renamed first: what is left of a removal that is interrupted must not be taken for the entry.
  const doomed = `${dir.slice(0, slash)}/.${dir.slice(slash + 1)}.tmp-removed`;
  await removeTree(doomed);
  await Deno.rename(dir, doomed);
  await removeTree(doomed);
  await removeTree(lockPath);
  return true;
}

async function entriesOf(cacheDir: string, section: string, record: string): Promise<Entry[]> {
  const root = `${cacheDir}/${section}`;
  let names: string[];
  try {
    const found = await Array.fromAsync(Deno.readDir(root));
    names = found.filter(({ name, isDirectory }) => isDirectory && !name.startsWith("."))
      .map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return []; // nothing was built yet
    throw error;
  }
  const entries: Entry[] = [];
  for (const name of names) {
    const dir = `${root}/${name}`;
    const info = await Deno.stat(`${dir}/${record}`).catch(() => undefined);
    const blocks = new Map<number, number>();
    await addBlocks(dir, blocks).catch(ignoreMissing);
    entries.push({ dir, usedAt: info?.mtime ?? new Date(0), blocks });
  }
  return entries;
}

/** Another process may remove things while they are counted. */
function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

async function addBlocks(path: string, blocks: Map<number, number>): Promise<void> {
  const info = await Deno.lstat(path);
  blocks.set(info.ino ?? 0, (info.blocks ?? 0) * 512);
  if (!info.isDirectory) return;
  for await (const { name } of Deno.readDir(path)) await addBlocks(`${path}/${name}`, blocks);
}

function merged(entries: Entry[]): Map<number, number> {
  return new Map(entries.flatMap(({ blocks }) => [...blocks]));
}

function sum(blocks: Map<number, number>): number {
  return blocks.values().reduce((total, size) => total + size, 0);
}
