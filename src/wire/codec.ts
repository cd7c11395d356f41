import { decode, encode } from "@std/msgpack";
import { LIMITS } from "./messages.ts";
import { WireFormatError } from "./schema.ts";

/** Encodes a map; keys without a value are left out. */
export function encodeMap(value: Record<string, unknown>): Uint8Array<ArrayBuffer> {
  const own = Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined));
  return encode(own as Parameters<typeof encode>[0]) as Uint8Array<ArrayBuffer>;
}

/**
 * Decodes one MessagePack value that comes from a peer that is not trusted.
 *
 * @throws {WireFormatError} If it is malformed, nested too deeply, or followed by further bytes.
 */
export function decodeValue(payload: Uint8Array): unknown {
  const end = measureValue(payload, 0);
  if (end !== payload.length) {
    throw new WireFormatError(`${payload.length - end} bytes after a MessagePack value`);
  }
  try {
    // A copy: decoded byte strings are views, and the frame's buffer is used again.
    return decode(payload.slice());
  } catch (cause) {
    throw new WireFormatError(`malformed MessagePack: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Finds the end of the value that begins at `start`, without recursion: the decoder proper has no limit of depth and
 * trusts lengths. Returns -1 where `partial` allows a value that is not complete yet.
 */
export function measureValue(bytes: Uint8Array, start: number, partial = false): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** Values that are still due, per level. */
  const due: number[] = [1];
  let at = start;
  while (due.length > 0) {
    const level = due.length - 1;
    if (due[level] === 0) {
      due.pop();
      continue;
    }
    due[level]!--;
    if (at >= bytes.length) return short(partial);
    const item = measureHead(view, bytes[at]!, at);
    if (item === undefined) return short(partial);
    at = item.next;
    if (at > bytes.length) return short(partial);
    if (item.children > 0) {
      if (due.length >= LIMITS.MAX_DEPTH) {
        throw new WireFormatError(`MessagePack value nested deeper than ${LIMITS.MAX_DEPTH}`);
      }
      if (!partial && item.children > bytes.length - at) return short(false);
      due.push(item.children);
    }
  }
  return at;
}

function short(partial: boolean): number {
  if (partial) return -1;
  throw new WireFormatError("MessagePack value ends early");
}

/** One value's own bytes, as in the MessagePack specification's table of formats. */
function measureHead(
  view: DataView,
  head: number,
  at: number,
): { next: number; children: number } | undefined {
  const leaf = (size: number) => ({ next: at + 1 + size, children: 0 });
  const sized = (width: 1 | 2 | 4, extra = 0) => {
    if (at + 1 + width > view.byteLength) return undefined;
    return leaf(width + extra + lengthAt(view, at + 1, width));
  };
  const nested = (width: 2 | 4, factor: 1 | 2) => {
    if (at + 1 + width > view.byteLength) return undefined;
    return { next: at + 1 + width, children: lengthAt(view, at + 1, width) * factor };
  };
  if (head <= 0x7f || head >= 0xe0) return leaf(0);
  if (head <= 0x8f) return { next: at + 1, children: (head & 0x0f) * 2 };
  if (head <= 0x9f) return { next: at + 1, children: head & 0x0f };
  if (head <= 0xbf) return leaf(head & 0x1f);
  switch (head) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return leaf(0);
    case 0xc4:
    case 0xd9:
      return sized(1);
    case 0xc5:
    case 0xda:
      return sized(2);
    case 0xc6:
    case 0xdb:
      return sized(4);
    case 0xcc:
    case 0xd0:
      return leaf(1);
    case 0xcd:
    case 0xd1:
      return leaf(2);
    case 0xca:
    case 0xce:
    case 0xd2:
      return leaf(4);
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return leaf(8);
    case 0xdc:
      return nested(2, 1);
    case 0xdd:
      return nested(4, 1);
    case 0xde:
      return nested(2, 2);
    case 0xdf:
      return nested(4, 2);
    default:
      // Extensions and the unused 0xc1: belljar sends none.
      throw new WireFormatError(`MessagePack type 0x${head.toString(16)} is not used here`);
  }
}

function lengthAt(view: DataView, at: number, width: 1 | 2 | 4): number {
  return width === 1
    ? view.getUint8(at)
    : width === 2
    ? view.getUint16(at, false)
    : view.getUint32(at, false);
}
