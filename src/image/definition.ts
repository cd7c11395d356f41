import { checkOptions, closest, type OptionTable, optionTable, type Size } from "../values/mod.ts";
import type { BuildHook } from "./build_hook.ts";

/** What every image definition may say. Paths are relative to the folder of the configuration. */
export interface ImageBase {
  /** Kernel arguments of the image. */
  cmdline?: string;
  /** File with kernel arguments; its lines are joined by spaces, those that begin with "#" left out. */
  cmdlineFile?: string;
  /** Command or function that makes the image's files; it runs only when its inputs changed. */
  build?: BuildHook;
}

/** What images say that belljar starts with a kernel of its own choice. */
export interface KernelBase extends ImageBase {
  /**
   * Kernel to start: a bzImage, vmlinux or Image.
   *
   * @default the distribution's kernel for virtual machines
   */
  kernel?: string;
  /** Folder with the kernel's modules, like `/lib/modules/<release>`; looked for by default. */
  modulesDir?: string;
  /** Modules to load at boot, besides those that a machine needs. */
  modules?: readonly string[];
}

/** The built-in image with another kernel, more modules, or kernel arguments. */
export interface TinyDefinition extends KernelBase {
  /** The image that is changed. */
  base: "tiny";
}

/** A kernel and one or more initial RAM file systems, which are never modified. */
export interface InitrdDefinition extends KernelBase {
  /** One archive or several, in the order in which the kernel unpacks them. */
  initrd: string | readonly string[];
  /**
   * Who is process 1: belljar's agent, in place of the archive's `/init`, or that `/init` itself,
   * which then has to start the agent at `/usr/lib/belljar/agent`.
   *
   * @default {"agent"}
   */
  init?: "agent" | "own";
}

/** A kernel and a root file system: a folder, or a tar archive in any compression. */
export interface RootfsDefinition extends KernelBase {
  /** The folder or archive. */
  rootfs: string;
  /**
   * Size of the disk that is made of it.
   *
   * @default what its files need, and half as much again, at least 64 MiB more
   */
  size?: Size;
  /**
   * Process 1: a program of the root file system that starts the agent as a systemd service, or
   * the agent itself.
   *
   * @default {"/sbin/init"} where that is systemd, otherwise the agent
   */
  init?: "agent" | "systemd";
  /**
   * When systemd starts the agent, and so when `boot()` returns: once `multi-user.target` is reached,
   * or as early as files can be written. Clones begin where the agent first answered.
   *
   * @default {"booted"}
   */
  start?: "booted" | "early";
}

/** A disk image whose own system starts the agent as a service. */
export interface DiskDefinition extends ImageBase {
  /** The file, which is never written to. */
  disk: string;
  /**
   * How the disk lies in the file.
   *
   * @default what its first bytes say
   */
  format?: "raw" | "qcow2";
  /** Kernel to start instead of the disk's own boot loader. */
  kernel?: string;
  /** Initial RAM file systems for that kernel. */
  initrd?: string | readonly string[];
}

/** An image as `belljar.config.ts` describes it. */
export type ImageDefinition = TinyDefinition | InitrdDefinition | RootfsDefinition | DiskDefinition;

/** Image definitions by name. */
export type ImageDefinitions = Record<string, ImageDefinition>;

const BASE = { cmdline: "string", cmdlineFile: "string", build: checkBuildHook } as const;
const KERNEL = { ...BASE, kernel: "string", modulesDir: "string", modules: "strings" } as const;

