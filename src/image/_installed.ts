import type { BuildContext } from "./build_context.ts";
import { exists } from "./_store.ts";
import { findProgram, runTool } from "./_tool.ts";
import type { Image } from "./image.ts";

/** Set for the program that is asked, which may itself be one that lacks the parts and would ask. */
const ASKED_VARIABLE = "BELLJAR_ASKED";

/**
 * Asks the `belljar` on PATH for its agent, by `belljar image path agent`.
 *
 * @returns The path it prints; nothing if there is none.
 * @throws {unknown} The reason of the context's signal, if that aborts first.
 */
export async function installedAgent(context: BuildContext): Promise<string | undefined> {
  if (context.arch !== Deno.build.arch) return undefined;
  const path = await ask(["image", "path", "agent"], context);
  return path?.startsWith("/") && await exists(path) ? path : undefined;
}

/**
 * Asks the `belljar` on PATH for its image `tiny`, by `belljar image path tiny --json`.
 *
 * @returns The image, if it has one.
 * @throws {unknown} The reason of the context's signal, if that aborts first.
 */
export async function installedTiny(context: BuildContext): Promise<Image | undefined> {
  const text = await ask(["image", "path", "tiny", "--json"], context);
  if (text === undefined) return undefined;
  try {
    const { v, ...image }: Image & { v: number } = JSON.parse(text);
    const files = [image.kernel ?? "", ...image.initrds];
    const found = await Promise.all(files.map(exists));
    return v === 1 && image.arch === context.arch && found.every(Boolean) ? image : undefined;
  } catch {
    return undefined; // a program of another version, which has its own words
  }
}

async function ask(args: string[], context: BuildContext): Promise<string | undefined> {
  if (Deno.env.get(ASKED_VARIABLE)) return undefined;
  const belljar = await findProgram("belljar");
  if (!belljar) return undefined;
  const output = await runTool(belljar, args, {
    env: { [ASKED_VARIABLE]: "1", BELLJAR_CACHE_DIR: context.cacheDir },
    signal: context.signal,
  });
  return output.success ? new TextDecoder().decode(output.stdout).trim() : undefined;
}
