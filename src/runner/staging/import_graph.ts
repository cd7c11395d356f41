import { sha256 } from "./_cache.ts";
import { EMBEDDED } from "./embedded.ts";
import { ModuleGraph } from "./_graph.ts";
import type { StagingError } from "./staging_error.ts";

/** What a file imports, directly and through others. */
export interface ImportGraph {
  /** Paths of the files, the entry included, sorted. Imports of types alone do not count. */
  readonly files: readonly string[];
  /** Imports that lead to no file, such as `node:fs` or `npm:zod`, sorted. */
  readonly external: readonly string[];
  /** Whether something imports what only a run can tell. */
  readonly hasComputed: boolean;
  /** Paths of imported files that are not there, sorted. */
  readonly missing: readonly string[];
  /** What is wrong with files that cannot be parsed; what they import is not known. */
  readonly errors: readonly StagingError[];
  /** Changes when any of the files does, or the version of what is embedded. */
  readonly digest: string;
}

/** Options for {@linkcode importGraph}. */
export interface ImportGraphOptions {
  /** Folder that keeps what was transpiled, across runs. */
  cacheDir?: string;
}

/**
 * Finds what a file imports, through literal static and dynamic imports, as the binary would load it. Problems are returned,
 * not thrown.
 *
 * @param entry Absolute path.
 */
export async function importGraph(
  entry: string,
  options: ImportGraphOptions = {},
): Promise<ImportGraph> {
  const graph = new ModuleGraph(options.cacheDir);
  const modules = await graph.load([entry]);
  const files = modules.filter(({ kind }) => kind !== "absent");
  const edges = modules.flatMap((module) => module.edges);
  const external = new Set<string>();
  for (const { import: { specifier }, resolution } of edges) {
    if (resolution && resolution.kind !== "file") external.add(specifier!);
  }
  const contents = await Promise.all(files.map(async ({ path, kind, text }) => {
    const content = kind === "wasm" ? (await Deno.readFile(path)).toHex() : text;
    return `${path}\0${await sha256(content)}`;
  }));
  const versions = EMBEDDED.map(({ name, version }) => `${name}@${version}`);
  return {
    files: files.map(({ path }) => path).sort(),
    external: [...external].sort(),
    hasComputed: edges.some(({ resolution }) => resolution === undefined),
    missing: modules.filter(({ kind }) => kind === "absent").map(({ path }) => path).sort(),
    errors: [...new Set(modules.flatMap((module) => module.errors))],
    digest: await sha256([...contents.sort(), ...external, ...versions].join("\n")),
  };
}
