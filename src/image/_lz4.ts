/** First bytes of the LZ4 "legacy" frame that the kernel's build uses, as a little-endian u32. */
export const LZ4_LEGACY_MAGIC = 0x184c2102;

/**
 * Decodes an LZ4 legacy frame: the magic, then blocks that each follow their compressed length.
 *
 * @param frame The frame alone: a length after it would be read as one more block.
 * @param size Bytes that the result has.
 * @throws {SyntaxError} If the frame is damaged, or decodes to another size.
 */
export function decodeLz4Legacy(frame: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 4 || view.getUint32(0, true) !== LZ4_LEGACY_MAGIC) {
    throw new SyntaxError("Cannot decode LZ4 data: the legacy magic is missing");
  }
  const output = new Uint8Array(size);
  let read = 4;
  let written = 0;
  while (read + 4 <= frame.length) {
    const length = view.getUint32(read, true);
    read += 4;
    if (length > frame.length - read) {
      throw new SyntaxError(
        `Cannot decode LZ4 data: a block of ${length} bytes starts at ${read} of ${frame.length}`,
      );
    }
    written = decodeBlock(frame.subarray(read, read + length), output, written);
    read += length;
  }
  if (written !== size) {
    throw new SyntaxError(`Cannot decode LZ4 data: got ${written} bytes, expected ${size}`);
  }
  return output;
}

/** Decodes one block to `output` from `start` on and returns where it ended. */
function decodeBlock(block: Uint8Array, output: Uint8Array, start: number): number {
  const end = block.length;
  let read = 0;
  let write = start;
  const damaged = (what: string) =>
    new SyntaxError(`Cannot decode LZ4 data: ${what} at byte ${read} of a block of ${end}`);
  // A length nibble of 15 goes on in further bytes, each but the last being 255.
  const extend = (length: number): number => {
    let byte: number | undefined;
    do {
      byte = block[read++];
      if (byte === undefined) throw damaged("a length is cut off");
      length += byte;
    } while (byte === 255);
    return length;
  };

  while (read < end) {
    const token = block[read++]!;
    let literals = token >> 4;
    if (literals === 15) literals = extend(literals);
    if (literals > end - read) throw damaged("literals are cut off");
    if (literals > output.length - write) throw damaged("the output is too long");
    output.set(block.subarray(read, read + literals), write);
    read += literals;
    write += literals;
    if (read === end) break; // A block's last sequence has no match.

    if (end - read < 2) throw damaged("an offset is cut off");
    const offset = block[read]! | (block[read + 1]! << 8);
    read += 2;
    let length = token & 15;
    if (length === 15) length = extend(length);
    length += 4;
    if (offset === 0 || offset > write) throw damaged(`the offset ${offset} points nowhere`);
    if (length > output.length - write) throw damaged("the output is too long");
    if (offset >= length) {
      output.copyWithin(write, write - offset, write - offset + length);
      write += length;
    } else {
      // Source and target overlap: each copied byte may be read again.
      for (let from = write - offset; length > 0; length--) output[write++] = output[from++]!;
    }
  }
  return write;
}
