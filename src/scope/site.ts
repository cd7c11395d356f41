/** A place in the author's code. */
export interface Site {
  /** URL or path of the file, as the stack trace names it. */
  file: string;
  /** Line, from 1. */
  line: number;
  /** Column, from 1. */
  column: number;
}

// A compiled program has its packages beside its sources: nothing below that folder is the author's.
const OWN_ROOT = new URL(Deno.build.standalone ? "../../" : "../", import.meta.url).href;
const OWN_MAIN = new URL("../../main.ts", import.meta.url).href;

/** Shows a site as editors and terminals link it: `path:line:column`. */
export function formatSite(site: Site | undefined): string {
  if (!site) return "an unknown place";
  return `${pathOf(site.file)}:${site.line}:${site.column}`;
}

/**
 * Finds the innermost frame of the author's code on the current stack: the first that lies neither in belljar nor in the
 * runtime.
 */
export function captureSite(): Site | undefined {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 50;
  const stack = new Error().stack ?? "";
  Error.stackTraceLimit = limit;
  return authorFrame(stack);
}

/** Finds the innermost frame of the author's code in a printed stack trace. */
export function authorFrame(stack: string): Site | undefined {
  return authorFrames(stack)[0];
}

/** All frames of the author's code in a printed stack trace, innermost first. */
export function authorFrames(stack: string): Site[] {
  const sites: Site[] = [];
  for (const line of stack.split("\n")) {
    const match = /(?:\(|at (?:async )?)((?:file|https?):\/\/[^()]+|\/[^()]+):(\d+):(\d+)\)?$/.exec(
      line.trim(),
    );
    if (!match) continue;
    const [, file, row, column] = match as unknown as [string, string, string, string];
    if (file.startsWith(OWN_ROOT) || file === OWN_MAIN) continue;
    if (/^https?:\/\/jsr\.io\/@std\//.test(file)) continue;
    if (/\/node_modules\/|\/npm\/[^/]+\/deno-std\//.test(file)) continue;
    if (/\/scripts\/fallback\//.test(file)) continue;
    sites.push({ file, line: Number(row), column: Number(column) });
  }
  return sites;
}

function pathOf(file: string): string {
  return file.startsWith("file://") ? decodeURIComponent(new URL(file).pathname) : file;
}
