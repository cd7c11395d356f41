import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { encodeFrame, FrameKind, LIMITS } from "../../src/wire/mod.ts";
import { type ByteConn, FrameWriter } from "../../src/wire/writer.ts";

/** A connection that takes so many bytes at a time, each in its own time. */
function slowConn(step: number): ByteConn & { writes: number[]; bytes(): Uint8Array } {
  const taken: number[] = [];
  const writes: number[] = [];
  return {
    writes,
    bytes: () => new Uint8Array(taken),
    read: () => Promise.resolve(null),
    async write(data) {
      const part = data.subarray(0, step);
      await new Promise((resolve) => setTimeout(resolve));
      writes.push(part.length);
      taken.push(...part); // what lies there now, not when it was handed over
      return part.length;
    },
    close: () => {},
  };
}

function data(
  id: number,
  size: number,
): { kind: number; principal: number; id: number; payload: Uint8Array } {
  return { kind: FrameKind.data, principal: 3, id, payload: new Uint8Array(size).fill(id) };
}

function encoded(frames: ReturnType<typeof data>[]): Uint8Array {
  const all = frames.map(({ kind, principal, id, payload }) =>
    encodeFrame(kind, principal, id, payload)
  );
  return new Uint8Array(all.flatMap((frame) => [...frame]));
}

Deno.test("FrameWriter writes frames in order and whole, small ones together", async () => {
  const conn = slowConn(100_000);
  const writer = new FrameWriter(conn);
  const frames = [
    data(1, 5),
    data(2, 0),
    data(3, 70_000),
    data(4, LIMITS.MAX_DATA),
    data(5, 9),
    data(6, 300_000),
  ];
  await Promise.all(frames.map((frame) => writer.write(frame)));
  assertEquals(conn.bytes(), encoded(frames));
  assertEquals(writer.bytesOut, conn.bytes().length);
  // The first goes at once; then what piled up: two, the fourth with the fifth, the sixth; the last two in parts.
  assertEquals(conn.writes, [21, 70_032, 100_000, 31_113, 100_000, 100_000, 100_000, 16]);
});

Deno.test("FrameWriter keeps what several connections write at the same time apart", async () => {
  const conns = Array.from({ length: 8 }, () => slowConn(1_000));
  const frames = conns.map((_, i) => [data(i + 1, 3_000), data(i + 101, 10)]);
  await Promise.all(conns.map(async (conn, i) => {
    const writer = new FrameWriter(conn);
    for (const frame of frames[i]!) await writer.write(frame);
  }));
  conns.forEach((conn, i) => assertEquals(conn.bytes(), encoded(frames[i]!)));
});

Deno.test("FrameWriter refuses a payload that is too long, and tells of a broken connection", async () => {
  const broken = new FrameWriter({
    ...slowConn(1),
    write: () => Promise.reject(new Error("broken")),
  });
  assertThrows(() => broken.write(data(1, LIMITS.MAX_PAYLOAD + 1)), RangeError, "at most");
  await assertRejects(() => broken.write(data(1, 1)), Error, "broken");
});
