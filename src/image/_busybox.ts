import { ImageError } from "../errors.ts";
import { Elf } from "./_elf.ts";
import { findPackage, packageOfFile, unpackPackage } from "./_debian_package.ts";
import { publish, sha256 } from "./_store.ts";
import { runToolOk } from "./_tool.ts";
import type { BuildContext } from "./build_context.ts";
import type { ImagePart } from "./image.ts";

/** A static busybox and what it can be called as. */
export interface Busybox {
  path: string;
  bytes: Uint8Array;
  digest: string;
}

/** Describes where a busybox is from. */
export async function busyboxPart(busybox: Busybox, context: BuildContext): Promise<ImagePart> {
  const owner = busybox.path.startsWith(context.cacheDir)
    ? JSON.parse(await Deno.readTextFile(busybox.path.replace(/busybox$/, RECORD)))
    : await packageOfFile(busybox.path, context);
  return { name: "busybox", ...owner ?? { origin: busybox.path } };
}

/** Where distributions put a busybox, static or not. */
const PATHS = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static", "/sbin/busybox"];
const PACKAGES = ["busybox-static"];
/** File beside a fetched busybox that tells its package. */
const RECORD = "package.json";

/**
 * Finds a static busybox of the host, or unpacks the distribution's without root.
 *
 * @throws {ImageError} If there is none and none can be fetched.
 */
export async function findBusybox(context: BuildContext): Promise<Busybox> {
  const cached = `${context.cacheDir}/busybox-${context.arch}`;
  for (const path of [...PATHS, `${cached}/busybox`]) {
    const bytes = await Deno.readFile(path).catch(() => undefined);
    if (bytes && isStatic(bytes, context.arch)) return { path, bytes, digest: await sha256(bytes) };
  }
  await publish(cached, (tmp) => fetchBusybox(tmp, context), { signal: context.signal });
  const path = `${cached}/busybox`;
  const bytes = await Deno.readFile(path);
  return { path, bytes, digest: await sha256(bytes) };
}

/**
 * Lists the paths under which a busybox wants to be called, without leading slash: `bin/sh`.
 *
 * @throws {ImageError} If it cannot be run.
 */
export async function busyboxApplets(
  busybox: Busybox,
  options: { signal?: AbortSignal } = {},
): Promise<string[]> {
  const output = await runToolOk("list the applets of busybox", busybox.path, ["--list-full"], {
    signal: options.signal,
    timeoutMs: 30_000,
  });
  return new TextDecoder().decode(output).split("\n").filter((line) => line !== "");
}

function isStatic(bytes: Uint8Array, arch: string): boolean {
  try {
    const elf = new Elf(bytes);
    return elf.arch === arch && !elf.isDynamic;
  } catch {
    return false; // a script or something else by that name
  }
}

async function fetchBusybox(tmp: string, context: BuildContext): Promise<void> {
  context.onProgress?.("fetching busybox");
  const found = await findPackage(PACKAGES, { signal: context.signal });
  if ("reason" in found) {
    throw new ImageError("Cannot find a static busybox", {
      expected: `one of ${PATHS.join(", ")}, or the package busybox-static`,
      actual: found.reason,
      next: `install busybox-static; ${found.next}`,
    });
  }
  const root = `${tmp}/root`;
  await unpackPackage(found, root, { signal: context.signal });
  for (const path of PATHS) {
    const bytes = await Deno.readFile(root + path).catch(() => undefined);
    if (!bytes || !isStatic(bytes, context.arch)) continue;
    await Deno.writeFile(`${tmp}/busybox`, bytes, { mode: 0o755 });
    await Deno.remove(root, { recursive: true });
    const part = { origin: `${found.name} ${found.version}`, source: found.source };
    await Deno.writeTextFile(`${tmp}/${RECORD}`, JSON.stringify(part));
    return;
  }
  throw new ImageError(`Cannot find a static busybox in ${found.name} ${found.version}`);
}
