import { ImageError } from "../errors.ts";
import type { Owner } from "./_ext4.ts";
import { fileDigest } from "./_file_digest.ts";
import { sha256 } from "./_store.ts";
import { runToolOk } from "./_tool.ts";
import type { BuildContext } from "./build_context.ts";

/** The tree of a root file system, ready to be put on a disk. */
export interface RootTree {
  folder: string;
  owners: Map<string, Owner>;
}

/**
 * Returns a digest of a root file system: of a tar archive's content, or of the names, sizes, modes,
 * owners and times of a folder's files.
 *
 * @throws {ImageError} If there is no such file or folder.
 */
export async function rootDigest(
  name: string,
  rootfs: string,
  context: BuildContext,
): Promise<string> {
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(rootfs);
  } catch (cause) {
    throw new ImageError(`Cannot read the root file system "${rootfs}" of the image "${name}"`, {
      cause,
      expected: "a folder or a tar archive",
      actual: cause instanceof Error ? cause.message : String(cause),
      next: "correct `rootfs` in belljar.config.ts, or add a `build` that makes it",
    });
  }
  if (info.isFile) return await fileDigest(rootfs, context);
  const format = "%P\\0%s\\0%T@\\0%C@\\0%m\\0%U\\0%G\\0%l\\n";
  const listing = await runToolOk(`list "${rootfs}"`, "find", [rootfs, "-printf", format], {
    signal: context.signal,
  });
  const lines = new TextDecoder("latin1").decode(listing).split("\n").toSorted();
  return await sha256(new TextEncoder().encode(lines.join("\n")));
}

/** Provides the tree of a root file system: the folder itself, or what a tar archive unpacks to. */
export async function rootTree(
  rootfs: string,
  tmp: string,
  context: BuildContext,
): Promise<RootTree> {
  if ((await Deno.stat(rootfs)).isDirectory) {
    return { folder: rootfs, owners: await ownersOfFolder(rootfs, context) };
  }
  context.onProgress?.(`unpacking "${rootfs}"`);
  await Deno.mkdir(tmp, { mode: 0o755 });
  await runToolOk(`unpack "${rootfs}"`, "tar", [
    ...["--extract", "--preserve-permissions", "--numeric-owner", "--file", rootfs],
    // Devices need root, and the kernel provides them.
    ...["--directory", tmp, "--exclude=./dev/*", "--exclude=dev/*"],
  ], { signal: context.signal, next: "check that it is a whole tar archive" });
  return { folder: tmp, owners: await ownersOfTar(rootfs, context) };
}

/** Without root, what belongs to this user stands for what belongs to root. */
async function ownersOfFolder(folder: string, context: BuildContext): Promise<Map<string, Owner>> {
  const uid = Deno.uid() ?? 0;
  const gid = Deno.gid() ?? 0;
  if (uid === 0) return new Map();
  const output = await runToolOk(`list "${folder}"`, "find", [
    folder,
    "-mindepth",
    "1",
    "-printf",
    "%U %G /%P\\0",
  ], { signal: context.signal });
  const owners = new Map<string, Owner>();
  for (const line of new TextDecoder().decode(output).split("\0").filter((line) => line !== "")) {
    const [, user, group, path] = /^(\d+) (\d+) (.*)$/s.exec(line)!;
    const owner = {
      uid: Number(user) === uid ? 0 : Number(user),
      gid: Number(group) === gid ? 0 : Number(group),
    };
    if (owner.uid !== Number(user) || owner.gid !== Number(group)) owners.set(path!, owner);
  }
  return owners;
}

/** Without root, unpacked files belong to this user; the archive knows whose they should be. */
async function ownersOfTar(archive: string, context: BuildContext): Promise<Map<string, Owner>> {
  if (Deno.uid() === 0) return new Map();
  const output = await runToolOk(`list "${archive}"`, "tar", [
    ...["--list", "--verbose", "--numeric-owner", "--quoting-style=literal", "--file", archive],
    ...["--exclude=./dev/*", "--exclude=dev/*"],
  ], { signal: context.signal });
  return parseTarOwners(new TextDecoder().decode(output));
}

/** Reads owners from what `tar --list --verbose --numeric-owner` prints. */
export function parseTarOwners(listing: string): Map<string, Owner> {
  const owners = new Map<string, Owner>();
  for (const line of listing.split("\n")) {
    const match = /^(\S)\S+\s+(\d+)\/(\d+)\s+\S+\s+\S+\s+\S+ (.*)$/.exec(line);
    if (!match) continue;
    const [, type, uid, gid, rest] = match;
    let name = rest!;
    if (type === "l") name = name.slice(0, name.indexOf(" -> "));
    if (type === "h") continue; // shares the inode of the entry that it links to
    name = name.replace(/^\.?\/+/, "").replace(/\/+$/, "");
    if (name !== "" && name !== ".") owners.set(`/${name}`, { uid: Number(uid), gid: Number(gid) });
  }
  return owners;
}
