/**
 * Makes the staged text of a script: imports lead to staged files, and a source map leads back.
 *
 * @module
 */

import type { Edge, Module } from "./_module.ts";
import { LineIndex } from "./_position.ts";
import { type Move, moveColumns } from "./_source_map.ts";

/**
 * Name of the object that staged files call. A property of the global, not an import: the text must not depend on names that
 * the file may shadow.
 */
export const HOOK_NAME = "__belljarStaging";

interface Edit {
  start: number;
  end: number;
  text: string;
}

/** The text to write for `module`; `urlOf` tells where another file is staged. */
export function link(module: Module, urlOf: (path: string) => string): string {
  const { code, mappings, metas } = module.script!;
  const edits = [
    // Not once at the top: in a cycle, a module's functions are called before its first line runs.
    ...metas.map((found) => ({ ...found, text: `globalThis.${HOOK_NAME}.meta(import.meta)` })),
    ...module.edges.flatMap((edge) => linkEdge(edge, urlOf)),
  ].sort((a, b) => a.start - b.start);
  const map = JSON.stringify({
    version: 3,
    sources: [module.url],
    names: [],
    mappings: moveColumns(mappings, movesOf(code, edits)),
  });
  const data = new TextEncoder().encode(map).toBase64();
  return `${applyEdits(code, edits)}\n//# sourceMappingURL=data:application/json;base64,${data}\n`;
}

function linkEdge(
  { import: found, resolution }: Edge,
  urlOf: (path: string) => string,
): Edit[] {
  const { start, end, kind, line, column, specifier } = found;
  if (kind === "dynamic") {
    // What a dynamic import names is staged when it runs: only then is it wanted, or known.
    return [{ start, end, text: `globalThis.${HOOK_NAME}.load(import.meta, ${line}, ${column})` }];
  }
  const target = resolution?.kind === "file"
    ? urlOf(resolution.path) + resolution.suffix
    : resolution?.kind === "runtime"
    ? resolution.specifier
    : specifier;
  return target === specifier ? [] : [{ start, end, text: JSON.stringify(target) }];
}

function applyEdits(text: string, edits: Edit[]): string {
  let result = "";
  let at = 0;
  for (const edit of edits) {
    result += text.slice(at, edit.start) + edit.text;
    at = edit.end;
  }
  return result + text.slice(at);
}

/** How edits move what stands behind them. */
function movesOf(code: string, edits: Edit[]): Move[] {
  const lines = new LineIndex(code);
  return edits.map(({ start, end, text }) => ({
    ...lines.at(end),
    delta: text.length - (end - start),
  }));
}
