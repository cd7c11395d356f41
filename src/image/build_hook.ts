import { ImageError } from "../errors.ts";
import { lockFile } from "../host/mod.ts";
import { exists, makeDir, sha256, writeFileAtomic } from "./_store.ts";
import { runTool } from "./_tool.ts";
import type { BuildContext } from "./build_context.ts";

/** What a build function is given. */
export interface BuildHookContext {
  /** Folder of the configuration. */
  dir: string;
  /** Aborts when the image is not wanted any more. */
  signal?: AbortSignal;
}

/** A step that makes an image's files before they are used. */
export interface BuildHook {
  /** Shell command, program with arguments, or function; run in the folder of the configuration. */
  run: string | readonly string[] | ((context: BuildHookContext) => Promise<void> | void);
  /** Files and folders that it reads: it runs again when one of them changed. */
  inputs: readonly string[];
  /** Files and folders that it makes: it runs again when one of them is missing. */
  outputs?: readonly string[];
}

/**
 * Runs a build hook unless its inputs are as they were at its last success and its outputs exist.
 *
 * @returns Whether it ran.
 * @throws {ImageError} If it fails, or an input or a promised output is missing.
 */
export async function runBuildHook(
  name: string,
  hook: BuildHook,
  dir: string,
  context: BuildContext,
): Promise<boolean> {
  const { outputs = [] } = hook;
  const id = (await sha256(new TextEncoder().encode(`${dir}\0${name}`))).slice(0, 16);
  const folder = `${context.cacheDir}/builds`;
  await makeDir(folder);
  using _lock = await lockFile(`${folder}/${id}.lock`, {
    signal: context.signal,
    onWait: () => context.onProgress?.(`waiting for another process that builds "${name}"`),
  });
  const stamp = `${folder}/${id}`;
  const digest = await inputDigest(name, hook, dir);
  const last = await Deno.readTextFile(stamp).catch(() => undefined);
  const missing = await firstMissing(outputs, dir);
  if (last === digest && missing === undefined) return false;

  context.onProgress?.(`running the build of the image "${name}"`);
  await run(name, hook, dir, context);
  const absent = await firstMissing(outputs, dir);
  if (absent !== undefined) {
    throw new ImageError(`Cannot use the build of the image "${name}"`, {
      expected: `it to make "${absent}"`,
      actual: "it succeeded, but the file is not there",
      next: "correct `build.run` or `build.outputs`",
    });
  }
  await writeFileAtomic(stamp, digest);
  return true;
}

async function run(
  name: string,
  hook: BuildHook,
  dir: string,
  context: BuildContext,
): Promise<void> {
  const { signal } = context;
  if (typeof hook.run === "function") return await hook.run({ dir, signal });
  const [program, ...args] = typeof hook.run === "string" ? ["sh", "-c", hook.run] : hook.run;
  const output = await runTool(program!, args, { cwd: dir, signal, timeoutMs: 3_600_000 });
  if (output.success) return;
  throw new ImageError(`Cannot build the image "${name}": its build ended with ${output.code}`, {
    actual: output.stderr.trim().split("\n").slice(-20).join("\n") || "no message",
    next: `run it by hand in "${dir}": ${[program, ...args].join(" ")}`,
  });
}

/** Hashes what a hook depends on: the hook itself and the names, modes and contents of its inputs. */
async function inputDigest(name: string, hook: BuildHook, dir: string): Promise<string> {
  const parts: unknown[] = [String(hook.run), hook.outputs ?? []];
  for (const input of hook.inputs) {
    const path = input.startsWith("/") ? input : `${dir}/${input}`;
    try {
      await addTree(path, parts);
    } catch (cause) {
      if (!(cause instanceof Deno.errors.NotFound)) throw cause;
      throw new ImageError(`Cannot build the image "${name}": an input is missing`, {
        cause,
        expected: `"${path}" to exist`,
        next: "correct `build.inputs`",
      });
    }
  }
  return await sha256(new TextEncoder().encode(JSON.stringify(parts)));
}

async function addTree(path: string, parts: unknown[]): Promise<void> {
  const info = await Deno.lstat(path);
  if (info.isSymlink) parts.push([path, await Deno.readLink(path)]);
  else if (info.isFile) parts.push([path, info.mode, await sha256(await Deno.readFile(path))]);
  if (!info.isDirectory) return;
  const entries = await Array.fromAsync(Deno.readDir(path));
  for (const entry of entries.map((entry) => entry.name).toSorted()) {
    await addTree(`${path}/${entry}`, parts);
  }
}

async function firstMissing(paths: readonly string[], dir: string): Promise<string | undefined> {
  for (const path of paths) {
    if (!await exists(path.startsWith("/") ? path : `${dir}/${path}`)) return path;
  }
  return undefined;
}
