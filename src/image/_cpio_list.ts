import { type Compression, compressionOf, decompress } from "./_decompress.ts";

/** What is known of an entry without its content. */
export interface CpioListEntry {
  /** Path without leading slash. */
  path: string;
  type: "file" | "directory" | "symlink" | "other";
  /** Permission bits. */
  mode: number;
  /** What a symbolic link points at. */
  target?: string;
}

const HEADER_BYTES = 110;
const TYPES: Record<number, CpioListEntry["type"]> = {
  0o100000: "file",
  0o040000: "directory",
  0o120000: "symlink",
};

/**
 * Lists an initramfs the way the kernel reads it: archives one after another, padded with zeros,
 * the rest possibly compressed.
 *
 * @throws {SyntaxError} If it is not made of cpio archives.
 * @throws {ImageError} If it cannot be unpacked.
 */
export async function listCpio(
  archive: Uint8Array,
  options: { signal?: AbortSignal } = {},
): Promise<CpioListEntry[]> {
  const entries: CpioListEntry[] = [];
  let bytes = archive;
  for (;;) {
    const rest = listPlain(bytes, entries);
    if (rest === undefined) return entries;
    options.signal?.throwIfAborted();
    bytes = await decompress(bytes.subarray(rest.offset), rest.compression, {
      what: "an initramfs",
      signal: options.signal,
    });
  }
}

/** Lists up to the end, or to where compressed data begins. */
function listPlain(
  bytes: Uint8Array,
  entries: CpioListEntry[],
): { offset: number; compression: Compression } | undefined {
  const decoder = new TextDecoder();
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] === 0) {
      at += 1; // padding between archives
      continue;
    }
    const magic = decoder.decode(bytes.subarray(at, at + 6));
    if (magic !== "070701" && magic !== "070702") {
      const compression = compressionOf(bytes.subarray(at, at + 8));
      if (compression) return { offset: at, compression };
      throw new SyntaxError(`Cannot list the initramfs: no cpio archive goes on at byte ${at}`);
    }
    const field = (index: number) => {
      const start = at + 6 + index * 8;
      return Number.parseInt(decoder.decode(bytes.subarray(start, start + 8)), 16);
    };
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const nameEnd = at + HEADER_BYTES + nameSize;
    const dataStart = align4(nameEnd);
    const end = dataStart + size;
    if (!(end <= bytes.length)) { // also when a field is no number
      throw new SyntaxError(`Cannot list the initramfs: the entry at byte ${at} is cut off`);
    }
    const path = decoder.decode(bytes.subarray(at + HEADER_BYTES, nameEnd - 1));
    if (path !== "TRAILER!!!") {
      const type = TYPES[mode & 0o170000] ?? "other";
      entries.push({
        path: path.replace(/^(?:\.?\/)+/, "").replace(/\/+$/, ""),
        type,
        mode: mode & 0o7777,
        target: type === "symlink" ? decoder.decode(bytes.subarray(dataStart, end)) : undefined,
      });
    }
    at = align4(end);
  }
  return undefined;
}

function align4(offset: number): number {
  return Math.ceil(offset / 4) * 4;
}
