import { ensureOwnedDir } from "./owned_dir.ts";

/**
 * Returns the folder for what outlives a run: images, templates, the agent binary, verdicts about the host. It exists, and
 * only this user can enter it.
 *
 * `BELLJAR_CACHE_DIR` wins, then `XDG_CACHE_HOME`, then `~/.cache`; without a home it is a folder under the temporary one.
 */
export async function cacheDir(): Promise<string> {
  const path = cachePath({
    env: (name) => Deno.env.get(name),
    uid: Deno.uid() ?? 0,
  });
  await ensureOwnedDir(path);
  return path;
}

/** Where the cache is, as a function of the environment alone. */
export function cachePath(
  host: { env: (name: string) => string | undefined; uid: number },
): string {
  const absolute = (name: string) => {
    const value = host.env(name);
    return value?.startsWith("/") ? value.replace(/\/+$/, "") || undefined : undefined;
  };
  const own = absolute("BELLJAR_CACHE_DIR");
  if (own) return own;
  const xdg = absolute("XDG_CACHE_HOME");
  if (xdg) return `${xdg}/belljar`;
  const home = absolute("HOME");
  if (home) return `${home}/.cache/belljar`;
  return `${absolute("TMPDIR") ?? "/tmp"}/belljar-cache-${host.uid}`;
}
