import { HostError } from "../errors.ts";
import type { ByteConn } from "../wire/mod.ts";
import { vsockAllowed } from "./_vsock_allowed.ts";
import type { TransportChoice } from "./types.ts";

/** Where agents of machines listen. */
export const VSOCK_PORT = 1024;
/** Address of the host itself, where `vsock_loopback` is loaded. */
export const LOOPBACK_CID = 1;

const FIRST_CID = 0x1_0000;
const LAST_CID = 0x7fff_ffff;
const FIRST_PORT = 0x1_0000;
const LAST_PORT = 0x7fff_ffff;

/** What a machine's agent is talked to over, and why. */
export interface TransportDecision {
  transport: "vsock" | "serial";
  why: string;
  /** Whether the other one will not do. */
  isWish: boolean;
}

/** What {@linkcode chooseTransport} has to know. */
export interface TransportFacts {
  /** Name of the machine, for errors. */
  machine: string;
  choice: TransportChoice;
  /** Device by which QEMU gives machines an address. */
  device: string;
  /** Why this machine cannot be reached over vsock, whatever the host can do. */
  obstacle?: string;
}

/**
 * Chooses the way to a machine's agent.
 *
 * @throws {HostError} If vsock was asked for and is not there.
 */
export async function chooseTransport(facts: TransportFacts): Promise<TransportDecision> {
  const { machine, choice, device, obstacle } = facts;
  const isWish = choice !== "auto";
  if (choice === "serial") return { transport: "serial", why: "asked for", isWish };
  const missing: Missing | undefined = obstacle === undefined
    ? await vsockObstacle(device)
    : { why: obstacle, next: 'use transport "auto" or "serial"' };
  if (missing === undefined) {
    return {
      transport: "vsock",
      why: isWish ? "asked for" : `"${device}" can be opened`,
      isWish,
    };
  }
  if (!isWish) return { transport: "serial", why: `no vsock: ${missing.why}`, isWish };
  throw new HostError(`Cannot start machine "${machine}" with transport "vsock"`, {
    code: "VSOCK_UNAVAILABLE",
    actual: missing.why,
    next: missing.next,
  });
}

interface Missing {
  why: string;
  next: string;
}

/** Whether this host can give machines an address. */
export async function vsockAvailable(device: string): Promise<boolean> {
  return await vsockObstacle(device) === undefined;
}

/** Why this host cannot give machines an address; `undefined` if it can. */
async function vsockObstacle(device: string): Promise<Missing | undefined> {
  try {
    (await Deno.open(device, { read: true, write: true })).close();
  } catch (error) {
    return {
      why: `"${device}" cannot be opened: ${reasonOf(error)}`,
      next: `as root, run modprobe vhost_vsock and give this user access to "${device}"; or use ` +
        'transport "auto" or "serial"',
    };
  }
  return await flagObstacle();
}

async function flagObstacle(): Promise<Missing | undefined> {
  if (await vsockAllowed()) return undefined;
  return {
    why: "Deno was started without its feature vsock, and would end at the first connection",
    next: 'add "unstable": ["vsock"] to deno.json, or run deno with --unstable-vsock',
  };
}

/**
 * Draws a port for an agent on the host itself.
 *
 * @throws {HostError} If the host cannot connect to itself over vsock.
 */
export async function drawLoopbackPort(machine: string): Promise<number> {
  const summary = `Cannot start machine "${machine}" on the host with transport "vsock"`;
  const code = "VSOCK_UNAVAILABLE";
  const missing = await flagObstacle();
  if (missing) throw new HostError(summary, { code, actual: missing.why, next: missing.next });
  for (let tries = 1;; tries++) {
    const port = drawNumber(FIRST_PORT, LAST_PORT);
    try {
      Deno.listen({ transport: "vsock", cid: LOOPBACK_CID, port }).close();
      return port;
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse && tries < 10) continue;
      throw new HostError(summary, {
        code,
        actual: `nothing can listen at CID ${LOOPBACK_CID}: ${reasonOf(error)}`,
        next: 'as root, run modprobe vsock_loopback; or use transport "auto"',
        cause: error,
      });
    }
  }
}

/** Draws an address for a machine; only the kernel knows whether it is free. */
export function drawCid(): number {
  return drawNumber(FIRST_CID, LAST_CID);
}

function drawNumber(first: number, last: number): number {
  const [drawn] = crypto.getRandomValues(new Uint32Array(1));
  return first + drawn! % (last - first + 1);
}

/**
 * Connects to an agent that listens. The kernel cannot be told to stop trying, but gives up by itself; who aborts does not
 * wait for that.
 */
export async function connectVsock(
  { cid, port, signal }: { cid: number; port: number; signal: AbortSignal },
): Promise<HeldConn> {
  signal.throwIfAborted();
  const connecting = Deno.connect({ transport: "vsock", cid, port });
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return new HeldConn(await Promise.race([connecting, aborted.promise]));
  } catch (error) {
    connecting.then((conn) => conn.close(), () => {}); // too late for anybody
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/**
 * A connection whose end is news for its machine, not for the conversation: the machine knows or finds out why it ended,
 * and closes the conversation with that.
 */
export class HeldConn implements ByteConn {
  /** Resolves when the other end has hung up, or the connection broke. */
  readonly ended: Promise<void>;
  readonly #conn: Deno.Conn;
  readonly #over = Promise.withResolvers<void>();
  #end: () => void;
  #closed = false;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = resolve;
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const n = await this.#conn.read(buffer).catch(() => null); // broken is ended
    if (n !== null || this.#closed) return n;
    this.#end();
    await this.#over.promise;
    return null;
  }

  async write(data: Uint8Array): Promise<number> {
    try {
      return await this.#conn.write(data);
    } catch (error) {
      if (!this.#closed) this.#end();
      await this.#over.promise;
      throw error;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#over.resolve();
    this.#conn.close();
  }
}

function reasonOf(error: unknown): string {
  // Deno adds the number of the error, and for files what was opened, which the caller has said.
  return error instanceof Error ? error.message.replace(/ \(os error.*$/s, "") : String(error);
}
