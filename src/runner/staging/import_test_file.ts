import { pathToFileURL } from "node:url";
import { importStaged } from "./_runtime.ts";
import { refuseDenoTests } from "./deno_test_refusal.ts";
import type { StageOptions } from "./stage.ts";

/** Options for {@linkcode importTestFile}. */
export interface ImportTestFileOptions extends StageOptions {
  /**
   * Whether to stage the file, or let the runtime read it.
   *
   * @default {Deno.build.standalone}
   */
  staged?: boolean;
}

let refused: Disposable | undefined;

/**
 * Runs a test file so that it registers its tests. The compiled binary stages it, since it reads no TypeScript itself; else
 * the runtime imports it. From then on `Deno.test()` throws in this process.
 *
 * @param path Absolute path.
 * @throws {StagingError} If the file, or what it imports, cannot be loaded; several problems come as an `AggregateError`.
 * @throws {unknown} What the file itself throws.
 */
export async function importTestFile(path: string, options: ImportTestFileOptions): Promise<void> {
  refused ??= refuseDenoTests();
  if (options.staged ?? Deno.build.standalone) await importStaged(path, options);
  else await import(pathToFileURL(path).href);
}
