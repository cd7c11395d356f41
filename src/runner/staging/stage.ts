import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ensureOwnedDir } from "../../host/mod.ts";
import { writeAtomically } from "./_cache.ts";
import { ModuleGraph } from "./_graph.ts";
import type { Module } from "./_module.ts";
import { link } from "./_link.ts";
import { decodeMappings, lookUp, type Mappings } from "./_source_map.ts";
import type { StagingError } from "./staging_error.ts";

/** Where {@linkcode stage} writes. */
export interface StageOptions {
  /** Folder for the staged files, of one run; made if missing. Only its owner can enter it. */
  dir: string;
  /** Folder that keeps what was transpiled, across runs. Without it, each process transpiles anew. */
  cacheDir?: string;
}

/** Test files, and what they import, as JavaScript. */
export interface StagedGraph {
  /** Paths of the author's files that were read, entries included, sorted. */
  readonly files: readonly string[];
  /** What keeps the entries from being loaded; empty if nothing does. */
  readonly errors: readonly StagingError[];
  /** The URL to import for a file of the author's. */
  urlFor(path: string): string;
}

/** A place in a file, counted from 1 as stack traces do. */
export interface SourcePosition {
  /** URL of the author's file. */
  url: string;
  line: number;
  column: number;
}

const stages = new Map<string, Stage>();

/**
 * Writes test files and all that they import as JavaScript, since the compiled binary imports no TypeScript from disk.
 * Problems in the files are returned, not thrown. What a process has read for a folder it does not read again.
 *
 * @param entries Absolute paths.
 * @throws {HostError} If the folder belongs to somebody else.
 */
export async function stage(
  entries: readonly string[],
  options: StageOptions,
): Promise<StagedGraph> {
  return await (await openStage(options)).add(entries);
}

/** The stage of a folder; a process has one for each. */
export async function openStage(options: StageOptions): Promise<Stage> {
  const known = stages.get(options.dir);
  if (known) return known;
  await ensureOwnedDir(options.dir);
  const made = stages.get(options.dir) ?? new Stage(options);
  stages.set(options.dir, made);
  return made;
}

/** The stage that the URL of a staged file belongs to. */
export function stageOf(url: string): Stage | undefined {
  return stages.values().find((stage) => stage.originOf(url) !== undefined);
}

/**
 * The author's position for one that a message names in a staged file. Stack traces need none of this: the runtime applies
 * the source maps itself.
 *
 * @param url URL of the staged file.
 * @param line From 1.
 * @param column From 1.
 */
export function originalPosition(
  url: string,
  line: number,
  column: number,
): SourcePosition | undefined {
  return stageOf(url)?.originalPosition(url, line, column);
}

/** The staged files of one folder, as one process sees them. */
export class Stage {
  readonly graph: ModuleGraph;
  readonly #dir: string;
  readonly #root: string;
  readonly #written = new Map<string, Promise<void>>();
  readonly #mappings = new Map<string, Mappings>();

  /** Use {@linkcode openStage}. */
  constructor(options: StageOptions) {
    this.#dir = options.dir;
    this.#root = pathToFileURL(options.dir).href.replace(/\/$/, "");
    this.graph = new ModuleGraph(options.cacheDir);
  }

  /** Stages files and all that they import. */
  async add(entries: readonly string[]): Promise<StagedGraph> {
    const modules = await this.graph.load(entries);
    await Promise.all(modules.map((module) => this.#write(module)));
    return {
      files: modules.filter(({ kind }) => kind !== "absent").map(({ path }) => path).sort(),
      errors: await this.graph.problems(entries),
      urlFor: (path) => this.urlFor(path),
    };
  }

  /** The URL to import for a file of the author's. */
  urlFor(path: string): string {
    const isData = /\.(?:json|wasm)$/.test(path);
    // A second extension, for the runtime decides by it: it would take `.ts` for TypeScript.
    return this.#root + pathToFileURL(path).pathname + (isData ? "" : ".mjs");
  }

  /** The URL of the author's file for that of a staged one, query and all; `undefined` for other URLs. */
  originOf(url: string): string | undefined {
    if (!url.startsWith(`${this.#root}/`)) return undefined;
    const [, path = "", suffix = ""] = /^([^?#]*)(.*)$/.exec(url.slice(this.#root.length))!;
    return `file://${path.replace(/\.mjs$/, "")}${suffix}`;
  }

  /** The path of the author's file for a staged one's URL as a message shows it, which may be decoded. */
  pathOf(shown: string): string {
    const path = shown.replace(/^file:\/\//, "").replace(/\?[^/]*$/, "");
    if (path.startsWith(`${this.#dir}/`)) return path.slice(this.#dir.length).replace(/\.mjs$/, "");
    const origin = this.originOf(shown);
    return origin === undefined ? path : fileURLToPath(origin.replace(/[?#].*$/, ""));
  }

  /** The author's position for one in a staged file; `undefined` where nothing of the author's stands. */
  originalPosition(url: string, line: number, column: number): SourcePosition | undefined {
    const origin = this.originOf(url);
    if (origin === undefined) return undefined;
    const mappings = this.#mappings.get(url) ?? readMappings(url);
    if (!mappings) return undefined;
    this.#mappings.set(url, mappings);
    const found = lookUp(mappings, line - 1, column - 1);
    return found && { url: origin, line: found.line + 1, column: found.column + 1 };
  }

  /** Reads and writes a file anew when it is wanted next. */
  forget(path: string): void {
    this.graph.forget(path);
    this.#written.delete(path);
  }

  #write(module: Module): Promise<void> {
    const known = this.#written.get(module.path);
    if (known) return known;
    // Nothing was made of it: whoever imports it gets an error instead.
    if (module.kind === "absent" || (module.kind === "script" && !module.script)) {
      return Promise.resolve();
    }
    const writing = this.#writeNow(module);
    this.#written.set(module.path, writing);
    return writing;
  }

  async #writeNow(module: Module): Promise<void> {
    const target = fileURLToPath(this.urlFor(module.path));
    const temporary = join(this.#dir, `.${crypto.randomUUID()}`);
    await Deno.mkdir(dirname(target), { recursive: true, mode: 0o700 });
    if (module.kind === "wasm") {
      await Deno.copyFile(module.path, temporary);
      return await Deno.rename(temporary, target);
    }
    const text = module.script ? link(module, (path) => this.urlFor(path)) : module.text;
    await writeAtomically(target, text, temporary);
  }
}

/** The mappings of a staged script. */
function readMappings(url: string): Mappings | undefined {
  const { pathname } = new URL(url);
  if (!pathname.endsWith(".mjs")) return undefined;
  const text = Deno.readTextFileSync(fileURLToPath(`file://${pathname}`));
  const data = text.slice(text.lastIndexOf(",") + 1).trimEnd();
  const map = new TextDecoder().decode(Uint8Array.fromBase64(data));
  return decodeMappings((JSON.parse(map) as { mappings: string }).mappings);
}
