import { ImageError } from "../errors.ts";
import { lockFile, tryLockFile } from "../host/mod.ts";

/** Options for {@linkcode publish}. */
export interface PublishOptions {
  signal?: AbortSignal;
  /** Called once when another process builds the same entry. */
  onWait?: () => void;
  /**
   * Tells whether an entry can be used; one that cannot is made anew. By default it is enough that
   * the folder is there.
   */
  isWhole?: (dir: string) => Promise<boolean>;
}

/** Part of the names of what is not complete. */
const TMP_MARK = ".tmp-";

/**
 * Makes a folder of the cache, once: `build` fills a temporary folder beside it, which is then
 * renamed. Others that want the same entry, in this process or another, wait for the first.
 *
 * A builder that is killed leaves nothing that is used: its lock is free, and the next one removes
 * its temporary folder.
 *
 * @param dir The entry: a folder that is complete whenever it exists, unless someone damaged it.
 * @param build Fills the folder it is given.
 * @throws {unknown} What `build` throws, or the reason of `signal`.
 */
export async function publish(
  dir: string,
  build: (tmp: string) => Promise<void>,
  options: PublishOptions = {},
): Promise<void> {
  const { signal, isWhole = exists } = options;
  signal?.throwIfAborted();
  if (await isWhole(dir)) return;
  const parent = dir.slice(0, dir.lastIndexOf("/"));
  const name = dir.slice(parent.length + 1);
  await makeDir(parent);
  using _lock = await lockFile(`${parent}/.${name}.lock`, {
    signal,
    onWait: options.onWait,
  });
  if (await isWhole(dir)) return;
  await removeTree(dir);
  await removeLeftovers(parent, name);
  const tmp = `${parent}/.${name}${TMP_MARK}${crypto.randomUUID().slice(0, 8)}`;
  await Deno.mkdir(tmp, { mode: 0o700 });
  try {
    await build(tmp);
    signal?.throwIfAborted();
    await syncFiles(tmp);
    await Deno.rename(tmp, dir);
  } catch (error) {
    await removeTree(tmp);
    throw error;
  }
}

/** Writes a file so that readers see the old content or the new, never a part. */
export async function writeFileAtomic(path: string, content: string | Uint8Array): Promise<void> {
  const tmp = `${path}${TMP_MARK}${crypto.randomUUID().slice(0, 8)}`;
  try {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(tmp, bytes, { mode: 0o600, createNew: true });
    await Deno.rename(tmp, path);
  } catch (error) {
    await removeTree(tmp);
    throw error;
  }
}

/** Tells whether there is something at a path. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Removes a file or folder that may be missing. */
export async function removeTree(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Marks an entry of the cache as used now: what was not used for longest is removed first. */
export async function touch(path: string): Promise<void> {
  const now = new Date();
  await Deno.utime(path, now, now).catch(() => {}); // a cache that is only read has no order to keep
}

/** Returns the SHA-256 of bytes as hexadecimal text. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return new Uint8Array(hash).toHex();
}

/** Makes a folder of the cache, with its parents. */
export async function makeDir(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new ImageError(`Cannot make the cache folder "${path}"`, {
      cause,
      actual: cause instanceof Error ? cause.message : String(cause),
      next: "set BELLJAR_CACHE_DIR to a folder that can be written",
    });
  }
}

async function removeLeftovers(parent: string, name: string): Promise<void> {
  for await (const entry of Deno.readDir(parent)) {
    if (!entry.name.startsWith(`.${name}${TMP_MARK}`)) continue;
    // A tool that outlived its builder may still write there; then a later build removes it.
    await removeTree(`${parent}/${entry.name}`).catch(() => {});
  }
}

/** Removes what builders that were killed left in a folder of entries, and their locks. */
export async function sweepLeftovers(parent: string): Promise<void> {
  const names = (await Array.fromAsync(Deno.readDir(parent))).map(({ name }) => name);
  for (const file of names) {
    const [, name] = /^\.(.+)\.lock$/.exec(file) ?? [];
    if (name === undefined) continue;
    const isUsed = names.some((other) => other === name);
    const isLeft = names.some((other) => other.startsWith(`.${name}${TMP_MARK}`));
    if (isUsed && !isLeft) continue;
    using lock = await tryLockFile(`${parent}/${file}`);
    if (!lock) continue; // it is being built
    await removeLeftovers(parent, name);
    if (!isUsed && !await exists(`${parent}/${name}`)) await removeTree(`${parent}/${file}`);
  }
}

/** Writes files through to the disk: a rename may survive a power cut that the data does not. */
async function syncFiles(dir: string): Promise<void> {
  for await (const entry of Deno.readDir(dir)) {
    if (!entry.isFile) continue; // module trees can be fetched again and are checked when read
    using file = await Deno.open(`${dir}/${entry.name}`);
    await file.syncData();
  }
}
