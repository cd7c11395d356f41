import { HostError } from "../errors.ts";
import { type FileLock, tryLockFile } from "./file_lock.ts";
import { ensureOwnedDir, removeTree } from "./owned_dir.ts";

/** Longest path of a run's folder: what lies in it has to fit into the 108 bytes of a unix socket's address. */
export const MAX_RUN_DIR = 60;
/** Bytes of `/xxxxxx` behind the root. */
const NAME_SIZE = 7;
/** Begins the names of folders that are not complete. */
const NEW_MARK = ".new-";

/** A run's private folder, while its lock is held. */
export interface RunDir {
  readonly path: string;
  /** Marks everything that this run starts. */
  readonly token: string;
  readonly lock: FileLock;
}

/** The folder that holds the run folders of this user. */
export async function runRoot(): Promise<string> {
  const uid = Deno.uid() ?? 0;
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  const candidates = [
    runtime ? `${runtime.replace(/\/+$/, "")}/belljar` : undefined,
    `${(Deno.env.get("TMPDIR") ?? "/tmp").replace(/\/+$/, "")}/belljar-${uid}`,
    `/tmp/belljar-${uid}`,
  ].filter((path) => path?.startsWith("/") && path.length + NAME_SIZE <= MAX_RUN_DIR);
  const failures: unknown[] = [];
  for (const path of candidates as string[]) {
    try {
      await ensureOwnedDir(path);
      return path;
    } catch (error) {
      failures.push(error);
    }
  }
  throw new HostError("Cannot make a folder for sockets and logs", {
    code: "NO_RUN_ROOT",
    actual: failures.map((error) => error instanceof Error ? error.message : String(error))
      .join("\n"),
    next: `set XDG_RUNTIME_DIR to a folder of your own with a path under ${
      MAX_RUN_DIR - NAME_SIZE - "/belljar".length
    } bytes`,
    cause: failures[0],
  });
}

/**
 * Makes a run's folder with its lock held.
 *
 * It gets its name only when it is locked, so that a sweep beside never takes it for a dead run's.
 */
export async function createRunDir(root: string): Promise<RunDir> {
  const token = randomHex(16);
  for (let tries = 0; tries < 100; tries++) {
    const name = randomName();
    const fresh = `${root}/${NEW_MARK}${name}`;
    const path = `${root}/${name}`;
    let lock: FileLock | undefined;
    try {
      await Deno.mkdir(fresh, { mode: 0o700 });
      await Deno.writeTextFile(`${fresh}/lock`, `${token}\n`, { createNew: true, mode: 0o600 });
      lock = await tryLockFile(`${fresh}/lock`);
      if (lock) {
        await Deno.rename(fresh, path);
        return { path, token, lock: { ...lock, path: `${path}/lock` } };
      }
    } catch (error) {
      lock?.[Symbol.dispose]();
      const swept = error instanceof Deno.errors.NotFound; // a sweep came between: take another name
      const taken = error instanceof Deno.errors.AlreadyExists;
      if (!swept && !taken) {
        await removeTree(fresh);
        throw error;
      }
    }
  }
  throw new HostError(`Cannot make a run folder in "${root}"`, {
    actual: "100 names were taken or swept",
    next: "run belljar clean",
  });
}

/** Reads the token of a run from its folder. */
export async function readRunToken(dir: string): Promise<string | undefined> {
  try {
    const token = (await Deno.readTextFile(`${dir}/lock`)).trim();
    return /^[0-9a-f]{32}$/.test(token) ? token : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function randomHex(bytes: number): string {
  return [...crypto.getRandomValues(new Uint8Array(bytes))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function randomName(): string {
  const letters = "abcdefghijklmnopqrstuvwxyz0123456789";
  return [...crypto.getRandomValues(new Uint8Array(NAME_SIZE - 1))]
    .map((byte) => letters[byte % letters.length]).join("");
}
