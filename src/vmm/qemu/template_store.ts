import { HostError } from "../../errors.ts";
import { ensureOwnedDir, removeTree, tryLockFile, withFileLock } from "../../host/mod.ts";
import { emitEvent } from "../../scope/mod.ts";
import { readEntry, type StateEntry, syncEntry } from "./state_entry.ts";

/** Options for {@linkcode TemplateStore}. */
export interface TemplateStoreOptions {
  /** Folder of the entries. */
  dir: string;
  /** Bytes on disk that entries may take in all; those used longest ago go first. */
  capBytes: number;
}

const NEW_MARK = ".new-";
const USED = "used";
/** An entry that was used so recently may be about to be opened by QEMU. */
const RECENT_MS = 60_000;

/** Templates on disk, shared by all processes of a user: built once, verified, never written again. */
export class TemplateStore {
  readonly #options: TemplateStoreOptions;
  readonly #verified = new Map<string, Promise<StateEntry>>();

  constructor(options: TemplateStoreOptions) {
    this.#options = options;
  }

  /**
   * Returns an entry; the first caller of all processes builds it, others wait for that one.
   *
   * @param build Fills the folder that it is given, up to and including the manifest.
   */
  async get(
    key: string,
    build: (dir: string) => Promise<void>,
    signal?: AbortSignal,
  ): Promise<{ entry: StateEntry; built: boolean }> {
    const known = await this.#verified.get(key)?.catch(() => undefined); // its caller has the error
    if (known && await this.#touch(key)) return { entry: known, built: false };
    const found = await this.#find(key);
    if (found && !("damage" in found)) {
      this.#verified.set(key, Promise.resolve(found));
      return { entry: found, built: false };
    }
    const path = this.#path(key);
    await ensureOwnedDir(this.#options.dir);
    return await withFileLock(`${path}.lock`, async () => {
      const meanwhile = await this.#find(key);
      if (meanwhile && "damage" in meanwhile) {
        this.#warn(key, meanwhile.damage);
      } else if (meanwhile) {
        this.#verified.set(key, Promise.resolve(meanwhile));
        return { entry: meanwhile, built: false };
      }
      await this.#removeLeftovers(key);
      await this.evict();
      const fresh = this.#passingPath(key);
      await Deno.mkdir(fresh, { mode: 0o700 });
      try {
        await build(fresh);
        await syncEntry(fresh);
        await this.#discard(key);
        await Deno.rename(fresh, path);
      } catch (error) {
        await removeTree(fresh);
        throw error;
      }
      const built = await readEntry(path);
      if (!built || "damage" in built) {
        throw new HostError(`Cannot use the template that was just built at "${path}"`, {
          actual: built?.damage ?? "it is gone",
          next: "see whether something else cleans this folder",
        });
      }
      await this.#touch(key);
      this.#verified.set(key, Promise.resolve(built));
      return { entry: built, built: true };
    }, { signal });
  }

  /** Removes an entry that turned out to be unusable, unless somebody is building another one in its place. */
  async drop(key: string, why: string): Promise<void> {
    this.#verified.delete(key);
    this.#warn(key, why);
    using lock = await tryLockFile(`${this.#path(key)}.lock`, { create: true });
    if (lock) await this.#discard(key);
  }

  #warn(key: string, why: string): void {
    emitEvent("warning", { message: `template ${key} is built again: ${why}` });
  }

  /**
   * Takes an entry away in one step: others either find all of it or nothing, and what they write into it meanwhile (the
   * mark of its use) cannot keep its name taken.
   */
  async #discard(key: string): Promise<void> {
    const away = this.#passingPath(key);
    try {
      await Deno.rename(this.#path(key), away);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return;
      throw error;
    }
    await removeTree(away);
  }

  /** A folder that is swept once nobody holds the key's lock. */
  #passingPath(key: string): string {
    return `${this.#options.dir}/${NEW_MARK}${key}-${crypto.randomUUID().slice(0, 8)}`;
  }

  /** Removes what was used longest ago until the rest fits, and what killed builders left. */
  async evict(): Promise<string[]> {
    const entries: { key: string; bytes: number; usedMs: number }[] = [];
    for await (const { name, isDirectory } of Deno.readDir(this.#options.dir)) {
      if (!isDirectory) continue;
      if (name.startsWith(NEW_MARK)) {
        await this.#removeIfAbandoned(name);
        continue;
      }
      const path = this.#path(name);
      const used = await Deno.stat(`${path}/${USED}`).catch(() => undefined); // never used
      entries.push({ key: name, bytes: await bytesOf(path), usedMs: used?.mtime?.getTime() ?? 0 });
    }
    let total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
    const removed: string[] = [];
    for (const { key, bytes, usedMs } of entries.toSorted((a, b) => a.usedMs - b.usedMs)) {
      if (total <= this.#options.capBytes || Date.now() - usedMs < RECENT_MS) break;
      await this.#discard(key);
      this.#verified.delete(key);
      total -= bytes;
      removed.push(key);
    }
    return removed;
  }

  #path(key: string): string {
    return `${this.#options.dir}/${key}`;
  }

  async #find(key: string): Promise<StateEntry | { damage: string } | undefined> {
    const entry = await readEntry(this.#path(key));
    if (!entry || "damage" in entry) return entry;
    return await this.#touch(key) ? entry : undefined;
  }

  /** Notes the use; false if the entry is gone. */
  async #touch(key: string): Promise<boolean> {
    try {
      await Deno.writeFile(`${this.#path(key)}/${USED}`, new Uint8Array(0), { mode: 0o600 });
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  }

  /** Under the key's lock nobody else builds it: what is there was left by a builder that was killed. */
  async #removeLeftovers(key: string): Promise<void> {
    for await (const { name } of Deno.readDir(this.#options.dir)) {
      if (name.startsWith(`${NEW_MARK}${key}-`)) await removeTree(`${this.#options.dir}/${name}`);
    }
  }

  async #removeIfAbandoned(name: string): Promise<void> {
    const key = name.slice(NEW_MARK.length, name.lastIndexOf("-"));
    using lock = await tryLockFile(`${this.#path(key)}.lock`, { create: true });
    if (lock) await removeTree(`${this.#options.dir}/${name}`);
  }
}

/** Bytes that a folder takes on disk, holes not counted. */
export async function bytesOf(dir: string): Promise<number> {
  let total = 0;
  try {
    for await (const { name, isFile } of Deno.readDir(dir)) {
      if (isFile) total += 512 * ((await Deno.stat(`${dir}/${name}`)).blocks ?? 0);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return total;
}
