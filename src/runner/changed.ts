import { join } from "node:path";
import { cacheDir } from "../host/mod.ts";
import { CONFIG_FILE } from "./config.ts";
import type { TestFile } from "./discover.ts";
import { importGraph } from "./staging/mod.ts";

/** Git cannot tell what changed. */
export class ChangedError extends Error {
  override readonly name = "ChangedError";
}

/**
 * Paths that differ between the work tree and where it left `ref`, files that git does not know included.
 *
 * @throws {ChangedError} If there is no git, no repository, or no such ref.
 */
export async function changedPaths(cwd: string, ref: string): Promise<Set<string>> {
  if (ref.startsWith("-")) throw new ChangedError(`Cannot use ${JSON.stringify(ref)} as a git ref`);
  const top = (await git(cwd, ["rev-parse", "--show-toplevel"])).trim();
  const base = await git(cwd, ["merge-base", ref, "HEAD"]).catch(() => ref); // histories without a common part
  const diff = await git(top, ["diff", "--name-only", "-z", base.trim(), "--"]);
  const untracked = await git(top, ["ls-files", "--others", "--exclude-standard", "-z"]);
  const names = `${diff}${untracked}`.split("\0").filter((name) => name !== "");
  return new Set(names.map((name) => join(top, name)));
}

/** The files that import something that changed, directly or through others. Where that is unknown they count as changed. */
export async function changedFiles(
  files: readonly TestFile[],
  changed: ReadonlySet<string>,
): Promise<TestFile[]> {
  if (changed.size === 0) return [];
  // Images and limits of all tests may have changed.
  if ([...changed].some((path) => path.endsWith(`/${CONFIG_FILE}`))) return [...files];
  const options = { cacheDir: join(await cacheDir(), "stage") };
  const affected = await Promise.all(files.map(async (file) => {
    const path = await Deno.realPath(file.path);
    const graph = await importGraph(path, options);
    const isUnknown = graph.hasComputed || graph.errors.length > 0 || graph.missing.length > 0;
    return isUnknown || graph.files.some((one) => changed.has(one));
  }));
  return files.filter((_, i) => affected[i]);
}

async function git(cwd: string, args: string[]): Promise<string> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command("git", { args, cwd, stdin: "null" }).output();
  } catch (cause) {
    throw new ChangedError(`Cannot run git: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  if (output.success) return new TextDecoder().decode(output.stdout);
  const said = new TextDecoder().decode(output.stderr).trim().split("\n")[0];
  throw new ChangedError(`Cannot tell what changed: git ${args[0]} says "${said}"`);
}
