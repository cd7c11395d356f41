/**
 * What staged files call while they run.
 *
 * @module
 */

import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { edgeProblem } from "./_edge.ts";
import { explain } from "./_explain.ts";
import { HOOK_NAME } from "./_link.ts";
import { resolveImport } from "./_resolve.ts";
import { openStage, type Stage, stageOf, type StageOptions } from "./stage.ts";
import { StagingError } from "./staging_error.ts";

/** Stages a file, imports it, and gives errors their places in the author's files. */
export async function importStaged(path: string, options: StageOptions): Promise<unknown> {
  Object.defineProperty(globalThis, HOOK_NAME, { value: { meta, load }, configurable: true });
  return await importFile(await openStage(options), path);
}

async function importFile(
  stage: Stage,
  path: string,
  suffix = "",
  options?: ImportCallOptions,
): Promise<unknown> {
  const { errors, urlFor } = await stage.add([path]);
  if (errors.length > 0) throw StagingError.of(path, errors);
  // Something to wait for: Deno 2.7 panics where a file awaits an import that is refused without any I/O.
  const alive = setInterval(() => {}, 1 << 30);
  try {
    return await import(urlFor(path) + suffix, options);
  } catch (error) {
    throw explain(stage, error);
  } finally {
    clearInterval(alive);
  }
}

/** Which file of the author's an `import.meta` is about. */
interface Origin {
  stage: Stage;
  /** URL of the author's file, query and all. */
  url: string;
  path: string;
}

const origins = new WeakMap<ImportMeta, Origin>();

/** Gives `import.meta` the values that it would have without staging. */
function meta(staged: ImportMeta): ImportMeta {
  originOf(staged);
  return staged;
}

function originOf(meta: ImportMeta): Origin {
  const known = origins.get(meta);
  if (known) return known;
  const stage = stageOf(meta.url);
  const url = stage?.originOf(meta.url);
  if (!stage || !url) throw new TypeError(`Cannot find the original of "${meta.url}"`);
  const origin: Origin = { stage, url, path: fileURLToPath(url.replace(/[?#].*$/, "")) };
  origins.set(meta, origin);
  const native = meta.resolve;
  const resolve = (specifier: string): string => {
    const config = stage.graph.configs.known(dirname(origin.path));
    const resolution = resolveImport(String(specifier), url, config);
    if (resolution.kind === "runtime") return native(resolution.specifier);
    // What could not be imported can still be named, as in Deno.
    return config.resolve(String(specifier), url).target;
  };
  Object.assign(meta, { url, filename: origin.path, dirname: dirname(origin.path), resolve });
  return origin;
}

/** Does what `import()` would do at a place of the author's file; the place counts from 0. */
function load(
  meta: ImportMeta,
  line: number,
  column: number,
): (specifier: unknown, options?: ImportCallOptions) => Promise<unknown> {
  return async (specifier, options) => {
    const { stage, url, path } = originOf(meta);
    const { graph } = stage;
    const name = String(specifier);
    const resolution = resolveImport(name, url, graph.configs.known(dirname(path)));
    if (resolution.kind === "runtime") return await import(resolution.specifier, options);
    if (resolution.kind === "file") {
      // A query asks for the file as it is now.
      if (resolution.suffix) stage.forget(resolution.path);
      await stage.add([resolution.path]);
    }
    const importer = graph.get(path);
    if (!importer) throw new TypeError(`Cannot import "${name}": "${path}" is not staged`);
    const place = { specifier: name, type: options?.with?.type, line, column };
    const problem = await edgeProblem(importer, { import: place, resolution }, graph);
    if (problem) throw problem;
    if (resolution.kind !== "file") return undefined;
    return await importFile(stage, resolution.path, resolution.suffix, options);
  };
}
