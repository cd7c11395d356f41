const MAX_PART = 32 * 1024;
/** A descendant may hold the pipe open for ever after the process itself has ended. */
const LINGER_MS = 300;

/** What a process wrote: the beginning and the end of it, whatever its length. */
export interface CollectedText {
  text(): string;
  /** Resolves at the end of the stream, or soon after the process' own end, when this is called. */
  settled(): Promise<void>;
}

/** Reads a stream to its end. */
export function collectText(stream: ReadableStream<Uint8Array>): CollectedText {
  const decoder = new TextDecoder();
  let head = "";
  let tail = "";
  const read = async () => {
    for await (const chunk of stream) {
      const text = decoder.decode(chunk, { stream: true });
      const room = MAX_PART - head.length;
      head += text.slice(0, room);
      tail = (tail + text.slice(room)).slice(-MAX_PART);
    }
  };
  const ended = read().catch(() => {}); // a pipe that breaks has ended
  return {
    text: () => tail === "" ? head : `${head}\n…\n${tail}`,
    settled: async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, LINGER_MS);
      await Promise.race([ended, promise]);
      clearTimeout(timer);
    },
  };
}
