import { join } from "node:path";
import { cacheDir, withFileLock } from "../host/mod.ts";

/** What earlier runs of one working directory showed. */
export interface History {
  v: 1;
  cwd: string;
  files: Record<string, FileRecord>;
}

/** What earlier runs of a file showed. */
export interface FileRecord {
  /** How long it took the last time all of it ran. */
  durationMs?: number;
  /** Names of the tests that failed and have not passed since. */
  failed: string[];
  /** Whether the file itself failed. */
  broken?: boolean;
}

/** What a run showed about a file. */
export interface FileUpdate {
  file: string;
  durationMs: number;
  /** Whether all its tests were chosen. */
  complete: boolean;
  passed: string[];
  failed: string[];
  broken: boolean;
}

/** Reads what earlier runs showed; empty if there is nothing, or it cannot be read. */
export async function readHistory(cwd: string): Promise<History> {
  try {
    const history = JSON.parse(await Deno.readTextFile(await historyPath(cwd))) as History;
    if (history.v === 1 && typeof history.files === "object") return history;
  } catch {
    // It only speeds things up: a damaged one is written anew.
  }
  return { v: 1, cwd, files: {} };
}

/** Adds what a run showed, beside other runs that do the same. */
export async function updateHistory(cwd: string, updates: readonly FileUpdate[]): Promise<void> {
  const path = await historyPath(cwd);
  await withFileLock(`${path}.lock`, async () => {
    const history = await readHistory(cwd);
    for (const update of updates) {
      history.files[update.file] = merged(history.files[update.file], update);
    }
    const fresh = `${path}.${crypto.randomUUID()}`;
    await Deno.writeTextFile(fresh, JSON.stringify(history), { mode: 0o600 });
    await Deno.rename(fresh, path);
  });
}

function merged(known: FileRecord | undefined, update: FileUpdate): FileRecord {
  const failed = new Set(update.complete ? [] : known?.failed);
  for (const name of update.passed) failed.delete(name);
  for (const name of update.failed) failed.add(name);
  const durationMs = update.complete && !update.broken
    ? Math.round(update.durationMs)
    : known?.durationMs;
  return {
    ...durationMs !== undefined && { durationMs },
    failed: [...failed],
    ...update.broken && { broken: true },
  };
}

async function historyPath(cwd: string): Promise<string> {
  const folder = join(await cacheDir(), "history");
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(cwd));
  const name = [...new Uint8Array(digest).subarray(0, 8)].map((byte) =>
    byte.toString(16).padStart(2, "0")
  ).join("");
  return join(folder, `${name}.json`);
}
