/**
 * Prints the flags that make belljar's dependencies resolve on this machine, for use as
 * `deno test -A $(deno run -A -q --no-config --no-lock scripts/deps.ts)`.
 *
 * Where jsr.io can be reached, or its packages are in Deno's cache, nothing is needed and nothing is
 * printed. Elsewhere the import map and the lock in `scripts/fallback` take the same packages from npm.
 * `BELLJAR_DEPS=jsr|npm` decides without looking. `--test` adds the flags of `deno test` that turn on
 * the leak checks, which Deno 2.7 has on by default and refuses to be told.
 */

const PROBE_URL = "https://jsr.io/@std/assert/meta.json";
const PROBE_TIMEOUT_MS = 3_000;

type Source = "jsr" | "npm";

async function isCached(root: string): Promise<boolean> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "--no-run",
      "--no-check",
      "--cached-only",
      "--no-lock",
      "-q",
      "src/cli/mod.ts",
      "src/mod.ts",
    ],
    cwd: root,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).output();
  return success;
}

async function isReachable(): Promise<boolean> {
  try {
    const response = await fetch(PROBE_URL, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false; // whatever the reason, the packages cannot be fetched from there
  }
}

async function chooseSource(root: string): Promise<Source> {
  const asked = Deno.env.get("BELLJAR_DEPS");
  if (asked === "jsr" || asked === "npm") return asked;
  if (asked) {
    throw new RangeError(`Cannot use BELLJAR_DEPS="${asked}": expected "jsr" or "npm"`);
  }
  return await isCached(root) || await isReachable() ? "jsr" : "npm";
}

/** The path as the tasks use it: relative in the work tree, since the shell splits at blanks. */
function shown(root: string, path: string): string {
  return Deno.cwd() === root ? path : `${root}/${path}`;
}

function leakCheckFlags(version: string): string[] {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isOffByDefault = major > 2 || (major === 2 && minor >= 8);
  return isOffByDefault ? ["--sanitize-ops", "--sanitize-resources"] : [];
}

if (import.meta.main) {
  const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
  const flags = Deno.args.includes("--test") ? leakCheckFlags(Deno.version.deno) : [];
  if (await chooseSource(decodeURIComponent(root)) === "npm") {
    const folder = shown(decodeURIComponent(root), "scripts/fallback");
    flags.push(`--import-map=${folder}/import_map.json`, `--lock=${folder}/deno.lock`);
  }
  // deno-lint-ignore no-console -- its output is its result
  console.log(flags.join(" "));
}
