import { archivePath } from "./_cpio.ts";

/**
 * What an initramfs has at the paths of folders, so that archives which are added to it leave them
 * alone: the kernel replaces a link by a folder of the same path, and resets the mode of a folder.
 */
export interface ImageLayout {
  /** Paths of folders, without leading slash. */
  folders: string[];
  /** Symbolic links by path. */
  links: Record<string, string>;
  /** Folder of the initramfs from which process 1 copies files to the real root file system. */
  prefix?: string;
}

const MAX_LINKS = 40;

/** Collects the folders and links of an initramfs; of entries with the same path the last counts. */
export function layoutOf(
  entries: Iterable<{ type: string; path: string; target?: string }>,
): ImageLayout {
  const last = new Map<string, { type: string; target?: string }>();
  for (const entry of entries) last.set(entry.path.replace(/^\/+/, ""), entry);
  const folders: string[] = [];
  const links: Record<string, string> = Object.create(null);
  for (const [path, entry] of last) {
    if (entry.type === "directory" && path !== "") folders.push(path);
    if (entry.type === "symlink" && entry.target !== undefined) links[path] = entry.target;
  }
  return { folders, links };
}

/**
 * Follows the links in the folders of a path: with `lib` linked to `usr/lib`, `lib/modules/x`
 * becomes `usr/lib/modules/x`.
 *
 * @param options.last Follow a link at the path itself too, as for a folder; a file replaces it.
 * @throws {TypeError} If links lead in a circle.
 */
export function realPath(
  path: string,
  layout: ImageLayout,
  options: { last?: boolean } = {},
): string {
  const todo = archivePath(path).split("/");
  let done: string[] = [];
  for (let links = 0; todo.length > 0;) {
    const part = todo.shift()!;
    if (part === "..") {
      done.pop();
      continue;
    }
    done.push(part);
    const here = done.join("/");
    if (todo.length === 0 && !options.last) continue;
    if (!Object.hasOwn(layout.links, here)) continue;
    if (++links > MAX_LINKS) throw new TypeError(`Cannot add "${path}": links lead in a circle`);
    const target = layout.links[here]!;
    done = target.startsWith("/") ? [] : done.slice(0, -1);
    todo.unshift(...target.split("/").filter((name) => name !== "" && name !== "."));
  }
  return done.join("/");
}
