/** Name of the hidden command that runs one file. */
export const CHILD_COMMAND = "__file";

/** Flags of `deno run` that concern the parent alone. */
const OWN_FLAGS = /^--(watch|inspect|coverage|cpu-prof|hmr|check|reload|no-clear-screen)/;

/**
 * The command that starts this program again: of a compiled binary itself, else `deno run` with the same flags, so that the
 * child has the parent's configuration, import map, lock and permissions.
 */
export async function selfCommand(): Promise<string[]> {
  const program = Deno.execPath();
  if (Deno.build.standalone) return [program];
  const text = await Deno.readTextFile("/proc/self/cmdline");
  const words = text.split("\0").slice(1, -1);
  return [program, ...runFlags(words, Deno.mainModule)];
}

/** The words of `deno run` up to its script, without what concerns the parent alone. */
export function runFlags(words: readonly string[], mainModule: string): string[] {
  const at = words.findIndex((word) => !word.startsWith("-") && isScript(word, mainModule));
  const before = at < 0 ? [] : words.slice(0, at).filter((word) => !OWN_FLAGS.test(word));
  const flags = before.filter((word) => word !== "run");
  if (at < 0) flags.push("-A");
  return ["run", "-q", ...flags.filter((word) => word !== "-q" && word !== "--quiet"), mainModule];
}

function isScript(word: string, mainModule: string): boolean {
  if (word === mainModule) return true;
  if (!mainModule.startsWith("file://")) return false;
  const path = decodeURIComponent(new URL(mainModule).pathname);
  return path === word ||
    (/\.[cm]?[jt]sx?$/.test(word) && path.endsWith(`/${word.replace(/^(\.\.?\/)+/, "")}`));
}
