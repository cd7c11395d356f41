import { AgentLostError } from "../errors.ts";
import { equalBytes, makeProof } from "./auth.ts";
import { concatBytes } from "./bytes.ts";
import { decodeValue, encodeMap } from "./codec.ts";
import { encodeFrame, type FrameReader } from "./frames.ts";
import {
  AGENT_HELLO,
  ERROR,
  FrameKind,
  type HOST_HELLO,
  LIMITS,
  PROTOCOL_VERSION,
  SYNC_MAGIC,
} from "./messages.ts";
import { readShape, type ValueOf, WireFormatError } from "./schema.ts";
import { VERSION } from "./version.ts";
import { type ByteConn, writeAll } from "./writer.ts";

/** What the agent says of itself. */
export type AgentHello = ValueOf<typeof AGENT_HELLO>;

/** Options for {@linkcode shakeHands}. */
export interface HandshakeOptions {
  /** What both ends know, 32 bytes. */
  secret: Uint8Array;
  /** What the harness drew for this boot or clone, 16 bytes. */
  epoch: Uint8Array;
  /** Name of the machine, for errors. */
  machine: string;
  /** Ends the wait for the agent; the connection is closed and the reason thrown. */
  signal?: AbortSignal;
}

/** Longest payload of a hello or of the error that may stand in its place. */
const MAX_HELLO = 4096;

/**
 * Proves to the agent that this is its harness, and has it prove that it is this machine's agent. Bytes that were on the
 * pipe before the answer are dropped.
 */
export async function shakeHands(
  conn: ByteConn,
  reader: FrameReader,
  options: HandshakeOptions,
): Promise<AgentHello> {
  const { secret, epoch, machine, signal } = options;
  signal?.throwIfAborted();
  const aborted = () => conn.close();
  signal?.addEventListener("abort", aborted, { once: true });
  try {
    const nonce = crypto.getRandomValues(new Uint8Array(LIMITS.NONCE_SIZE));
    const hello: ValueOf<typeof HOST_HELLO> = {
      proto: PROTOCOL_VERSION,
      version: VERSION,
      epoch,
      nonce,
      proof: await makeProof(secret, "host", epoch, nonce),
    };
    const expected = await makeProof(secret, "agent", epoch, nonce);
    const frame = encodeFrame(FrameKind.hello, 0, 0, encodeMap(hello));
    await writeAll(conn, concatBytes([SYNC_MAGIC, frame]));
    for (;;) {
      const answer = await readAnswer(conn, reader, machine);
      if (!equalBytes(answer.nonce, nonce)) continue; // Left over from an earlier conversation.
      if (!equalBytes(answer.proof, expected)) {
        throw new AgentLostError(
          `Cannot talk to machine "${machine}": its agent has no valid proof`,
          {
            next: "look for another program in the guest that uses the agent's port",
          },
        );
      }
      return answer;
    }
  } catch (error) {
    closeQuietly(conn);
    signal?.throwIfAborted();
    if (error instanceof AgentLostError) throw error;
    throw new AgentLostError(`Cannot talk to machine "${machine}": the handshake broke off`, {
      cause: error,
      actual: error instanceof Error ? error.message : String(error),
    });
  } finally {
    signal?.removeEventListener("abort", aborted);
  }
}

async function readAnswer(
  conn: ByteConn,
  reader: FrameReader,
  machine: string,
): Promise<AgentHello> {
  const more = async () => {
    const n = await conn.read(reader.room());
    if (n === null) {
      throw new AgentLostError(
        `Cannot talk to machine "${machine}": it hung up during the handshake`,
        {
          expected: "the agent's proof",
          next: "see the console: the agent ended, or does not know this machine's secret",
        },
      );
    }
    reader.filled(n);
  };
  while (!reader.skipPast(SYNC_MAGIC)) await more();
  let frame = reader.next();
  while (!frame) {
    await more();
    frame = reader.next();
  }
  if (frame.length > MAX_HELLO) throw new WireFormatError(`hello of ${frame.length} bytes`);
  const value = decodeValue(frame.payload);
  if (frame.kind === FrameKind.error) {
    const { detail } = readShape(ERROR, value, "error of hello");
    throw new AgentLostError(`Cannot talk to machine "${machine}": the versions differ`, {
      expected: `an agent of belljar ${VERSION} (protocol ${PROTOCOL_VERSION})`,
      actual: detail,
      next: "build the image again with this belljar",
    });
  }
  if (frame.kind !== FrameKind.hello) {
    throw new WireFormatError(`frame kind ${frame.kind} for hello`);
  }
  return readShape(AGENT_HELLO, value, "hello");
}

function closeQuietly(conn: ByteConn): void {
  try {
    conn.close();
  } catch {
    // An abort has closed it already.
  }
}
