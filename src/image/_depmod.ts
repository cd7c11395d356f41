import { removeTree } from "./_store.ts";
import { findProgram, runTool } from "./_tool.ts";
import type { KernelModule } from "./modules.ts";

/**
 * Makes the binary indexes by which libkmod, and so udev and systemd, find modules. The text files
 * that we write ourselves are enough for busybox alone.
 *
 * @returns Contents by file name; none where there is no depmod.
 * @throws {unknown} The reason of `signal`, if that aborts first.
 */
export async function moduleIndexes(
  modules: KernelModule[],
  builtin: string,
  release: string,
  options: { signal?: AbortSignal } = {},
): Promise<Map<string, Uint8Array>> {
  const result = new Map<string, Uint8Array>();
  const depmod = await findProgram("depmod");
  if (!depmod) return result;
  const dir = await Deno.makeTempDir({ prefix: "belljar-depmod-" });
  try {
    const root = `${dir}/lib/modules/${release}`;
    for (const { path, bytes } of modules) {
      await Deno.mkdir(`${root}/${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true });
      await Deno.writeFile(`${root}/${path}`, bytes);
    }
    await Deno.writeTextFile(`${root}/modules.builtin`, builtin);
    await Deno.writeTextFile(
      `${root}/modules.order`,
      modules.map(({ path }) => `${path}\n`).join(""),
    );
    const { success } = await runTool(depmod, ["-b", dir, release], options);
    if (!success) return result; // the guest can still load what it names by path
    for await (const { name } of Deno.readDir(root)) {
      if (/^modules\..*\.bin$/.test(name)) result.set(name, await Deno.readFile(`${root}/${name}`));
    }
    return result;
  } finally {
    await removeTree(dir);
  }
}
