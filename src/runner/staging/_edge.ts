/**
 * Says what is wrong with one import.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { closest } from "../../values/mod.ts";
import type { Edge, Module } from "./_module.ts";
import type { Position } from "./_position.ts";
import { type Refusal, refuseFile } from "./_resolve.ts";
import { errorAt } from "./_error_at.ts";
import { StagingError } from "./staging_error.ts";

/** What a reader of a message has to know of an import. */
export type ImportPlace = Pick<Edge["import"], "specifier" | "type" | "line" | "column">;

/** Makes the error for an import that cannot be had. */
function importError(
  importer: { url: string; text: string },
  specifier: string,
  place: Position,
  { why, ...details }: Refusal,
): StagingError {
  const summary = (at: string) => `Cannot import "${specifier}" at "${at}": ${why}`;
  return errorAt(importer, place, summary, details);
}

/** What keeps an import from being satisfied, the imported file's own problems apart. */
export async function edgeProblem(
  importer: Module,
  edge: Pick<Edge, "resolution"> & { import: ImportPlace },
  modules: { get(path: string): Module | undefined },
): Promise<StagingError | undefined> {
  const { specifier = "", type } = edge.import;
  const fail = (refusal: Refusal) => importError(importer, specifier, edge.import, refusal);
  const { resolution } = edge;
  if (!resolution || resolution.kind === "runtime") return undefined;
  if (resolution.kind === "refused") return fail(resolution.refusal);
  const target = modules.get(resolution.path);
  if (target?.kind === "absent") return fail(await absence(target, specifier));
  return attributeProblem(resolution.path, type, specifier, fail);
}

function attributeProblem(
  path: string,
  type: string | undefined,
  specifier: string,
  fail: (refusal: Refusal) => StagingError,
): StagingError | undefined {
  const isJson = path.endsWith(".json");
  if (isJson && type === undefined) {
    return fail({
      code: "ATTRIBUTE",
      why: "JSON needs an import attribute",
      next: `write \`from "${specifier}" with { type: "json" }\``,
    });
  }
  if (type === undefined || (isJson && type === "json")) return undefined;
  return fail({
    code: "ATTRIBUTE",
    why: `the attribute \`type: "${type}"\` does not fit it`,
    expected: '`type: "json"`, and only for a .json file',
    next: "read it by `Deno.readTextFile(new URL(…, import.meta.url))`",
  });
}

/** What keeps an entry from being loaded, its own text apart. */
export async function entryProblem(entry: Module): Promise<StagingError | undefined> {
  const refusal = refuseFile(entry.path) ??
    (entry.kind === "absent" ? await absence(entry, basename(entry.path)) : undefined);
  if (!refusal) return undefined;
  const { why, ...details } = refusal;
  const site = { file: entry.url, line: 1, column: 1 };
  return new StagingError(`Cannot read test file "${entry.path}": ${why}`, { ...details, site });
}

/** Why a file cannot be read, and which one was probably meant. */
async function absence(file: Module, specifier: string): Promise<Refusal> {
  const code = "NOT_FOUND";
  if (file.failure) {
    const why = file.failure instanceof Error ? file.failure.message : String(file.failure);
    return { code, why, expected: `that "${file.path}" can be read` };
  }
  const near = await neighbour(file.path);
  const meant = near && specifier.slice(0, specifier.lastIndexOf("/") + 1) + near;
  return {
    code,
    why: "no such file",
    expected: `a file "${file.path}"`,
    next: meant ? `write "${meant}"` : undefined,
  };
}

/** The file beside `path` that its name most likely meant. */
async function neighbour(path: string): Promise<string | undefined> {
  const name = basename(path);
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(dirname(path))) {
      if (!entry.isDirectory) names.push(entry.name);
    }
  } catch {
    return undefined; // no folder, no neighbours
  }
  const stem = name.replace(/\.[^.]+$/, "");
  const others = [`${name}.ts`, `${name}.js`, `${stem}.ts`, `${stem}.mts`, `${stem}.js`];
  const exact = others.find((other) => other !== name && names.includes(other));
  if (exact) return exact;
  for (const index of ["mod.ts", "index.ts"]) {
    const isFile = await Deno.stat(join(path, index)).then((info) => info.isFile, () => false);
    if (isFile) return `${name}/${index}`;
  }
  // The nearest name, by what stands before the extension if the import has none.
  const key = (other: string) => stem === name ? other.replace(/\.[^.]+$/, "") : other;
  const near = closest(name, names.map(key));
  return names.find((other) => key(other) === near);
}
