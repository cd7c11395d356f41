import { emitEvent } from "../scope/mod.ts";
import { type OutputOwner, outputOwner } from "./output_owner.ts";
import { outputRoot } from "./output_root.ts";
import { pruneOrphanedOutput } from "./prune.ts";
import { firstLine } from "./errors.ts";
import type { JobResult } from "./types.ts";

/** Writes the outputs of a table's jobs to files of this process' own folder. */
export class OutputStore {
  /** Whether jobs that are added from now on are written. */
  enabled: boolean;
  #session: number;
  #dir: string | undefined;
  #owner: Promise<OutputOwner> | undefined;
  #pruning: Promise<unknown> | undefined;
  #removing = new Set<Promise<unknown>>();

  constructor(options: { session: number; dir: string | undefined; enabled: boolean }) {
    this.#session = options.session;
    this.#dir = options.dir;
    this.enabled = options.enabled;
    if (options.enabled && options.dir !== undefined) {
      this.#pruning = pruneOrphanedOutput(options.dir).catch((error) =>
        warn("prune outputs", error)
      );
    }
  }

  /** Writes one result, and returns the path; `undefined` if there was no output or it cannot be written. */
  async write(result: JobResult): Promise<string | undefined> {
    const { id, stdoutBytes, stderrBytes } = result;
    if (stdoutBytes.length === 0 && stderrBytes.length === 0) return undefined;
    try {
      const { dir } = await (this.#owner ??= this.#own());
      const stem = `session_${this.#session}_job_${id}.${Deno.pid}`;
      const text = [
        `# Job ${id}: ${JSON.stringify(result.command)}`,
        `# Status: ${result.status}`,
        ...await section(dir, stem, "stdout", stdoutBytes),
        ...await section(dir, stem, "stderr", stderrBytes),
      ];
      const path = `${dir}/${stem}.txt`;
      await create(path, new TextEncoder().encode(`${text.join("\n")}\n`));
      return path;
    } catch (error) {
      warn(`write the output of job ${id}`, error);
      return undefined;
    }
  }

  /** Removes a file that was written, with what belongs to it. */
  remove(path: string | undefined): void {
    if (path === undefined) return;
    const stem = path.replace(/\.txt$/, "");
    const paths = [path, `${stem}.stdout.bin`, `${stem}.stderr.bin`];
    // Missing parts are the rule; anything else that cannot be removed is left for the next prune.
    const work = Promise.allSettled(paths.map((one) => Deno.remove(one)));
    this.#removing.add(work);
    work.then(() => this.#removing.delete(work));
  }

  /** Waits for what is in progress, and gives the folder's lock back. The files stay. */
  async close(): Promise<void> {
    await this.#pruning;
    await Promise.all(this.#removing);
    const owner = this.#owner;
    this.#owner = undefined;
    await owner?.then(({ release }) => release(), () => {}); // A failed one was reported when it was needed.
  }

  async #own(): Promise<OutputOwner> {
    return await outputOwner(this.#dir ?? await outputRoot());
  }
}

async function section(
  dir: string,
  stem: string,
  name: "stdout" | "stderr",
  bytes: Uint8Array,
): Promise<string[]> {
  if (bytes.length === 0) return [];
  const title = ["", `## ${name.toUpperCase()}`];
  const text = textOf(bytes);
  if (text !== undefined) return [...title, text.replace(/\n$/, "")];
  const file = `${stem}.${name}.bin`;
  await create(`${dir}/${file}`, bytes);
  return [...title, `(binary: ${bytes.length} bytes in ${file})`];
}

/** Text if the bytes are nothing else: UTF-8 without NUL. */
function textOf(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined; // The check is the question here.
  }
}

/** Creates a file that must not exist: a link that somebody planted under its name is never followed. */
async function create(path: string, bytes: Uint8Array): Promise<void> {
  await Deno.writeFile(path, bytes, { createNew: true, mode: 0o600 });
}

function warn(what: string, error: unknown): void {
  emitEvent("warning", { message: `Cannot ${what}: ${firstLine(error)}` });
}
