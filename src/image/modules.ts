import { ImageError } from "../errors.ts";
import { closest } from "../values/mod.ts";
import { decompress } from "./_decompress.ts";
import type { Compression } from "./_decompress.ts";
import { Elf } from "./_elf.ts";

/** A kernel module, unpacked, with what it says about itself. */
export interface KernelModule {
  /** Name as the kernel lists it, with underscores. */
  name: string;
  /** Path below the tree's root, without a compression's suffix: `kernel/fs/overlayfs/overlay.ko`. */
  path: string;
  /** Names of the modules that must be loaded before this one. */
  depends: string[];
  /** Names by which the kernel asks for it: `fs-overlay`. */
  aliases: string[];
  bytes: Uint8Array;
}

/** Options for {@linkcode ModuleTree.resolve}. */
export interface ResolveModulesOptions {
  /** Leave out modules that the tree lacks, instead of failing. */
  optional?: boolean;
  signal?: AbortSignal;
}

const MODULE_FILE = /^(.+)\.ko(\.gz|\.xz|\.zst)?$/;
const SUFFIXES: Record<string, Compression> = { ".gz": "gzip", ".xz": "xz", ".zst": "zstd" };

/** The modules of one kernel: a folder such as `/lib/modules/6.1.0-56-cloud-amd64`. */
export class ModuleTree {
  /** The folder. */
  readonly dir: string;
  readonly #files: Map<string, string>;
  readonly #builtin: Map<string, string>;
  readonly #loaded = new Map<string, Promise<KernelModule>>();

  private constructor(dir: string, files: Map<string, string>, builtin: Map<string, string>) {
    this.dir = dir;
    this.#files = files;
    this.#builtin = builtin;
  }

  /**
   * Lists the modules in a folder, which needs no `modules.dep`.
   *
   * @throws {ImageError} If the folder cannot be read.
   */
  static async open(dir: string): Promise<ModuleTree> {
    try {
      const files = new Map<string, string>();
      await collectModules(dir, "", files);
      return new ModuleTree(dir, files, await readBuiltin(dir));
    } catch (cause) {
      throw new ImageError(`Cannot read the kernel modules in "${dir}"`, {
        cause,
        expected: "a folder like /lib/modules/<release>",
        actual: cause instanceof Error ? cause.message : String(cause),
      });
    }
  }

  /** A tree without modules, for a kernel that has everything built in. */
  static empty(): ModuleTree {
    return new ModuleTree("", new Map(), new Map());
  }

  /** Number of modules in the tree. */
  get size(): number {
    return this.#files.size;
  }

