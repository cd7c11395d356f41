import type { OutputBuffer, OutputBytes } from "./output_buffer.ts";

/** Longest chunk that a stream gives out, so that one reader does not hold a whole ring. */
const MAX_CHUNK = 64 * 1024;

/** Reads a buffer as a stream that holds nothing itself: it copies when it is asked. */
export function readStream(
  buffer: OutputBuffer,
  start: number,
  signal: AbortSignal | undefined,
): ReadableStream<OutputBytes> {
  let next = start;
  const cancelled = new AbortController();
  const ended = signal ? AbortSignal.any([signal, cancelled.signal]) : cancelled.signal;
  return new ReadableStream<OutputBytes>({
    async pull(controller) {
      try {
        const stats = await buffer.changedSince(next, { signal: ended });
        const { data, offset, lost } = buffer.read(next);
        const chunk: OutputBytes = data.length > MAX_CHUNK ? data.slice(0, MAX_CHUNK) : data;
        next = offset + chunk.length;
        if (lost > 0) chunk.lost = lost;
        if (chunk.length > 0 || lost > 0) controller.enqueue(chunk);
        if (stats.closed && next >= buffer.stats().totalWritten) controller.close();
      } catch (error) {
        if (!cancelled.signal.aborted) controller.error(error);
      }
    },
    cancel(reason) {
      cancelled.abort(reason);
    },
  }, { highWaterMark: 0 });
}

/** Reads a buffer line by line. */
export async function* readLines(
  buffer: OutputBuffer,
  start: number,
  maxLineBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<string, void, unknown> {
  let carry = new Uint8Array(0);
  let next = start;
  while (true) {
    const stats = await buffer.changedSince(next, { signal });
    const { data, nextOffset, lost } = buffer.read(next);
    next = nextOffset;
    // What was evicted between cannot be joined: the line that it cut ends here.
    if (lost > 0 && carry.length > 0) {
      yield* split(carry, maxLineBytes);
      carry = new Uint8Array(0);
    }
    const joined = new Uint8Array(carry.length + data.length);
    joined.set(carry);
    joined.set(data, carry.length);
    let from = 0;
    for (let at = joined.indexOf(0x0a); at >= 0; at = joined.indexOf(0x0a, from)) {
      yield* split(joined.subarray(from, at), maxLineBytes);
      from = at + 1;
    }
    while (joined.length - from > maxLineBytes) {
      const end = from + boundary(joined.subarray(from), maxLineBytes);
      yield decode(joined.subarray(from, end));
      from = end;
    }
    carry = joined.slice(from);
    if (stats.closed && next >= buffer.stats().totalWritten) {
      if (carry.length > 0) yield* split(carry, maxLineBytes);
      return;
    }
  }
}

function* split(line: Uint8Array, maxLineBytes: number): Generator<string> {
  let rest = line;
  while (rest.length > maxLineBytes) {
    const end = boundary(rest, maxLineBytes);
    yield decode(rest.subarray(0, end));
    rest = rest.subarray(end);
  }
  yield decode(rest);
}

/** The last place up to `limit` that is not inside a code point. */
function boundary(bytes: Uint8Array, limit: number): number {
  let end = limit;
  while (end > limit - 4 && end > 1 && (bytes[end]! & 0xc0) === 0x80) end--;
  return end;
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
