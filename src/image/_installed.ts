import type { BuildContext } from "./build_context.ts";
import { findProgram, runTool } from "./_tool.ts";

/** Set for the program that is asked, which may itself be one that lacks the parts and would ask. */
const ASKED_VARIABLE = "BELLJAR_ASKED";

/**
 * Asks the `belljar` on PATH, by `belljar image path NAME`, for what it carries.
 *
 * @returns The path it prints: of the agent, or of an image's folder; nothing if there is none.
 * @throws {unknown} The reason of the context's signal, if that aborts first.
 */
export async function askInstalled(
  name: string,
  context: BuildContext,
): Promise<string | undefined> {
  if (Deno.env.get(ASKED_VARIABLE)) return undefined;
  const belljar = await findProgram("belljar");
  if (!belljar) return undefined;
  const output = await runTool(belljar, ["image", "path", name], {
    env: { [ASKED_VARIABLE]: "1", BELLJAR_CACHE_DIR: context.cacheDir },
    signal: context.signal,
  });
  const path = output.success ? new TextDecoder().decode(output.stdout).trim() : "";
  return path.startsWith("/") ? path : undefined;
}
