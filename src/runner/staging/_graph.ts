/**
 * Walks the imports of test files.
 *
 * @module
 */

import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { TranspileCache } from "./_cache.ts";
import { edgeProblem, entryProblem } from "./_edge.ts";
import type { Edge, Module } from "./_module.ts";
import { jsonErrorOffset, jsonErrorReason } from "./_jsonc.ts";
import { LineIndex } from "./_position.ts";
import { isAbsent, readText } from "./_read.ts";
import { resolveImport } from "./_resolve.ts";
import { errorAt } from "./_error_at.ts";
import { transpile } from "./_transpile.ts";
import { UserConfigs } from "./_user_config.ts";
import { StagingError } from "./staging_error.ts";

/** The files that some entries reach. It only grows: what it has read, it does not read again. */
export class ModuleGraph {
  readonly configs: UserConfigs = new UserConfigs();
  readonly #reading = new Map<string, Promise<Module>>();
  readonly #modules = new Map<string, Module>();
  readonly #cache: TranspileCache;

  /** @param cacheFolder Where transpiled files are kept; nowhere if absent. */
  constructor(cacheFolder?: string) {
    this.#cache = new TranspileCache(cacheFolder);
  }

  /** Reads files and all that they reach, and returns those, each once. */
  async load(paths: Iterable<string>): Promise<Module[]> {
    const met = new Map<string, Module>();
    const seen = new Set<string>();
    const visit = async (path: string): Promise<void> => {
      if (seen.has(path)) return;
      seen.add(path);
      const module = await this.#read(path);
      met.set(path, module);
      await Promise.all(targets(module.edges).map(visit));
    };
    await Promise.all([...paths].map(visit));
    return [...met.values()];
  }

  /** A file that was read. */
  get(path: string): Module | undefined {
    return this.#modules.get(path);
  }

  /** What keeps entries from being loaded: the problems of all that they import statically. */
  async problems(entries: Iterable<string>): Promise<StagingError[]> {
    const found = new Set<StagingError>();
    const seen = new Set<string>();
    const visit = async (path: string): Promise<void> => {
      const module = this.#modules.get(path);
      if (seen.has(path) || !module) return;
      seen.add(path);
      for (const error of module.errors) found.add(error);
      const edges = module.edges.filter((edge) => edge.import.kind === "static");
      for (const edge of edges) {
        const problem = await edgeProblem(module, edge, this);
        if (problem) found.add(problem);
      }
      for (const target of targets(edges)) await visit(target);
    };
    for (const path of entries) {
      const module = this.#modules.get(path);
      const problem = module && await entryProblem(module);
      if (problem) found.add(problem);
      else await visit(path);
    }
    return [...found];
  }

  /** Reads a file again when it is wanted next. */
  forget(path: string): void {
    this.#reading.delete(path);
  }

  #read(path: string): Promise<Module> {
    const known = this.#reading.get(path);
    if (known) return known;
    const reading = this.#readNow(path).then((module) => {
      this.#modules.set(path, module);
      // What is missing now may be there later, made by the test itself.
      if (module.kind === "absent") this.#reading.delete(path);
      return module;
    });
    this.#reading.set(path, reading);
    return reading;
  }

  async #readNow(path: string): Promise<Module> {
    const url = pathToFileURL(path).href;
    const module: Module = { path, url, kind: kindOf(path), text: "", edges: [], errors: [] };
    try {
      if (module.kind === "wasm") {
        if ((await Deno.stat(path)).isFile) return module;
        return { ...module, kind: "absent" };
      }
      const text = await readText(path);
      if (text === undefined) return { ...module, kind: "absent" };
      module.text = text;
    } catch (failure) {
      return { ...module, kind: "absent", failure: isAbsent(failure) ? undefined : failure };
    }
    try {
      if (module.kind === "json") checkJson(module);
      else await this.#readScript(module);
    } catch (error) {
      if (!(error instanceof StagingError)) throw error;
      module.errors.push(error);
    }
    return module;
  }

  async #readScript(module: Module): Promise<void> {
    const language = /ts$/.test(module.path) ? "typescript" : "javascript";
    const file = { url: module.url, text: module.text, language } as const;
    const config = await this.configs.forFolder(dirname(module.path));
    module.script = await this.#cache.get(file, () => transpile(file));
    module.edges = module.script.imports.map((found) => ({
      import: found,
      resolution: found.specifier === undefined
        ? undefined
        : resolveImport(found.specifier, module.url, config),
    }));
  }
}

/** The files that edges lead to. */
function targets(edges: Edge[]): string[] {
  return edges.flatMap(({ resolution }) => resolution?.kind === "file" ? [resolution.path] : []);
}

function kindOf(path: string): Module["kind"] {
  if (path.endsWith(".json")) return "json";
  return path.endsWith(".wasm") ? "wasm" : "script";
}

function checkJson(module: Module): void {
  try {
    JSON.parse(module.text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const place = new LineIndex(module.text).at(jsonErrorOffset(module.text));
    module.errors.push(
      errorAt(module, place, (at) => `Cannot parse "${at}": ${jsonErrorReason(error)}`, {
        code: "SYNTAX",
      }),
    );
  }
}
