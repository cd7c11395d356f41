import { FrameKind, LIMITS } from "./messages.ts";
import { WireFormatError } from "./schema.ts";

/** The header of a frame. */
export interface FrameHeader {
  length: number;
  kind: number;
  principal: number;
  id: number;
}

/** A frame as it came in; `payload` is valid only until the next one is read. */
export interface Frame extends FrameHeader {
  payload: Uint8Array;
}

const HIGHEST_KIND = FrameKind.close;

/** Builds a frame: header and payload in one piece. */
export function encodeFrame(
  kind: number,
  principal: number,
  id: number,
  payload: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(frameSize(payload));
  putFrame(frame, 0, { kind, principal, id, payload });
  return frame;
}

/** Bytes of the frame with this payload. */
export function frameSize(payload: Uint8Array): number {
  if (payload.length <= LIMITS.MAX_PAYLOAD) return LIMITS.HEADER_SIZE + payload.length;
  throw new RangeError(
    `Cannot send a frame of ${payload.length} bytes: at most ${LIMITS.MAX_PAYLOAD} fit`,
  );
}

/** Writes a frame into `target`, which has room for it. */
export function putFrame(
  target: Uint8Array<ArrayBuffer>,
  at: number,
  { kind, principal, id, payload }: Omit<Frame, "length">,
): void {
  const view = new DataView(target.buffer, target.byteOffset + at, LIMITS.HEADER_SIZE);
  view.setUint32(0, payload.length, true);
  view.setUint8(4, kind);
  view.setUint8(5, 0);
  view.setUint16(6, principal, true);
  view.setUint32(8, id >>> 0, true);
  view.setUint32(12, Math.floor(id / 2 ** 32), true);
  target.set(payload, at + LIMITS.HEADER_SIZE);
}

/** Collects bytes as they arrive and gives out whole frames; refuses what cannot be a frame at its header. */
export class FrameReader {
  #buffer = new Uint8Array(256 * 1024);
  #view = new DataView(this.#buffer.buffer);
  #start = 0;
  #end = 0;

  /** Free room for the next read; report what was filled by {@linkcode filled}. */
  room(): Uint8Array<ArrayBuffer> {
    const held = this.#end - this.#start;
    if (
      this.#start > 0 && (held === 0 || this.#buffer.length - this.#end < this.#buffer.length / 2)
    ) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#start = 0;
      this.#end = held;
    }
    if (this.#end === this.#buffer.length) {
      const larger = new Uint8Array(this.#buffer.length * 2);
      larger.set(this.#buffer);
      this.#buffer = larger;
      this.#view = new DataView(larger.buffer);
    }
    return this.#buffer.subarray(this.#end);
  }

  /** Counts `n` bytes that were read into {@linkcode room}. */
  filled(n: number): void {
    this.#end += n;
  }

  /**
   * The next whole frame, or `undefined` when more bytes are needed.
   *
   * @throws {WireFormatError} If the header cannot be one.
   */
  next(): Frame | undefined {
    const held = this.#end - this.#start;
    if (held < LIMITS.HEADER_SIZE) return undefined;
    const at = this.#start;
    const length = this.#view.getUint32(at, true);
    const kind = this.#view.getUint8(at + 4);
    if (length > LIMITS.MAX_PAYLOAD) {
      throw new WireFormatError(
        `frame of ${length} bytes: expected at most ${LIMITS.MAX_PAYLOAD}`,
      );
    }
    if (kind === 0 || kind > HIGHEST_KIND) throw new WireFormatError(`unknown frame kind ${kind}`);
    const high = this.#view.getUint32(at + 12, true);
    if (high >= 2 ** 21) throw new WireFormatError("frame id above 2^53");
    if (held < LIMITS.HEADER_SIZE + length) return undefined;
    const from = at + LIMITS.HEADER_SIZE;
    this.#start = from + length;
    return {
      length,
      kind,
      principal: this.#view.getUint16(at + 6, true),
      id: high * 2 ** 32 + this.#view.getUint32(at + 8, true),
      payload: this.#buffer.subarray(from, from + length),
    };
  }

  /** Drops everything before and including `mark`. Returns whether it was found; else only a possible beginning stays. */
  skipPast(mark: Uint8Array): boolean {
    const last = this.#end - mark.length;
    for (let at = this.#start; at <= last; at++) {
      let i = 0;
      while (i < mark.length && this.#buffer[at + i] === mark[i]) i++;
      if (i === mark.length) {
        this.#start = at + mark.length;
        return true;
      }
    }
    this.#start = Math.max(this.#start, last + 1);
    return false;
  }
}
