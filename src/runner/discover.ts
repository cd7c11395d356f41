import { join, relative, resolve } from "node:path";
import { closest } from "../values/mod.ts";
import { globPattern, isGlob } from "./_glob.ts";

/** A test file. */
export interface TestFile {
  /** Absolute path. */
  path: string;
  /** Path relative to the working directory, as reports show it. */
  file: string;
}

/** A path that leads to no test file. */
export class NothingFoundError extends Error {
  override readonly name = "NothingFoundError";
}

const SUFFIX = ".test.ts";
/** How files with fixtures are named. */
export const FIXTURE_SUFFIX = ".fixture.ts";
const SKIPPED: ReadonlySet<string> = new Set(["node_modules"]);

/**
 * Finds test files: a file is taken as it is, of a folder all `*.test.ts` below it, of a glob all files that match.
 *
 * @throws {NothingFoundError} If a path does not exist or leads to no file.
 */
export async function discoverFiles(
  paths: readonly string[],
  cwd: string,
  suffix: string = SUFFIX,
): Promise<TestFile[]> {
  const found = new Map<string, TestFile>();
  for (const path of paths.length > 0 ? paths : ["."]) {
    const files = await filesOf(path, cwd, suffix);
    if (files.length === 0 && paths.length > 0) {
      throw new NothingFoundError(
        `No file matches ${JSON.stringify(path)}: expected files named *${suffix}`,
      );
    }
    for (const file of files.sort()) found.set(file, { path: file, file: labelOf(file, cwd) });
  }
  return [...found.values()];
}

/** A path as reports show it. */
export function labelOf(path: string, cwd: string): string {
  const label = relative(cwd, path);
  return label.startsWith("..") ? path : label;
}

async function filesOf(path: string, cwd: string, suffix: string): Promise<string[]> {
  const absolute = resolve(cwd, path);
  const info = await statOf(absolute);
  if (info?.isFile) return [absolute];
  if (info?.isDirectory) return await walk(absolute, (file) => file.endsWith(suffix));
  if (isGlob(path)) {
    const { base, pattern } = globPattern(absolute);
    if ((await statOf(base))?.isDirectory) return await walk(base, (file) => pattern.test(file));
    return [];
  }
  throw new NothingFoundError(`There is no ${JSON.stringify(path)}${await hintFor(absolute)}`);
}

async function statOf(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw error;
  }
}

async function walk(folder: string, wanted: (path: string) => boolean): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = join(folder, entry.name);
    if (entry.isFile || (entry.isSymlink && (await statOf(path))?.isFile)) {
      if (wanted(path)) files.push(path);
    } else if (entry.isDirectory && !entry.name.startsWith(".") && !SKIPPED.has(entry.name)) {
      files.push(...await walk(path, wanted));
    }
  }
  return files;
}

async function hintFor(path: string): Promise<string> {
  const folder = resolve(path, "..");
  const name = path.slice(folder.length + 1);
  try {
    const names: string[] = [];
    for await (const entry of Deno.readDir(folder)) names.push(entry.name);
    const near = closest(name, names);
    return near ? `: did you mean ${JSON.stringify(near)}?` : "";
  } catch {
    return ""; // The folder does not exist either.
  }
}
