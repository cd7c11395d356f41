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

/** Writes files into a running guest, with their folders. */
export async function writeGuestFiles(
  client: AgentClient,
  files: readonly BootFile[],
  options: { timeoutMs: number; signal?: AbortSignal },
): Promise<void> {
  for (const file of files) {
    const path = toBytes(file.path);
    await writeGuestFile(client, file, options);
    await client.request("chmod", { path, mode: file.mode ?? 0o644 }, options);
    if (file.uid === undefined && file.gid === undefined) continue;
    const owner = { uid: file.uid ?? 0, gid: file.gid ?? 0, follow: true };
    await client.request("chown", { path, ...owner }, options);
  }
}

async function writeGuestFile(
  client: AgentClient,
  { path, content, mode = 0o644 }: BootFile,
  options: { timeoutMs: number; signal?: AbortSignal },
): Promise<void> {
  const stream = client.openStream("out");
  const written = client.request("writeFile", {
    path: toBytes(path),
    stream: stream.id,
    mode,
    parents: true,
  }, options);
  const sending = stream.write(content, options.signal).finally(() => stream.end());
  sending.catch(() => {}); // the request's answer says why
  await written;
}
