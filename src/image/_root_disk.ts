import { bytes, type Size } from "../values/mod.ts";
import { makeExt4 } from "./_ext4.ts";
import { rootDigest, rootTree } from "./_root_tree.ts";
import { publish, removeTree, sha256, touch } from "./_store.ts";
import type { BuildContext } from "./build_context.ts";

/** A disk that was made of a root file system. */
export interface RootDisk {
  path: string;
  /** Digest of what it was made of. */
  digest: string;
  /** Whether process 1 of the tree is systemd. */
  hasSystemd: boolean;
}

/** File beside a disk that tells about it; its time tells the last use. */
export const ROOT_RECORD = "root.json";
const DISK = "root.ext4";

/** Changes whenever the same tree gives another disk. */
const VERSION = 1;

/**
 * Returns the disk of a root file system, made once: kernel, agent and drivers may change without it.
 *
 * @throws {ImageError} If the tree cannot be read or does not fit.
 */
export async function rootDisk(
  name: string,
  rootfs: string,
  size: Size | undefined,
  context: BuildContext,
): Promise<RootDisk> {
  const tree = await rootDigest(name, rootfs, context);
  const inputs = JSON.stringify([VERSION, tree, size, Deno.uid() === 0]);
  const digest = await sha256(new TextEncoder().encode(inputs));
  const dir = `${context.cacheDir}/roots/${digest.slice(0, 16)}`;
  await publish(dir, async (tmp) => {
    const unpacked = `${tmp}/tree`;
    const { folder, owners } = await rootTree(rootfs, unpacked, context);
    const options = { bytes: size === undefined ? undefined : bytes(size), digest, owners };
    await makeExt4(folder, `${tmp}/${DISK}`, options, context);
    const record = {
      hasSystemd: await hasSystemd(folder),
      bytes: (await Deno.stat(`${tmp}/${DISK}`)).size,
    };
    await removeTree(unpacked);
    await Deno.writeTextFile(`${tmp}/${ROOT_RECORD}`, JSON.stringify(record));
    context.built.add(dir);
  }, {
    signal: context.signal,
    onWait: () => context.onProgress?.(`waiting for another process that builds "${name}"`),
    isWhole: async (dir) => await readRecord(dir) !== undefined,
  });
  await touch(`${dir}/${ROOT_RECORD}`);
  return { path: `${dir}/${DISK}`, digest, hasSystemd: await readRecord(dir) ?? false };
}

/** Tells whether the disk's process 1 is systemd; nothing if the disk is not whole. */
async function readRecord(dir: string): Promise<boolean | undefined> {
  try {
    const { hasSystemd, bytes } = JSON.parse(await Deno.readTextFile(`${dir}/${ROOT_RECORD}`));
    return (await Deno.stat(`${dir}/${DISK}`)).size === bytes ? hasSystemd : undefined;
  } catch {
    return undefined; // not there, or not ours: made anew by the caller
  }
}

/** Tells whether process 1 of a tree is systemd, by where its links lead inside the tree. */
async function hasSystemd(folder: string): Promise<boolean> {
  for (const path of ["sbin/init", "usr/sbin/init"]) {
    const target = await Deno.readLink(`${folder}/${path}`).catch(() => "");
    if (/(?:^|\/)systemd$/.test(target)) return true;
  }
  return false;
}
