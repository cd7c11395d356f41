import { bootFilesCpio, type Image, SECRET_PATH } from "../../image/mod.ts";
import type { MachineSpec } from "../types.ts";

/** Name by which a guest whose init is its own reads the secret from the firmware's configuration. */
export const SECRET_FIRMWARE_FILE = "opt/org.belljar/secret";

/** What is put into a machine's folder before it boots. */
export interface BootMedia {
  /** Initial RAM file system: the image's archives and ours. */
  initrd?: string;
  firmwareFiles: { name: string; path: string }[];
}

/**
 * Writes what a machine boots from into `dir`. Where the agent is process 1, secret and files come as a further archive
 * of the initial RAM file system; elsewhere the secret comes through the firmware.
 */
export async function writeBootMedia(
  dir: string,
  image: Image,
  secret: Uint8Array,
  files: MachineSpec["files"] = [],
): Promise<BootMedia> {
  if (!image.agentIsInit) {
    const path = `${dir}/secret`;
    await Deno.writeFile(path, secret, { mode: 0o600 });
    const initrd = image.initrds.length > 0 ? await concat(dir, image.initrds) : undefined;
    return { initrd, firmwareFiles: [{ name: SECRET_FIRMWARE_FILE, path }] };
  }
  const archive = bootFilesCpio([
    ...files,
    // Last, so that no file of the author's stands in its place.
    { path: SECRET_PATH, content: secret, mode: 0o600 },
  ]);
  return { initrd: await concat(dir, image.initrds, archive), firmwareFiles: [] };
}

/** QEMU takes one file; the kernel takes any number of archives in it, each at a multiple of four bytes. */
async function concat(dir: string, paths: string[], last?: Uint8Array): Promise<string> {
  const path = `${dir}/initrd`;
  using target = await Deno.open(path, { createNew: true, write: true, mode: 0o600 });
  let size = 0;
  const pad = async () => {
    const missing = (4 - size % 4) % 4;
    await writeAll(target, new Uint8Array(missing));
    size += missing;
  };
  for (const from of paths) {
    using source = await Deno.open(from);
    const buffer = new Uint8Array(1024 * 1024);
    for (let n = await source.read(buffer); n !== null; n = await source.read(buffer)) {
      await writeAll(target, buffer.subarray(0, n));
      size += n;
    }
    await pad();
  }
  if (last) await writeAll(target, last);
  return path;
}

async function writeAll(file: Deno.FsFile, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length;) at += await file.write(data.subarray(at));
}
