import { join } from "node:path";
import { cacheDir } from "../host/mod.ts";

/** Where the compiled program stages the configuration; elsewhere the runtime reads it itself. */
export async function stageForConfig(): Promise<{ stage?: { dir: string; cacheDir: string } }> {
  if (!Deno.build.standalone) return {};
  const cache = await cacheDir();
  return { stage: { dir: join(cache, "config-stage"), cacheDir: join(cache, "stage") } };
}
