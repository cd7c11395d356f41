import { HostError } from "../errors.ts";

/**
 * Makes a folder that only this user can enter, and checks one that exists: in a shared temporary folder somebody else
 * could have made it first.
 *
 * @throws {HostError} If it is not a folder, belongs to another user, or cannot be made.
 */
export async function ensureOwnedDir(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    if (!(cause instanceof Deno.errors.AlreadyExists)) throw cannotUse(path, String(cause), cause);
  }
  const info = await Deno.lstat(path); // lstat: a link could point into somebody else's folder
  if (!info.isDirectory) throw cannotUse(path, "it is not a folder");
  const uid = Deno.uid();
  if (info.uid !== uid) throw cannotUse(path, `it belongs to user ${info.uid}, not ${uid}`);
  if ((info.mode! & 0o077) !== 0) await Deno.chmod(path, 0o700);
}

/** Removes a file or folder that may be missing. */
export async function removeTree(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function cannotUse(path: string, actual: string, cause?: unknown): HostError {
  return new HostError(`Cannot use folder "${path}"`, {
    code: "DIR_NOT_OWNED",
    expected: "a folder that belongs to the user who runs belljar",
    actual,
    next: "remove it, or set XDG_RUNTIME_DIR, TMPDIR or XDG_CACHE_HOME to a folder of your own",
    cause,
  });
}
