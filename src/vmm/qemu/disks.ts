import { HostError } from "../../errors.ts";
import { formatBytes } from "../../values/size.ts";
import type { DiskSpec } from "../types.ts";
import type { DiskPlan } from "./argv.ts";
import { qcow2Overlay, qcow2Size } from "./qcow2.ts";

/** Bytes of a serial number of virtio-blk. */
const MAX_ID = 20;

/** Makes the file of a disk, in the machine's folder unless it is the author's own. */
export async function prepareDisk(dir: string, disk: DiskSpec): Promise<DiskPlan> {
  const { id, source, readonly } = disk;
  checkId(id);
  if (source.kind === "scratch") {
    const path = `${dir}/${id}.raw`;
    using file = await Deno.open(path, { createNew: true, write: true, mode: 0o600 });
    await file.truncate(source.bytes);
    return { id, path, format: "raw", readonly };
  }
  const path = await existing(id, source.path);
  const format = source.format ?? await formatOf(path);
  if (source.kind === "path" || readonly) return { id, path, format, readonly };
  return { id, path: await makeOverlay(dir, id, { path, format }), format: "qcow2", readonly };
}

/** Makes a disk that reads from a file and keeps what is written to itself. */
export async function makeOverlay(
  dir: string,
  id: string,
  base: { path: string; format: "raw" | "qcow2" },
): Promise<string> {
  const overlay = `${dir}/${id}.qcow2`;
  const size = base.format === "raw"
    ? (await Deno.stat(base.path)).size
    : qcow2Size(await head(base.path));
  await Deno.writeFile(overlay, qcow2Overlay({ ...base, size }), { createNew: true, mode: 0o600 });
  return overlay;
}

function checkId(id: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(id) && id.length <= MAX_ID) return;
  throw new RangeError(
    `Cannot use ${
      JSON.stringify(id)
    } as id of a disk: expected 1 to ${MAX_ID} letters, digits, ".", "_" or "-"`,
  );
}

async function existing(id: string, path: string): Promise<string> {
  try {
    const real = await Deno.realPath(path);
    const { isFile, isBlockDevice, size } = await Deno.stat(real);
    if (isBlockDevice) return real;
    if (!isFile) throw unusable(id, path, "it is no file");
    if (size % 512 !== 0) throw unusable(id, path, `its ${formatBytes(size)} are no whole sectors`);
    return real;
  } catch (cause) {
    if (cause instanceof HostError) throw cause;
    throw unusable(id, path, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

async function formatOf(path: string): Promise<"raw" | "qcow2"> {
  const bytes = await head(path);
  return bytes.length >= 4 && new DataView(bytes.buffer).getUint32(0) === 0x514649fb
    ? "qcow2"
    : "raw";
}

async function head(path: string): Promise<Uint8Array<ArrayBuffer>> {
  using file = await Deno.open(path);
  const bytes = new Uint8Array(32);
  const n = await file.read(bytes);
  return bytes.slice(0, n ?? 0);
}

function unusable(id: string, path: string, actual: string, cause?: unknown): HostError {
  return new HostError(`Cannot use "${path}" as disk "${id}"`, {
    code: "DISK_UNREADABLE",
    expected: "a raw or qcow2 file that this user can read",
    actual,
    next: "make the file first: belljar never creates what `path` names",
    cause,
  });
}