/** One table per kind, under the key that makes a definition of that kind. */
const KINDS = {
  base: optionTable<TinyDefinition>()({ ...KERNEL, base: ["tiny"] }),
  rootfs: optionTable<RootfsDefinition>()({
    ...KERNEL,
    rootfs: "string",
    size: "size",
    init: ["agent", "systemd"],
    start: ["booted", "early"],
  }),
  disk: optionTable<DiskDefinition>()({
    ...BASE,
    disk: "string",
    format: ["raw", "qcow2"],
    kernel: "string",
    initrd: checkInitrd,
  }),
  // Last, as a disk may have an initrd too.
  initrd: optionTable<InitrdDefinition>()({
    ...KERNEL,
    initrd: checkInitrd,
    init: ["agent", "own"],
  }),
};
const BUILD_HOOK: OptionTable<Exclude<BuildHook, string | readonly string[]>> = {
  run: checkRun,
  inputs: "strings",
  outputs: "strings",
};

/** Names that mean built-in images. */
export const BUILT_IN_IMAGES: readonly string[] = ["tiny"];
/** Names that `belljar image` uses for something else. */
const RESERVED_NAMES: readonly string[] = ["agent"];

/**
 * Refuses unknown keys and wrong types in image definitions, by name.
 *
 * @throws {TypeError} If a definition is wrong in shape.
 * @throws {RangeError} If a size is outside the allowed values.
 */
export function checkImageDefinitions(images: unknown): asserts images is ImageDefinitions {
  if (typeof images !== "object" || images === null || Array.isArray(images)) {
    throw new TypeError("The option images of defineConfig() must be an object");
  }
  for (const [name, definition] of Object.entries(images)) checkImageDefinition(name, definition);
}

/**
 * Refuses unknown keys and wrong types in one image definition, by name.
 *
 * @throws {TypeError} If the definition is wrong in shape.
 * @throws {RangeError} If a size is outside the allowed values.
 */
export function checkImageDefinition(
  name: string,
  definition: unknown,
): asserts definition is ImageDefinition {
  const what = `image ${JSON.stringify(name)}`;
  if (BUILT_IN_IMAGES.includes(name)) {
    throw new TypeError(`Cannot define ${what}: it is built in, choose another name`);
  }
  if (RESERVED_NAMES.includes(name)) {
    throw new TypeError(`Cannot define ${what}: the name is reserved, choose another`);
  }
  if (typeof definition !== "object" || definition === null || Array.isArray(definition)) {
    throw new TypeError(`The definition of ${what} must be an object`);
  }
  const keys = Object.keys(KINDS) as (keyof typeof KINDS)[];
  const kind = keys.find((key) => Object.hasOwn(definition, key));
  if (kind === undefined) {
    const given = Object.keys(definition);
    const near = given.map((key) => closest(key, keys)).find((key) => key !== undefined);
    throw new TypeError(
      `Cannot tell the kind of ${what}: expected one of the keys ${quoted(keys)}` +
        (near ? `: did you mean "${near}"?` : given.length > 0 ? `, got ${quoted(given)}` : ""),
    );
  }
  checkOptions(what, definition, KINDS[kind]);
  const { cmdline, cmdlineFile } = definition as ImageBase;
  if (cmdline !== undefined && cmdlineFile !== undefined) {
    throw new TypeError(`Cannot use both "cmdline" and "cmdlineFile" in ${what}`);
  }
}

function quoted(keys: readonly string[]): string {
  return keys.map((key) => JSON.stringify(key)).join(", ");
}

function isStrings(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 &&
    value.every((item) => typeof item === "string");
}

function checkInitrd(value: unknown, name: string): void {
  if (typeof value === "string" || isStrings(value)) return;
  throw new TypeError(`Option ${name} must be a path or an array of paths`);
}

function checkRun(value: unknown, name: string): void {
  if (typeof value === "string" || typeof value === "function" || isStrings(value)) return;
  throw new TypeError(`Option ${name} must be a command, an array of strings, or a function`);
}

function checkBuildHook(value: unknown, name: string): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(`Option ${name} must be an object with "run" and "inputs"`);
  }
  checkOptions(name, value, BUILD_HOOK as Record<string, typeof checkRun>);
  for (const key of ["run", "inputs"]) {
    if (!Object.hasOwn(value, key)) throw new TypeError(`Option ${name} lacks the key "${key}"`);
  }
}
