/** Copying files and trees between host and guest. @module */
import { HostError } from "../errors.ts";
import { toBytes, toText } from "../wire/mod.ts";
import { ask, linkOf } from "./_link.ts";
import { hostFile, hostLink, HostTarget, walkHost } from "./_host_tree.ts";
import { fetchFileTo, sendFile } from "./_transfer.ts";
import type { FileOperations } from "./operations_files.ts";
import { type GuestPath, joinBytes, pathBytes, shownPath } from "./paths.ts";
import type { FileStat } from "./stat.ts";

/** Files that are copied at the same time. */
const PARALLEL = 4;

/** Copies a file or tree of the host into the guest. */
export async function copyIn(
  target: FileOperations,
  host: string | URL,
  guest: GuestPath,
  signal?: AbortSignal,
): Promise<void> {
  const to = pathBytes(guest, "copyIn()");
  const from = hostPath(host, "copyIn()");
  const files: { from: Uint8Array; to: Uint8Array; mode: number }[] = [];
  const folders: { to: Uint8Array; mode: number }[] = [];
  await walkHost(from, async (entry) => {
    signal?.throwIfAborted();
    const path = entry.relative.length === 0 ? to : joinBytes(to, entry.relative);
    if (entry.type === "directory") {
      // Writable until its content is there, whatever its mode is in the end.
      await target.mkdir(path, { recursive: true, mode: 0o700, signal });
      folders.push({ to: path, mode: entry.mode });
    } else if (entry.type === "symlink") {
      await target.remove(path, { signal }).catch(ifAbsent);
      await target.symlink(hostLink(entry.path), path, { signal });
    } else if (entry.type === "file") {
      files.push({ from: entry.path, to: path, mode: entry.mode });
    } else {
      throw new HostError(`Cannot copy ${shownPath(entry.path)} into the guest`, {
        expected: "a file, a folder or a symbolic link",
        actual: `it is a ${entry.type}`,
      });
    }
  });
  await inParallel(files, async (file) => {
    const { link, text } = { link: linkOf(target), text: `copyIn(${shownPath(file.to)})` };
    const mode = { mode: file.mode & 0o777 };
    await sendFile(link, { path: file.to, text, signal }, hostFile(file.from), mode);
    await target.chmod(file.to, file.mode, { signal }); // The umask, and files that were there.
  });
  for (const folder of folders.reverse()) await target.chmod(folder.to, folder.mode, { signal });
}

/** Copies a file or tree of the guest to the host, and writes nothing outside of `host`. */
export async function copyOut(
  source: FileOperations,
  guest: GuestPath,
  host: string | URL,
  signal?: AbortSignal,
): Promise<void> {
  const from = pathBytes(guest, "copyOut()");
  const to = hostPath(host, "copyOut()");
  const root = await source.lstat(from, { signal });
  const top = root.isSymlink ? await source.stat(from, { signal }) : root;
  await using tree = HostTarget.open(to, top.isDirectory);
  const files: { from: Uint8Array; relative: Uint8Array; mode: number }[] = [];
  const folders: { relative: Uint8Array; mode: number }[] = [];
  const visit = async (path: Uint8Array, relative: Uint8Array, stat: FileStat): Promise<void> => {
    signal?.throwIfAborted();
    if (stat.isFile) {
      files.push({ from: path, relative, mode: stat.mode });
    } else if (stat.isSymlink) {
      const text = `readLink(${shownPath(path)})`;
      const { to } = await ask(linkOf(source), "readLink", { path }, { text, signal });
      tree.symlink(relative, to);
    } else if (stat.isDirectory) {
      if (relative.length > 0) tree.mkdir(relative);
      folders.push({ relative, mode: stat.mode });
      for (const entry of await source.readDir(path, { signal })) {
        checkName(entry.nameBytes, path);
        const inner = joinBytes(path, entry.nameBytes);
        const name = relative.length === 0 ? entry.nameBytes : joinBytes(relative, entry.nameBytes);
        await visit(inner, name, await source.lstat(inner, { signal }));
      }
    } else {
      throw new HostError(`Cannot copy ${shownPath(path)} out of the guest`, {
        expected: "a file, a folder or a symbolic link",
        actual: `it is a ${stat.type}`,
      });
    }
  };
  await visit(from, new Uint8Array(0), top);
  await inParallel(files, async (file) => {
    await using sink = tree.create(file.relative, file.mode & 0o777);
    const text = `copyOut(${shownPath(file.from)})`;
    await fetchFileTo(
      linkOf(source),
      { path: file.from, text, signal },
      (data) => sink.write(data),
    );
  });
  for (const folder of folders.reverse()) tree.chmod(folder.relative, folder.mode & 0o777);
}

/** The guest is not trusted: a name that is a path would lead out of the target. */
function checkName(name: Uint8Array, folder: Uint8Array): void {
  const text = toText(name);
  const bad = name.length === 0 || text === "." || text === ".." || name.includes(0x2f) ||
    name.includes(0);
  if (!bad) return;
  throw new HostError(`Cannot copy folder ${shownPath(folder)} out of the guest`, {
    expected: "names of one component",
    actual: `it says that it holds ${shownPath(name)}`,
    next: "take this guest for hostile",
  });
}

function hostPath(path: string | URL, call: string): Uint8Array {
  if (path instanceof URL) {
    if (path.protocol !== "file:") {
      throw new TypeError(`The host path of ${call} must be a file: URL, got ${path.protocol}`);
    }
    return toBytes(decodeURIComponent(path.pathname));
  }
  return pathBytes(path, call);
}

function ifAbsent(error: unknown): void {
  if ((error as { errno?: string }).errno !== "ENOENT") throw error;
}

/** Works on a list with a few workers; the first failure ends it, and no item is left running. */
async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>) {
  let next = 0;
  let failed = false;
  const run = async () => {
    while (!failed && next < items.length) {
      try {
        await work(items[next++]!);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: PARALLEL }, run));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
