/** Reads a text file without its byte order mark; `undefined` when there is no such file. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    const text = await Deno.readTextFile(path);
    return text.startsWith("\uFEFF") ? text.slice(1) : text;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** Whether an error means that a path names no file: nothing, a folder, or something below a file. */
export function isAbsent(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.IsADirectory ||
    error instanceof Deno.errors.NotADirectory;
}
