import { GuestError } from "../errors.ts";
import { type AgentClient, decodeValue, measureValue, toBytes } from "../wire/mod.ts";
import { type GuestLink, operate, quickLimitMs, streamedLimitMs, withSignals } from "./_link.ts";
import { shownPath } from "./paths.ts";

/** What can be written to a file. */
export type FileData = string | Uint8Array | ReadableStream<Uint8Array>;

/** Where a transfer reads from or writes to in the guest, and under which operation. */
export interface TransferTarget {
  path: Uint8Array;
  /** As the author wrote it, for reports. */
  text: string;
  signal?: AbortSignal;
}

/** How a file is written. */
export interface WriteMode {
  mode?: number;
  append?: boolean;
  createNew?: boolean;
  parents?: boolean;
}

/** Reads a file, or a part of it, into memory. */
export async function fetchFile(
  link: GuestLink,
  target: TransferTarget,
  range: { offset?: number; length?: number } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  return await withInStream(link, "readFile", target, async (client, stream, signal) => {
    const data = stream.collect();
    data.catch(() => {}); // When the request fails, its error is the one that counts.
    const { size } = await client.request(
      "readFile",
      { path: target.path, stream: stream.id, ...range },
      { principal: link.principal, signal, timeoutMs: streamedLimitMs() },
    );
    const bytes = await data;
    if (bytes.length === size) return bytes;
    throw shortTransfer(link, "readFile", target.path, bytes.length, size);
  });
}

/** Reads a file and gives its pieces to `sink`, which holds the guest back while its promise is pending. */
export async function fetchFileTo(
  link: GuestLink,
  target: TransferTarget,
  sink: (chunk: Uint8Array) => Promise<void>,
): Promise<number> {
  return await withInStream(link, "readFile", target, async (client, stream, signal) => {
    let total = 0;
    const sinkFailed = new AbortController();
    stream.receive(async (chunk) => {
      try {
        await sink(chunk);
        total += chunk.length;
      } catch (error) {
        sinkFailed.abort(error);
        throw error;
      }
    });
    const { size } = await withSignals([signal, sinkFailed.signal], (any) =>
      client.request(
        "readFile",
        { path: target.path, stream: stream.id },
        { principal: link.principal, signal: any, timeoutMs: streamedLimitMs() },
      ));
    await stream.ended;
    sinkFailed.signal.throwIfAborted();
    if (total !== size) throw shortTransfer(link, "readFile", target.path, total, size);
    return size;
  });
}

/** Writes a file from memory or a stream; resolves with the bytes written when the guest has them all. */
export async function sendFile(
  link: GuestLink,
  target: TransferTarget,
  data: FileData,
  mode: WriteMode = {},
): Promise<number> {
  const { path, text, signal } = target;
  return await operate(link, "writeFile", text, signal, async (client, any) => {
    const stream = client.openStream("out", link.principal);
    const source = new AbortController();
    const reply = withSignals([any, source.signal], (both) =>
      client.request(
        "writeFile",
        { path, stream: stream.id, ...mode },
        { principal: link.principal, signal: both, timeoutMs: streamedLimitMs() },
      ));
    const chunks = chunksOf(data);
    const pumping = pump(chunks, stream, (error) => source.abort(error));
    try {
      return (await reply).size;
    } finally {
      client.dropStream(stream);
      await chunks.cancel();
      await pumping;
    }
  });
}

/** Calls `each` with every MessagePack value of a stream that a request fills. */
export async function collectValues(
  link: GuestLink,
  op: "readDir" | "glob" | "processes",
  target: TransferTarget,
  args: (stream: number) => Parameters<AgentClient["request"]>[1],
): Promise<unknown[]> {
  return await withInStream(link, op, target, async (client, stream, signal) => {
    const data = stream.collect();
    data.catch(() => {}); // As in fetchFile().
    await client.request(op, args(stream.id) as never, {
      principal: link.principal,
      signal,
      timeoutMs: quickLimitMs(),
    });
    return splitValues(await data);
  });
}

/** MessagePack values that follow each other. */
export function splitValues(bytes: Uint8Array): unknown[] {
  const values: unknown[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = measureValue(bytes, at);
    values.push(decodeValue(bytes.subarray(at, end)));
    at = end;
  }
  return values;
}

async function withInStream<T>(
  link: GuestLink,
  op: string,
  { text, signal }: TransferTarget,
  fn: (
    client: AgentClient,
    stream: ReturnType<AgentClient["openStream"]>,
    signal: AbortSignal,
  ) => Promise<T>,
): Promise<T> {
  return await operate(link, op, text, signal, async (client, any) => {
    const stream = client.openStream("in", link.principal);
    try {
      return await fn(client, stream, any);
    } finally {
      client.dropStream(stream);
    }
  });
}

interface Chunks {
  next(): Promise<Uint8Array | undefined>;
  cancel(): Promise<void>;
}

function chunksOf(data: FileData): Chunks {
  if (data instanceof ReadableStream) {
    const reader = data.getReader();
    return {
      next: async () => (await reader.read()).value,
      // A source that failed rejects here as well; its error was reported by next().
      cancel: () => reader.cancel().catch(() => {}),
    };
  }
  let rest: Uint8Array | undefined = toBytes(data);
  return {
    next: () => {
      const chunk = rest;
      rest = undefined;
      return Promise.resolve(chunk);
    },
    cancel: () => Promise.resolve(),
  };
}

async function pump(
  chunks: Chunks,
  stream: ReturnType<AgentClient["openStream"]>,
  onSourceError: (error: unknown) => void,
): Promise<void> {
  while (true) {
    let chunk: Uint8Array | undefined;
    try {
      chunk = await chunks.next();
      if (chunk !== undefined && !(chunk instanceof Uint8Array)) {
        throw new TypeError(`The stream to write must carry Uint8Array, got ${typeof chunk}`);
      }
    } catch (error) {
      return onSourceError(error);
    }
    try {
      if (chunk === undefined) return stream.end();
      await stream.write(chunk);
    } catch {
      return; // The guest wants no more; the reply to the request says why.
    }
  }
}

function shortTransfer(
  link: GuestLink,
  op: string,
  path: Uint8Array,
  got: number,
  expected: number,
): GuestError {
  return new GuestError(
    `Cannot ${op} ${shownPath(path)} on ${link.label}: the data is incomplete`,
    {
      errno: "EIO",
      op,
      vm: link.vm,
      expected: `${expected} bytes`,
      actual: `${got} bytes`,
    },
  );
}
