import { makeDir, sha256, writeFileAtomic } from "./_store.ts";
import type { BuildContext } from "./build_context.ts";

/**
 * Returns the SHA-256 of a file. Large ones are read once: what is known of them is kept by path and
 * believed while size, inode and times are the same.
 */
export async function fileDigest(path: string, context: BuildContext): Promise<string> {
  const { size, ino, mtime, ctime } = await Deno.stat(path);
  if (size < 1024 * 1024) return await sha256(await Deno.readFile(path));
  const state = JSON.stringify([path, size, ino, mtime, ctime]);
  const folder = `${context.cacheDir}/digests`;
  const memo = `${folder}/${(await sha256(new TextEncoder().encode(path))).slice(0, 16)}`;
  const known = await Deno.readTextFile(memo).catch(() => "");
  if (known.startsWith(`${state}\n`)) return known.slice(state.length + 1);
  const digest = await sha256(await Deno.readFile(path, { signal: context.signal }));
  await makeDir(folder);
  await writeFileAtomic(memo, `${state}\n${digest}`);
  return digest;
}
