/** A request of a probe. */
export interface HttpRequest {
  method: string;
  /** Path with its query. */
  path: string;
  /** Value of the header `host`. */
  host: string;
  headers: Headers;
}

/** What a server answered. */
export interface HttpAnswer {
  status: number;
  body: string;
}

/** Longest answer that is read, in bytes: probes look at pages, not at downloads. */
const MAX_ANSWER = 256 * 1024;

/** The bytes of a request. HTTP/1.0: the answer ends with the connection and is not cut into chunks. */
export function encodeRequest(request: HttpRequest): Uint8Array {
  const lines = [`${request.method} ${request.path} HTTP/1.0`, `host: ${request.host}`];
  for (const [name, value] of request.headers) lines.push(`${name}: ${value}`);
  return new TextEncoder().encode(`${lines.join("\r\n")}\r\nconnection: close\r\n\r\n`);
}

/** Reads an answer; `undefined` if it is none. */
export function decodeAnswer(bytes: Uint8Array): HttpAnswer | undefined {
  const text = new TextDecoder().decode(bytes);
  const status = /^HTTP\/\d(?:\.\d)? (\d{3})\b/.exec(text);
  if (!status) return undefined;
  const end = /\r?\n\r?\n/.exec(text);
  const body = end ? text.slice(end.index + end[0].length) : "";
  return { status: Number(status[1]), body };
}

/** Sends a request and reads the answer, until the server closes or `signal` aborts. Closes the connection. */
export async function exchange(
  conn: {
    read(into: Uint8Array): Promise<number | null>;
    write(data: Uint8Array): Promise<number>;
    close(): void;
  },
  request: HttpRequest,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  let closed = false;
  const close = () => {
    if (!closed) conn.close();
    closed = true;
  };
  signal.addEventListener("abort", close, { once: true });
  try {
    signal.throwIfAborted();
    const data = encodeRequest(request);
    for (let at = 0; at < data.length;) at += await conn.write(data.subarray(at));
    const answer = decodeAnswer(await readAll(conn));
    if (!answer) throw new Error("the answer is not HTTP");
    return answer;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", close);
    close();
  }
}

async function readAll(
  conn: { read(into: Uint8Array): Promise<number | null> },
): Promise<Uint8Array> {
  const buffer = new Uint8Array(MAX_ANSWER);
  let size = 0;
  while (size < MAX_ANSWER) {
    const count = await conn.read(buffer.subarray(size));
    if (count === null) break;
    size += count;
  }
  return buffer.subarray(0, size);
}
