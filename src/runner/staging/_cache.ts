/**
 * Keeps what was transpiled, by the content it was made from.
 *
 * @module
 */

import { join } from "node:path";
import type { SourceFile, Transpiled } from "./_transpile.ts";
import { VERSIONS } from "./_versions.ts";

/** Changes with the shape of {@linkcode Transpiled} and with what the scanner finds. */
const FORMAT = `1 ${VERSIONS["@swc/wasm-typescript"]}`;

/** A folder of transpiled files, safe for many processes at once. Without a folder it keeps nothing. */
export class TranspileCache {
  readonly #folder: string | undefined;

  constructor(folder: string | undefined) {
    this.#folder = folder;
  }

  /** The entry for a file, or what `make` gives, which is then kept. */
  async get(file: SourceFile, make: () => Promise<Transpiled>): Promise<Transpiled> {
    if (this.#folder === undefined) return await make();
    const key = await sha256(`${FORMAT}\0${file.language}\0${file.text}`);
    const path = join(this.#folder, key.slice(0, 2), `${key}.json`);
    const known = await readEntry(path);
    if (known) return known;
    const made = await make();
    await writeEntry(path, made);
    return made;
  }
}

/** Hexadecimal SHA-256 of a text. */
export async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(digest).toHex();
}

/** Writes a file that others may be reading: they see the old content or the new, never half of it. */
export async function writeAtomically(
  path: string,
  content: string,
  temporary: string,
): Promise<void> {
  try {
    await Deno.writeTextFile(temporary, content, { mode: 0o600, createNew: true });
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {}); // it may not exist, and the first error says more
    throw error;
  }
}

async function readEntry(path: string): Promise<Transpiled | undefined> {
  try {
    const entry = JSON.parse(await Deno.readTextFile(path)) as Partial<Transpiled>;
    const whole = typeof entry.code === "string" && typeof entry.mappings === "string" &&
      Array.isArray(entry.imports) && Array.isArray(entry.metas);
    return whole ? entry as Transpiled : undefined;
  } catch {
    return undefined; // absent or damaged: it is made again
  }
}

async function writeEntry(path: string, entry: Transpiled): Promise<void> {
  const folder = join(path, "..");
  try {
    await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
    await writeAtomically(path, JSON.stringify(entry), join(folder, `.${crypto.randomUUID()}`));
  } catch {
    // A full or read-only cache costs time, not the run.
  }
}
