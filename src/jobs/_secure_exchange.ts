import { connect } from "node:tls";
import { Buffer } from "node:buffer";
import { decodeAnswer, encodeRequest, type HttpAnswer, type HttpRequest } from "./http_exchange.ts";
import type { Target } from "./service_place.ts";

/** Sends a request over TLS. Deno's own client has no way to accept any certificate without a flag of its process. */
export function secureExchange(
  target: Target,
  request: HttpRequest,
  insecure: boolean,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  if ("unix" in target) {
    throw new TypeError("probe.http() takes `unix` or an https address, not both");
  }
  signal.throwIfAborted();
  const { host = "localhost", port } = target;
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    const socket = connect({ host, port, servername: host, rejectUnauthorized: !insecure });
    const aborted = () => {
      socket.destroy();
      reject(signal.reason);
    };
    const settle = (action: () => void) => {
      signal.removeEventListener("abort", aborted);
      socket.destroy();
      action();
    };
    signal.addEventListener("abort", aborted, { once: true });
    socket.once("secureConnect", () => socket.write(encodeRequest(request)));
    socket.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    socket.once("error", (error: Error) => settle(() => reject(error)));
    socket.once("end", () =>
      settle(() => {
        const answer = decodeAnswer(Buffer.concat(chunks));
        if (answer) resolve(answer);
        else reject(new Error("the answer is not HTTP"));
      }));
  });
}
