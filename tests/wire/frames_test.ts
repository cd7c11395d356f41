import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  encodeFrame,
  FrameKind,
  FrameReader,
  LIMITS,
  WireFormatError,
} from "../../src/wire/mod.ts";

/** Hands bytes to a reader in pieces of the given size and collects the frames. */
function feed(reader: FrameReader, bytes: Uint8Array, step: number) {
  const frames = [];
  for (let at = 0; at < bytes.length;) {
    const room = reader.room();
    const n = Math.min(room.length, step, bytes.length - at);
    room.set(bytes.subarray(at, at + n));
    reader.filled(n);
    at += n;
    for (let frame = reader.next(); frame; frame = reader.next()) {
      frames.push({ ...frame, payload: frame.payload.slice() });
    }
  }
  return frames;
}

Deno.test("FrameReader finds whole frames however the bytes arrive", async (t) => {
  const big = new Uint8Array(LIMITS.MAX_PAYLOAD).fill(7);
  const sent = [
    encodeFrame(FrameKind.request, 0, 1, new Uint8Array([1, 2, 3])),
    encodeFrame(FrameKind.data, 9, 2 ** 40 + 5, big),
    encodeFrame(FrameKind.close, 65_535, 3, new Uint8Array(0)),
  ];
  const bytes = new Uint8Array(sent.reduce((sum, frame) => sum + frame.length, 0));
  sent.reduce((at, frame) => (bytes.set(frame, at), at + frame.length), 0);
  for (const step of [1_000, 65_536, 2_000_000]) {
    await t.step(`in pieces of ${step}`, () => {
      const frames = feed(new FrameReader(), bytes, step);
      assertEquals(frames.map(({ kind, principal, id, length }) => [kind, principal, id, length]), [
        [FrameKind.request, 0, 1, 3],
        [FrameKind.data, 9, 2 ** 40 + 5, LIMITS.MAX_PAYLOAD],
        [FrameKind.close, 65_535, 3, 0],
      ]);
      assertEquals(frames[0]!.payload, new Uint8Array([1, 2, 3]));
      assert(frames[1]!.payload.every((byte) => byte === 7));
    });
  }
  await t.step("byte by byte", () => {
    const frames = feed(new FrameReader(), sent[0]!, 1);
    assertEquals(frames.length, 1);
  });
});

Deno.test("FrameReader refuses a frame at its header", async (t) => {
  const rows: [string, (view: DataView) => void][] = [
    ["too long", (view) => view.setUint32(0, LIMITS.MAX_PAYLOAD + 1, true)],
    ["kind 0", (view) => view.setUint8(4, 0)],
    ["kind 10", (view) => view.setUint8(4, 10)],
    ["id above 2^53", (view) => view.setUint32(12, 2 ** 21, true)],
  ];
  for (const [name, spoil] of rows) {
    await t.step(name, () => {
      const frame = encodeFrame(FrameKind.data, 0, 1, new Uint8Array(4));
      spoil(new DataView(frame.buffer));
      assertThrows(() => feed(new FrameReader(), frame, 64), WireFormatError);
    });
  }
});

Deno.test("FrameReader.skipPast() finds a mark that arrives in two reads", () => {
  const reader = new FrameReader();
  const mark = new Uint8Array([1, 1, 2]);
  const put = (...bytes: number[]) => {
    reader.room().set(bytes);
    reader.filled(bytes.length);
  };
  put(9, 9, 1, 1);
  assertEquals(reader.skipPast(mark), false);
  const frame = encodeFrame(FrameKind.reply, 0, 3, new Uint8Array(0));
  put(1, 2, ...frame);
  assertEquals(reader.skipPast(mark), true);
  assertEquals(reader.next()?.id, 3);
});

Deno.test("encodeFrame() refuses a payload that is too long", () => {
  assertThrows(
    () => encodeFrame(FrameKind.data, 0, 1, new Uint8Array(LIMITS.MAX_PAYLOAD + 1)),
    RangeError,
    "at most",
  );
});