  /** Tells where a module is: a file of the tree, the kernel itself, or nowhere. */
  find(name: string): "file" | "builtin" | undefined {
    const key = moduleName(name);
    if (this.#files.has(key)) return "file";
    return this.#builtin.has(key) ? "builtin" : undefined;
  }

  /** The text of a `modules.builtin`: paths of what the kernel has built in, one per line. */
  builtinList(): string {
    return [...this.#builtin.values()].map((path) => `${path}\n`).join("");
  }

  /**
   * Reads modules and all that they need, each after what it depends on. Those that are built into
   * the kernel are left out.
   *
   * @throws {ImageError} If a module is missing (unless `optional`), cannot be read, or needs itself.
   */
  async resolve(
    names: Iterable<string>,
    options: ResolveModulesOptions = {},
  ): Promise<KernelModule[]> {
    const result = new Map<string, KernelModule>();
    for (const name of names) {
      const found = this.find(name);
      if (found === undefined && !options.optional) throw this.#missing(name);
      if (found === "file") await this.#visit(moduleName(name), result, [], options.signal);
    }
    return [...result.values()];
  }

  async #visit(
    name: string,
    result: Map<string, KernelModule>,
    path: string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (result.has(name) || this.#builtin.has(name)) return;
    if (path.includes(name)) {
      throw new ImageError(
        `Cannot order the kernel modules: "${[...path, name].join('" needs "')}"`,
      );
    }
    if (!this.#files.has(name)) throw this.#missing(name, path.at(-1));
    signal?.throwIfAborted();
    const module = await this.#load(name, signal);
    for (const needed of module.depends) {
      await this.#visit(needed, result, [...path, name], signal);
    }
    result.set(name, module);
  }

  #load(name: string, signal: AbortSignal | undefined): Promise<KernelModule> {
    const known = this.#loaded.get(name);
    if (known) return known;
    const loading = readModule(this.dir, this.#files.get(name)!, signal);
    this.#loaded.set(name, loading);
    loading.catch(() => this.#loaded.delete(name)); // an aborted read may be tried again
    return loading;
  }

  #missing(name: string, neededBy?: string): ImageError {
    const near = closest(name, [...this.#files.keys()]);
    return new ImageError(`Cannot find the kernel module "${name}" in "${this.dir}"`, {
      expected: neededBy ? `it to be there, as "${neededBy}" needs it` : undefined,
      next: near ? `write "${near}", if that was meant` : "name a kernel that has it",
    });
  }
}

/** Writes the `modules.dep` that `modprobe` reads: each module with all that it needs, nearest first. */
export function modulesDep(modules: KernelModule[]): string {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const closure = (module: KernelModule, seen: Set<string>): string[] => {
    const paths: string[] = [];
    for (const name of module.depends) {
      const needed = byName.get(name);
      if (!needed || seen.has(name)) continue;
      seen.add(name);
      paths.push(needed.path, ...closure(needed, seen));
    }
    return paths;
  };
  // What is listed last is loaded first, so the deepest must come last: the tree's order, reversed.
  const rank = new Map(modules.map((module, index) => [module.path, index]));
  const lines = modules.map((module) => {
    const needed = closure(module, new Set()).toSorted((a, b) => rank.get(b)! - rank.get(a)!);
    return [`${module.path}:`, ...needed].join(" ") + "\n";
  });
  return lines.join("");
}

/** Writes the `modules.alias` that lets the kernel's own requests find modules. */
export function modulesAlias(modules: KernelModule[]): string {
  return modules
    .flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`))
    .join("");
}

/** Returns the name by which the kernel lists a module: `virtio-rng` is `virtio_rng`. */
export function moduleName(name: string): string {
  return name.replaceAll("-", "_");
}

function nameOfPath(path: string): string {
  return moduleName(path.slice(path.lastIndexOf("/") + 1).replace(MODULE_FILE, "$1"));
}

async function collectModules(
  root: string,
  below: string,
  files: Map<string, string>,
): Promise<void> {
  for await (const entry of Deno.readDir(`${root}/${below}`)) {
    // `build` and `source` link to kernel sources, which may hold modules that are not installed.
    if (entry.isSymlink) continue;
    const path = `${below}${entry.name}`;
    if (entry.isDirectory) await collectModules(root, `${path}/`, files);
    if (entry.isFile && MODULE_FILE.test(path)) files.set(nameOfPath(path), path);
  }
}

/** Reads which modules are part of the kernel: their paths by name. */
async function readBuiltin(dir: string): Promise<Map<string, string>> {
  let text: string;
  try {
    text = await Deno.readTextFile(`${dir}/modules.builtin`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Map(); // written by newer builds only
    throw error;
  }
  const paths = text.split("\n").filter((line) => MODULE_FILE.test(line));
  return new Map(paths.map((path) => [nameOfPath(path), path]));
}

async function readModule(
  dir: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<KernelModule> {
  const what = `the kernel module "${dir}/${path}"`;
  try {
    const match = MODULE_FILE.exec(path)!;
    const packed = await Deno.readFile(`${dir}/${path}`, { signal });
    const compression = match[2] && SUFFIXES[match[2]];
    const bytes = compression ? await decompress(packed, compression, { what, signal }) : packed;
    const info = modinfo(bytes);
    return {
      name: nameOfPath(path),
      path: `${match[1]}.ko`,
      depends: (info.get("depends")?.[0] ?? "").split(",").filter((name) => name !== "")
        .map(moduleName),
      aliases: info.get("alias") ?? [],
      bytes,
    };
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof ImageError) throw cause;
    throw new ImageError(`Cannot read ${what}`, { cause, actual: String(cause) });
  }
}

/** Reads the `key=value` entries that a module carries. */
function modinfo(bytes: Uint8Array): Map<string, string[]> {
  const section = new Elf(bytes).section(".modinfo");
  if (!section) throw new SyntaxError("the file has no .modinfo section");
  const result = new Map<string, string[]>();
  for (const entry of new TextDecoder().decode(section.bytes).split("\0")) {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(entry) ?? [];
    if (key === undefined || value === undefined) continue;
    result.set(key, [...result.get(key) ?? [], value]);
  }
  return result;
}
