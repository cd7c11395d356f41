/** Reads exactly `length` bytes. */
export async function readAll(
  conn: { read(buffer: Uint8Array): Promise<number | null> },
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const n = await conn.read(bytes.subarray(at));
    if (n === null) throw new Deno.errors.UnexpectedEof(`${at} of ${length} bytes came`);
    at += n;
  }
  return bytes;
}

/** Writes all of it. */
export async function writeAll(
  conn: { write(data: Uint8Array): Promise<number> },
  data: Uint8Array,
): Promise<void> {
  for (let at = 0; at < data.length;) at += await conn.write(data.subarray(at));
}
