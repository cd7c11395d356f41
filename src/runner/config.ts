import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { BelljarError } from "../errors.ts";
import { checkImageDefinitions, type ImageDefinitions } from "../image/mod.ts";
import { type Duration, registerOptions } from "../values/mod.ts";
import { importTestFile } from "./staging/mod.ts";

/** What `belljar.config.ts` may set. A flag wins over a variable `BELLJAR_…`, and that over this. */
export interface BelljarConfig {
  /** Images by name, beside the built-in `tiny`. Relative paths begin at the folder of the configuration. */
  images?: ImageDefinitions;
  /** Files that run at the same time. */
  jobs?: number;
  /** Limit of tests that name none. */
  timeout?: Duration;
  /** How often a failed test is run again. */
  retries?: number;
  /** What runs the processors of machines. */
  accel?: "auto" | "kvm" | "tcg";
  /** How agents are reached. */
  transport?: "auto" | "vsock" | "serial";
  /** What runs machines. */
  vmm?: "qemu" | "local";
  /** Whether machines are booted instead of cloned. */
  cold?: boolean;
  /** When machines are prepared while tests run: on idle processors, whatever they do, or never. */
  standby?: "auto" | "always" | "never";
  /** Whether tests that leave something open fail. */
  strict?: boolean;
  /** Whether slow tests run. */
  includeSlow?: boolean;
  /** Reporters, as `NAME` or `NAME=FILE`. */
  reporter?: string[];
  /** Folder for attachments. */
  artifacts?: string;
}

/** A configuration, and where it was found. */
export interface LoadedConfig {
  config: BelljarConfig;
  /** Its file; `undefined` if there is none. */
  path: string | undefined;
  /** Folder at which its relative paths begin. */
  root: string;
}

/** Name of the file that is looked for, from the working directory upwards. */
export const CONFIG_FILE = "belljar.config.ts";

const check = registerOptions<BelljarConfig>("defineConfig()", {
  images: (images) => checkImageDefinitions(images),
  jobs: "integer",
  timeout: "duration",
  retries: "integer",
  accel: ["auto", "kvm", "tcg"],
  transport: ["auto", "vsock", "serial"],
  vmm: ["qemu", "local"],
  cold: "boolean",
  standby: ["auto", "always", "never"],
  strict: "boolean",
  includeSlow: "boolean",
  reporter: "strings",
  artifacts: "string",
});

let defined: BelljarConfig | undefined;

/**
 * Sets the configuration of a project, in its `belljar.config.ts`.
 *
 * @throws {TypeError} If an option is unknown or of the wrong type.
 */
export function defineConfig(config: BelljarConfig): BelljarConfig {
  check(config);
  defined = config;
  return config;
}

/** Finds the configuration file of a folder, looking upwards. */
export async function findConfig(folder: string): Promise<string | undefined> {
  for (let at = folder;; at = dirname(at)) {
    const path = join(at, CONFIG_FILE);
    try {
      if ((await Deno.stat(path)).isFile) return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    if (dirname(at) === at) return undefined;
  }
}

/** Options for {@linkcode loadConfig}. */
export interface LoadConfigOptions {
  /** Where the compiled program puts what it stages; without it the runtime imports the file itself. */
  stage?: { dir: string; cacheDir?: string };
}

/**
 * Loads the configuration of a folder; an empty one if there is none.
 *
 * @throws {BelljarError} If it defines nothing.
 * @throws {unknown} What the file itself throws.
 */
export async function loadConfig(
  folder: string,
  options: LoadConfigOptions = {},
): Promise<LoadedConfig> {
  const path = await findConfig(folder);
  if (path === undefined) return { config: {}, path, root: folder };
  if (options.stage) await importTestFile(path, options.stage);
  else await import(pathToFileURL(path).href);
  if (!defined) {
    throw new BelljarError(`Cannot use "${path}"`, {
      code: "CONFIG",
      expected: "a call of defineConfig()",
      actual: "it calls it nowhere",
      next: 'write `import { defineConfig } from "belljar"; export default defineConfig({ … });`',
    });
  }
  return { config: defined, path, root: dirname(path) };
}
