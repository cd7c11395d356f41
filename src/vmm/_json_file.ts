/** Reads a small file of the cache; one that is missing or damaged is as good as none. */
export async function readJson<T>(path: string): Promise<Partial<T> | undefined> {
  try {
    const value: unknown = JSON.parse(await Deno.readTextFile(path));
    return typeof value === "object" && value !== null ? value as Partial<T> : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Writes a file so that readers see all of it or none. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  const fresh = `${path}.${crypto.randomUUID().slice(0, 8)}`;
  await Deno.writeTextFile(fresh, `${JSON.stringify(value, undefined, 2)}\n`, { mode: 0o600 });
  await Deno.rename(fresh, path);
}
