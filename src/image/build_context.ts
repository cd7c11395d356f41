import { ImageError } from "../errors.ts";
import { cacheDir } from "../host/mod.ts";

/** Architectures that images are built for, as Deno names them. */
export type Arch = "x86_64" | "aarch64";

/** Tells how a build that may take a while goes on; `fraction` is between 0 and 1 where it is known. */
export type OnProgress = (message: string, fraction?: number) => void;

/** Options that every image operation takes. */
export interface BuildOptions {
  /**
   * Architecture of the machines.
   *
   * @default {Deno.build.arch}
   */
  arch?: Arch;
  /** Folder for images and what they are made of; the user's cache by default. */
  cacheDir?: string;
  /** Executable to use as the agent; see {@linkcode agentBinary} for where it comes from by default. */
  agent?: string;
  /** Signal that ends the build; what it had begun is removed. */
  signal?: AbortSignal;
  /** Called when a step begins that may take a while. */
  onProgress?: OnProgress;
}

/** What every build step is given. */
export interface BuildContext extends BuildOptions {
  /** Architecture of the machines. */
  arch: Arch;
  /** Folder for images and what they are made of. */
  cacheDir: string;
  /** Folders of the cache that were filled meanwhile. */
  built: Set<string>;
}

/**
 * Fills in what the caller left out.
 *
 * @throws {ImageError} If machines of the host's architecture are not supported.
 */
export async function buildContext(options: BuildOptions = {}): Promise<BuildContext> {
  const { arch = Deno.build.arch, agent, signal, onProgress } = options;
  if (arch !== "x86_64" && arch !== "aarch64") {
    throw new ImageError(`Cannot build images for the architecture "${arch}"`, {
      expected: "x86_64 or aarch64",
    });
  }
  return {
    arch,
    agent,
    signal,
    onProgress,
    cacheDir: options.cacheDir ?? await cacheDir(),
    built: new Set(),
  };
}
