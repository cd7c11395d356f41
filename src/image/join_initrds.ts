/** Where the kernel expects an archive that is not compressed: at a multiple of this many bytes. */
const ALIGNMENT = 4;
const CHUNK_BYTES = 256 * 1024;

/**
 * Writes the initial RAM file systems of a machine one after another to a new file, as QEMU takes
 * only one. Each starts where the kernel looks for it: behind a compressed archive of odd length it
 * would otherwise panic.
 *
 * @param target File to write; made anew with mode 0600, as boot files may hold secrets.
 * @param parts Paths of archives, or archives themselves.
 * @throws {unknown} The reason of `signal`, if that aborts first.
 */
export async function joinInitrds(
  target: string,
  parts: readonly (string | Uint8Array)[],
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const { signal } = options;
  using output = await Deno.open(target, {
    write: true,
    create: true,
    truncate: true,
    mode: 0o600,
  });
  let length = 0;
  const write = async (bytes: Uint8Array) => {
    signal?.throwIfAborted();
    for (let at = 0; at < bytes.length;) at += await output.write(bytes.subarray(at));
    length += bytes.length;
  };
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (const part of parts) {
    if (typeof part === "string") {
      using input = await Deno.open(part);
      for (;;) {
        const count = await input.read(buffer);
        if (count === null) break;
        await write(buffer.subarray(0, count));
      }
    } else {
      await write(part);
    }
    await write(new Uint8Array((ALIGNMENT - length % ALIGNMENT) % ALIGNMENT));
  }
}
