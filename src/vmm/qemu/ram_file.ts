import { HostError } from "../../errors.ts";
import { freeSpace } from "../../host/mod.ts";
import { hex } from "../_hash.ts";

const PAGE = 4096;
const SAMPLES = 256;
/** Left free for others. */
const MARGIN = 64 * 1024 * 1024;

/**
 * Makes a file for a guest's memory with its blocks reserved: a file system that fills up while a guest runs would end
 * QEMU by SIGBUS.
 *
 * @throws {HostError} If there is no room for it.
 */
export async function makeRamFile(path: string, bytes: number): Promise<void> {
  const dir = path.slice(0, path.lastIndexOf("/"));
  const { freeBytes } = await freeSpace(dir);
  if (freeBytes < bytes + MARGIN) throw noRoom(path, bytes, `${mib(freeBytes)} are free`);
  using file = await Deno.open(path, { createNew: true, write: true, mode: 0o600 });
  await file.truncate(bytes);
  const reserved = await reserve(path, bytes);
  if (reserved !== undefined) throw noRoom(path, bytes, reserved);
}

/** Reserves blocks by fallocate(1); where it is missing or the file system cannot, the check of free space has to do. */
async function reserve(path: string, bytes: number): Promise<string | undefined> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command("fallocate", {
      args: ["--length", String(bytes), path],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      env: { LC_ALL: "C" },
    }).output();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const text = new TextDecoder().decode(output.stderr).trim();
  return !output.success && /No space left|quota/i.test(text) ? text : undefined;
}

/** A digest of pages spread over the file: finds a file that was cut, swapped or written to without reading all of it. */
export async function sampleDigest(path: string): Promise<{ size: number; sample: string }> {
  using file = await Deno.open(path);
  const { size } = await file.stat();
  const pages = Math.floor(size / PAGE);
  const count = Math.min(SAMPLES, pages);
  const bytes = new Uint8Array(count * PAGE);
  for (let i = 0; i < count; i++) {
    await file.seek(Math.floor(i * pages / count) * PAGE, Deno.SeekMode.Start);
    const page = bytes.subarray(i * PAGE, (i + 1) * PAGE);
    for (let at = 0; at < PAGE;) {
      const n = await file.read(page.subarray(at));
      if (n === null) break; // cut off meanwhile: the digest differs
      at += n;
    }
  }
  return { size, sample: hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))) };
}

function noRoom(path: string, bytes: number, actual: string): HostError {
  return new HostError(`Cannot reserve ${mib(bytes)} for a machine's memory at "${path}"`, {
    code: "NO_ROOM",
    actual,
    next: "free space there, set BELLJAR_CACHE_DIR to a larger disk, or run belljar clean",
  });
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MiB`;
}
