import { type FileLock, tryLockFile } from "../host/mod.ts";

/** Folder of outputs that one process owns, while it lives. */
export interface OutputOwner {
  readonly dir: string;
  /** Gives it back; the last user frees the lock. */
  release(): void;
}

/** Name of the lock in an owner's folder. */
export const OWNER_LOCK = "owner.lock";
/** Names of owners' folders, also of those that were never finished. */
export const OUTPUT_ROOT_ENTRY: RegExp = /^(?:\.new-)?\d+-[0-9a-f]{16}$/;
/** Names of files in them. */
export const OUTPUT_FILE: RegExp = /^session_\d+_job_\d+\.\d+(\.txt|\.stdout\.bin|\.stderr\.bin)$/;

const NEW_MARK = ".new-";
const owners = new Map<string, { made: Promise<{ dir: string; lock: FileLock }>; users: number }>();

/** Returns this process' folder under `root`, with its lock held. */
export async function outputOwner(root: string): Promise<OutputOwner> {
  let entry = owners.get(root);
  if (!entry) {
    entry = { made: makeOwner(root), users: 0 };
    owners.set(root, entry);
  }
  const mine = entry;
  mine.users++;
  const release = () => {
    if (--mine.users > 0) return;
    if (owners.get(root) === mine) owners.delete(root);
    mine.made.then(({ lock }) => lock[Symbol.dispose](), () => {}); // Without a folder there is no lock.
  };
  try {
    const { dir } = await mine.made;
    let released = false;
    return { dir, release: () => void (released ||= (release(), true)) };
  } catch (error) {
    release();
    throw error;
  }
}

/** The folder gets its name only when it is locked, so that nobody takes it for a dead owner's. */
async function makeOwner(root: string): Promise<{ dir: string; lock: FileLock }> {
  await Deno.mkdir(root, { recursive: true, mode: 0o700 });
  const random = crypto.randomUUID().replaceAll("-", "").slice(0, 16);
  const name = `${Date.now()}-${random}`;
  const fresh = `${root}/${NEW_MARK}${name}`;
  await Deno.mkdir(fresh, { mode: 0o700 });
  const lock = await tryLockFile(`${fresh}/${OWNER_LOCK}`, { create: true });
  if (!lock) throw new Error(`Cannot lock "${fresh}/${OWNER_LOCK}": somebody else holds it`);
  try {
    await Deno.rename(fresh, `${root}/${name}`);
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
  return { dir: `${root}/${name}`, lock };
}
