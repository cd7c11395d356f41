import { dirname, join } from "node:path";

/** A temporary folder with files in it, removed at the end of its block. */
export interface Folder extends AsyncDisposable {
  path: string;
  /** The absolute path of one of its files. */
  at(name: string): string;
}

/** Makes a folder with the given files; their folders are made too. */
export async function makeFolder(files: Record<string, string> = {}): Promise<Folder> {
  const path = await Deno.makeTempDir({ prefix: "bj-staging-" });
  for (const [name, text] of Object.entries(files)) {
    await Deno.mkdir(dirname(join(path, name)), { recursive: true });
    await Deno.writeTextFile(join(path, name), text);
  }
  return {
    path,
    at: (name) => join(path, name),
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}
