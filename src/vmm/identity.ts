import type { BootFile } from "../image/mod.ts";
import { type AgentClient, LIMITS, toBytes } from "../wire/mod.ts";
import { hex } from "./_hash.ts";

/** What both ends of a conversation know. */
export interface AgentSecret {
  /** 32 bytes. */
  secret: Uint8Array;
  /** 16 bytes, drawn for each boot and each clone. */
  epoch: Uint8Array;
  /** The last id that conversations with the agent have drawn. */
  lastId?: number;
}

/** What makes a machine different from its clones. */
export interface IdentityOptions {
  hostname: string;
  /** Milliseconds since the epoch; the host's clock by default. */
  timeMs?: number;
  /** Mixed into random numbers; drawn by default. */
  seed?: Uint8Array;
  /** Pairs of the address that a card has and the one that it shall have. */
  macs?: { from: string; to: string }[];
  timeoutMs: number;
  signal?: AbortSignal;
}

/** Draws a secret and an epoch. */
export function drawSecret(): AgentSecret {
  return {
    secret: crypto.getRandomValues(new Uint8Array(LIMITS.SECRET_SIZE)),
    epoch: crypto.getRandomValues(new Uint8Array(LIMITS.NONCE_SIZE)),
  };
}

/**
 * Makes the machine behind `client` one of its own: random numbers, clock, names, addresses, and a secret that no other
 * machine has. Nothing else may be asked of a clone before.
 *
 * @returns The secret of later conversations.
 */
export async function giveIdentity(
  client: AgentClient,
  options: IdentityOptions,
): Promise<AgentSecret> {
  const { hostname, seed, macs, timeoutMs, signal } = options;
  const next = drawSecret();
  const machineId = hex(crypto.getRandomValues(new Uint8Array(16)));
  const random = crypto.getRandomValues(new Uint8Array(64));
  await client.request("clone", {
    ...next,
    // The same seed for two machines must not give them the same keys: it is mixed with fresh bytes by the kernel alone.
    seed: seed ?? random,
    realtimeNs: BigInt(Math.round((options.timeMs ?? Date.now()) * 1e6)),
    hostname,
    machineId,
    macs: macs?.map(({ from, to }) => [macBytes(from), macBytes(to)]),
  }, { timeoutMs, signal });
  return next;
}

/** Returns a name that a kernel takes as its host name: letters, digits and hyphens of `name`. */
export function hostnameOf(name: string): string {
  const plain = name.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-").replaceAll(/^-+|-+$/g, "");
  return plain.slice(0, 63) || "machine";
}

/** Reads six bytes in hexadecimal, parted by colons. */
export function macBytes(mac: string): Uint8Array {
  const parts = mac.split(":");
  if (parts.length !== 6 || !parts.every((part) => /^[0-9a-f]{2}$/i.test(part))) {
    throw new RangeError(`Cannot use ${JSON.stringify(mac)} as MAC address: expected six bytes`);
  }
  return new Uint8Array(parts.map((part) => parseInt(part, 16)));
}

/** Files that are written at a time. */
const AT_ONCE = 8;

/** Writes files into a running guest, with their folders. Of files with the same path the last one counts. */
export async function writeGuestFiles(
  client: AgentClient,
  files: readonly BootFile[],
  options: { timeoutMs: number; signal?: AbortSignal },
): Promise<void> {
  const queue = new Map(files.map((file) => [file.path, file])).values();
  const work = async () => {
    // They share one iterator, so that each takes the next file that nobody has.
    for (const file of queue) await writeGuestFile(client, file, options);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, files.length) }, work));
}

async function writeGuestFile(
  client: AgentClient,
  { path: name, content, mode = 0o644, uid, gid }: BootFile,
  options: { timeoutMs: number; signal?: AbortSignal },
): Promise<void> {
  const path = toBytes(name);
  const stream = client.openStream("out");
  const written = client.request(
    "writeFile",
    { path, stream: stream.id, mode, parents: true },
    options,
  );
  const sending = stream.write(content, options.signal).finally(() => stream.end());
  sending.catch(() => {}); // the request's answer says why
  await written;
  if (uid !== undefined || gid !== undefined) {
    await client.request("chown", { path, uid: uid ?? 0, gid: gid ?? 0, follow: true }, options);
  }
  // Last, since a new owner takes set-user-id bits away. A file of the image keeps its mode when it is written to, and a
  // new one is made under a mask.
  await client.request("chmod", { path, mode }, options);
}
