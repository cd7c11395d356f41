import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * Whether this process may use vsock. Deno ends the whole process when its unstable feature is used without having been
 * allowed, and tells nowhere whether it was: so this looks where it can have been.
 */
export function vsockAllowed(): Promise<boolean> {
  return known ??= find();
}

let known: Promise<boolean> | undefined;

async function find(): Promise<boolean> {
  // belljar is compiled with it.
  if (Deno.build.standalone) return true;
  const words = (await Deno.readTextFile("/proc/self/cmdline")).split("\0");
  return await allowsVsock(words, Deno.mainModule, Deno.cwd());
}

/** Whether the words of Deno's command line, or the configuration that it reads, allow vsock. */
export async function allowsVsock(
  words: readonly string[],
  mainModule: string,
  cwd: string,
): Promise<boolean> {
  if (words.some((word) => word === "--unstable-vsock" || word === "--unstable")) return true;
  const given = namedConfig(words);
  if (given !== undefined) return isAllowedBy(await textOf(join(cwd, given)) ?? "");
  if (words.includes("--no-config")) return false;
  const start = mainModule.startsWith("file:") ? dirname(fileURLToPath(mainModule)) : cwd;
  let nearest = true;
  for (let folder = start;; folder = dirname(folder)) {
    const text = await textOf(join(folder, "deno.json")) ??
      await textOf(join(folder, "deno.jsonc"));
    // Above the nearest one only the root of a workspace counts.
    if (text !== undefined && (nearest || /"workspace"\s*:/.test(text))) {
      if (isAllowedBy(text)) return true;
      nearest = false;
    }
    if (dirname(folder) === folder) return false;
  }
}

function namedConfig(words: readonly string[]): string | undefined {
  const at = words.findIndex((word) => word === "--config" || word === "-c");
  if (at >= 0) return words[at + 1];
  return words.find((word) => word.startsWith("--config="))?.slice("--config=".length);
}

function isAllowedBy(config: string): boolean {
  const plain = config.replace(
    /("(?:[^"\\]|\\.)*")|\/\/[^\n]*|\/\*[^]*?\*\//g,
    (_, string) => string ?? "",
  );
  const list = /"unstable"\s*:\s*\[([^\]]*)\]/.exec(plain)?.[1];
  return list?.includes('"vsock"') ?? false;
}

async function textOf(path: string): Promise<string | undefined> {
  return await Deno.readTextFile(path).catch(() => undefined); // not there, or not for us to read
}
