/**
 * Finds and reads the `deno.json` that a file belongs to.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { ImportMap, type ImportMapSource, type Mapped, toUrl } from "./_import_map.ts";
import { jsonErrorOffset, jsonErrorReason, parseJsonc, plainJson } from "./_jsonc.ts";
import { LineIndex } from "./_position.ts";
import { isAbsent, readText } from "./_read.ts";
import { errorAt } from "./_error_at.ts";

/** How the files of one folder resolve what they import. */
export interface UserConfig {
  /** Path of the `deno.json`; absent where there is none. */
  path?: string;
  resolve(specifier: string, importer: string): Mapped;
}

interface ConfigFile extends ImportMapSource {
  importMap?: string;
  name?: string;
  exports?: string | Record<string, string>;
  workspace?: string[] | { members?: string[] };
}

const NO_CONFIG: UserConfig = {
  resolve: (specifier, importer) => ({
    target: toUrl(specifier, importer) ?? specifier,
    mapped: false,
  }),
};

/** Reads each `deno.json` once, and answers for the folders below it. */
export class UserConfigs {
  readonly #folders = new Map<string, Promise<UserConfig>>();
  readonly #loaded = new Map<string, UserConfig>();

  /** The configuration for the files of a folder. Rejects with a `StagingError` when it cannot be read. */
  forFolder(folder: string): Promise<UserConfig> {
    const known = this.#folders.get(folder);
    if (known) return known;
    const loading = this.#load(folder);
    this.#folders.set(folder, loading);
    loading.then((config) => this.#loaded.set(folder, config), () => {});
    return loading;
  }

  /** The same, for a folder that was asked for before. */
  known(folder: string): UserConfig {
    return this.#loaded.get(folder) ?? NO_CONFIG;
  }

  async #load(folder: string): Promise<UserConfig> {
    const own = await readConfig(folder);
    const parent = dirname(folder);
    if (!own) return parent === folder ? NO_CONFIG : await this.forFolder(parent);
    const map = new ImportMap(own.map, own.base);
    const workspace = own.isRoot ? own : await findWorkspace(parent, folder);
    // A member sees its own entries first, then those of the root, then the other members by name.
    const shared = workspace && new ImportMap(await workspaceMap(workspace), workspace.base);
    return {
      path: own.path,
      resolve: (specifier, importer) => {
        const found = map.resolve(specifier, importer);
        return found.mapped || !shared ? found : shared.resolve(specifier, importer);
      },
    };
  }
}

interface LoadedConfig {
  path: string;
  folder: string;
  /** The URL from which relative targets count. */
  base: string;
  file: ConfigFile;
  map: ImportMapSource;
  members: string[];
  isRoot: boolean;
}

async function readConfig(folder: string): Promise<LoadedConfig | undefined> {
  for (const name of ["deno.json", "deno.jsonc"]) {
    const path = join(folder, name);
    const text = await readText(path);
    if (text === undefined) continue;
    const file = parseConfig(path, text) as ConfigFile;
    const members = Array.isArray(file.workspace) ? file.workspace : file.workspace?.members ?? [];
    const loaded: LoadedConfig = {
      path,
      folder,
      base: pathToFileURL(path).href,
      file,
      map: { imports: file.imports, scopes: file.scopes },
      members,
      isRoot: file.workspace !== undefined,
    };
    // Deno ignores `importMap` beside `imports`.
    if (file.importMap === undefined || file.imports || file.scopes) return loaded;
    return { ...loaded, ...await readImportMap(loaded, file.importMap) };
  }
  return undefined;
}

async function readImportMap(
  config: LoadedConfig,
  target: string,
): Promise<{ base: string; map: ImportMapSource }> {
  const path = join(config.folder, target);
  const text = /^https?:/.test(target) ? undefined : await readText(path);
  if (text === undefined) {
    const file = { url: config.base, text: (await readText(config.path)) ?? "" };
    const place = new LineIndex(file.text).at(Math.max(0, file.text.indexOf('"importMap"')));
    throw errorAt(file, place, (at) => `Cannot read the import map "${target}" at "${at}"`, {
      code: "CONFIG",
      expected: `a file "${path}"`,
      next: "correct the path, or move its entries into `imports`",
    });
  }
  return { base: pathToFileURL(path).href, map: parseConfig(path, text) as ImportMapSource };
}

function parseConfig(path: string, text: string): unknown {
  try {
    return parseJsonc(text) ?? {};
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const place = new LineIndex(text).at(jsonErrorOffset(plainJson(text)));
    throw errorAt(
      { url: pathToFileURL(path).href, text },
      place,
      (at) => `Cannot parse "${at}": ${jsonErrorReason(error)}`,
      { code: "CONFIG", expected: "JSON, with comments if need be" },
    );
  }
}

/** The nearest configuration above that lists `member` in its workspace. */
async function findWorkspace(folder: string, member: string): Promise<LoadedConfig | undefined> {
  for (let at = folder;; at = dirname(at)) {
    const config = await readConfig(at);
    if (config?.isRoot) {
      const folders = await memberFolders(config);
      if (folders.includes(member)) return config;
    }
    if (dirname(at) === at) return undefined;
  }
}

/** The folders of a workspace; `packages/*` names each folder in it. */
async function memberFolders({ folder, members }: LoadedConfig): Promise<string[]> {
  const folders: string[] = [];
  for (const member of members) {
    if (!member.endsWith("/*")) {
      folders.push(join(folder, member).replace(/\/$/, ""));
      continue;
    }
    const parent = join(folder, member.slice(0, -2));
    try {
      for await (const entry of Deno.readDir(parent)) {
        if (entry.isDirectory) folders.push(join(parent, entry.name));
      }
    } catch (error) {
      if (!isAbsent(error)) throw error; // a pattern may match nothing
    }
  }
  return folders;
}

/** The root's entries, and the members' packages by their names. */
async function workspaceMap(root: LoadedConfig): Promise<ImportMapSource> {
  const imports: Record<string, string> = {};
  for (const folder of await memberFolders(root)) {
    const config = await readConfig(folder);
    if (!config?.file.name) continue;
    const { name, exports = {} } = config.file;
    const entries = typeof exports === "string" ? { ".": exports } : exports;
    for (const [key, target] of Object.entries(entries)) {
      imports[key === "." ? name : name + key.slice(1)] = pathToFileURL(join(folder, target)).href;
    }
  }
  return { imports: { ...imports, ...root.map.imports }, scopes: root.map.scopes };
}
