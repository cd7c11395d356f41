/** Where standard input goes. */
export interface StdinSink {
  write(chunk: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Ends it; harmless when called again. */
  end(): void | Promise<void>;
}

/** A writable stream for the user, over a sink. */
export function streamStdin(sink: StdinSink): WritableStream<Uint8Array> {
  return new WritableStream<Uint8Array>({
    write: (chunk, controller) => sink.write(toChunk(chunk), controller.signal),
    close: () => sink.end(),
    abort: () => sink.end(),
  });
}

/**
 * Writes a whole source to a sink and ends it. A process that stops reading, or ends, is no failure of the source.
 *
 * @returns A function that gives up, and cancels the source.
 */
export function feedStdin(
  source: string | Uint8Array | ReadableStream<Uint8Array>,
  sink: StdinSink,
): () => void {
  const given = new AbortController();
  const work = source instanceof ReadableStream
    ? pump(source, sink, given.signal)
    : sink.write(toChunk(source), given.signal);
  work.catch(() => {}).then(() => sink.end()).catch(() => {}); // Nobody reads any more.
  return () => given.abort();
}

async function pump(
  source: ReadableStream<Uint8Array>,
  sink: StdinSink,
  signal: AbortSignal,
): Promise<void> {
  const reader = source.getReader();
  const cancel = () => void reader.cancel(signal.reason).catch(() => {}); // It ended in the meantime.
  signal.addEventListener("abort", cancel, { once: true });
  try {
    while (true) {
      const { value, done } = await reader.read();
      if (done) return;
      await sink.write(toChunk(value), signal);
    }
  } catch (error) {
    await reader.cancel(error);
    throw error;
  } finally {
    signal.removeEventListener("abort", cancel);
    reader.releaseLock();
  }
}

function toChunk(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") return new TextEncoder().encode(value);
  const got = value === null ? "null" : typeof value;
  throw new TypeError(`Standard input takes text or bytes, got ${got}`);
}
