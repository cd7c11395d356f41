import { zstdDecompress } from "node:zlib";
import { promisify } from "node:util";
import { ImageError } from "../errors.ts";
import { decodeLz4Legacy, LZ4_LEGACY_MAGIC } from "./_lz4.ts";
import { runToolOk } from "./_tool.ts";

/** A compression that kernels and their modules come in. */
export type Compression = "gzip" | "xz" | "zstd" | "lz4-legacy" | "bzip2" | "lzma" | "lzo";

const MAGICS: readonly (readonly [Compression, readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["lz4-legacy", [0x02, 0x21, 0x4c, 0x18]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["lzma", [0x5d, 0x00, 0x00]],
  ["lzo", [0x89, 0x4c, 0x5a, 0x4f]],
];

/** Programs that unpack what cannot be unpacked here, reading standard input. */
const TOOLS: Partial<Record<Compression, readonly [string, ...string[]]>> = {
  xz: ["xz", "--decompress", "--stdout", "--single-stream"],
  lzma: ["xz", "--format=lzma", "--decompress", "--stdout"],
  bzip2: ["bzip2", "--decompress", "--stdout"],
  lzo: ["lzop", "--decompress", "--stdout"],
};

/** Names the compression by its first bytes. */
export function compressionOf(bytes: Uint8Array): Compression | undefined {
  return MAGICS.find(([, magic]) => magic.every((byte, i) => bytes[i] === byte))?.[0];
}

/**
 * Unpacks bytes of a known compression.
 *
 * @param options.what What is unpacked, for errors: `module "vsock.ko.xz"`.
 * @param options.size Size of the result; LZ4 legacy data needs it.
 * @throws {ImageError} If the data is damaged or the program that unpacks it is missing.
 */
export async function decompress(
  bytes: Uint8Array,
  compression: Compression,
  options: { what: string; size?: number; signal?: AbortSignal },
): Promise<Uint8Array> {
  const { what, size, signal } = options;
  const tool = TOOLS[compression];
  if (tool) {
    const [program, ...args] = tool;
    return await runToolOk(`unpack ${what}`, program, args, {
      stdin: bytes,
      signal,
      install: `install ${program} (Debian and Ubuntu: the package ${
        program === "xz" ? "xz-utils" : program
      })`,
    });
  }
  try {
    if (compression === "gzip") return await gunzip(bytes);
    // Not the Buffer itself: that compares and prints unlike other bytes.
    if (compression === "zstd") return new Uint8Array(await promisify(zstdDecompress)(bytes));
    return decodeLz4Legacy(bytes, size ?? lz4Size(bytes));
  } catch (cause) {
    throw new ImageError(`Cannot unpack ${what}: its ${compression} data is damaged`, { cause });
  }
}

async function gunzip(bytes: Uint8Array): Promise<Uint8Array> {
  const input = ReadableStream.from([bytes as Uint8Array<ArrayBuffer>]);
  return await new Response(input.pipeThrough(new DecompressionStream("gzip"))).bytes();
}

function lz4Size(bytes: Uint8Array): never {
  throw new SyntaxError(
    `Cannot decode LZ4 data of ${bytes.length} bytes (magic ${
      LZ4_LEGACY_MAGIC.toString(16)
    }): its size is unknown`,
  );
}
