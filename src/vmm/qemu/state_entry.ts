import { LIMITS } from "../../wire/mod.ts";
import { sha256Hex } from "../_hash.ts";
import { readJson, writeJson } from "../_json_file.ts";
import type { AgentSecret } from "../identity.ts";
import type { NicPlan } from "./argv.ts";
import type { SavedDisk } from "./saved_disks.ts";
import { sampleDigest } from "./ram_file.ts";

/** Facts about a state that others need to start machines from it. */
export interface StateFacts {
  memoryBytes: number;
  cpus: number;
  cmdline: string;
  kernel?: string;
  kernelRelease: string;
  hasInitrd: boolean;
  /** Whether it has an address on vsock; each machine that is started from it gets another one. */
  vsock?: boolean;
  /** Disks, in the order of their devices; missing in a template. */
  disks?: SavedDisk[];
  /** Network cards, in the order of their devices. */
  nics?: Omit<NicPlan, "socketPath">[];
  /** Bytes of the overlay with what the saved machine wrote to its image's disk, if that has one. */
  diskSize?: number;
  /** Whether the secret comes by the firmware. */
  hasFirmwareSecret?: boolean;
  imageDigest: string;
  qemu: string;
  /** Milliseconds that its making took. */
  buildMs: number;
}

interface Manifest extends StateFacts {
  version: number;
  stateSha256: string;
  ramSize: number;
  ramSample: string;
}

interface Secrets {
  secret: string;
  epoch: string;
  lastId?: number;
  bootSecret: string;
}

/** A state on disk from which machines can be started: memory, devices, secrets. Never written once it is complete. */
export interface StateEntry {
  dir: string;
  facts: StateFacts;
  /** What the saved agent knows. */
  auth: AgentSecret;
  /** What an agent knows that boots again from the entry's initial RAM file system. */
  bootSecret: Uint8Array;
  /** State of the devices. */
  state: Uint8Array;
  /** What the console had said. */
  console: Uint8Array;
}

/** Changes whenever files of an entry change their meaning; part of every key by which entries are found. */
export const ENTRY_VERSION = 4;

/** Names of the files of an entry. */
export const ENTRY_FILES = {
  ram: "ram",
  state: "state",
  initrd: "initrd",
  disk: "root.qcow2",
  firmwareSecret: "secret",
  console: "console.log",
  manifest: "manifest.json",
  secrets: "secrets.json",
} as const;

/** Completes an entry: everything else lies in `dir` already. */
export async function sealEntry(
  dir: string,
  facts: StateFacts,
  secrets: { auth: AgentSecret; bootSecret: Uint8Array },
): Promise<void> {
  const { size, sample } = await sampleDigest(`${dir}/${ENTRY_FILES.ram}`);
  await writeJson(
    `${dir}/${ENTRY_FILES.secrets}`,
    {
      secret: secrets.auth.secret.toBase64(),
      epoch: secrets.auth.epoch.toBase64(),
      lastId: secrets.auth.lastId,
      bootSecret: secrets.bootSecret.toBase64(),
    } satisfies Secrets,
  );
  await writeJson(
    `${dir}/${ENTRY_FILES.manifest}`,
    {
      version: ENTRY_VERSION,
      ...facts,
      stateSha256: await sha256Hex(await Deno.readFile(`${dir}/${ENTRY_FILES.state}`)),
      ramSize: size,
      ramSample: sample,
    } satisfies Manifest,
  );
}

/** Puts an entry on disk. Before it gets its name: a power loss must not leave a complete name on incomplete files. */
export async function syncEntry(dir: string): Promise<void> {
  for await (const { name, isFile } of Deno.readDir(dir)) {
    if (!isFile) continue;
    using file = await Deno.open(`${dir}/${name}`, { read: true, write: true });
    await file.sync();
  }
}

/** Reads and verifies an entry. Returns why it cannot be used, `undefined` if there is none. */
export async function readEntry(
  dir: string,
): Promise<StateEntry | { damage: string } | undefined> {
  const manifest = await readJson<Manifest>(`${dir}/${ENTRY_FILES.manifest}`);
  if (!manifest) {
    return await exists(dir) ? { damage: "its manifest is missing or damaged" } : undefined;
  }
  if (manifest.version !== ENTRY_VERSION) return { damage: `it is of version ${manifest.version}` };
  const secrets = await readSecrets(dir);
  if (!secrets) return { damage: "its secrets are missing or damaged" };
  try {
    const state = await Deno.readFile(`${dir}/${ENTRY_FILES.state}`);
    if (await sha256Hex(state) !== manifest.stateSha256) {
      return { damage: "the checksum of its state differs" };
    }
    const { size, sample } = await sampleDigest(`${dir}/${ENTRY_FILES.ram}`);
    if (manifest.diskSize !== undefined) {
      const { size } = await Deno.stat(`${dir}/${ENTRY_FILES.disk}`);
      if (size !== manifest.diskSize) return { damage: `its disk has ${size} bytes` };
    }
    if (size !== manifest.ramSize) return { damage: `its memory has ${size} bytes` };
    if (sample !== manifest.ramSample) return { damage: "the checksum of its memory differs" };
    return {
      dir,
      facts: manifest as Manifest,
      ...secrets,
      state,
      console: await Deno.readFile(`${dir}/${ENTRY_FILES.console}`),
    };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { damage: "a file of it is missing" };
    throw error;
  }
}

async function readSecrets(
  dir: string,
): Promise<Pick<StateEntry, "auth" | "bootSecret"> | undefined> {
  const found = await readJson<Secrets>(`${dir}/${ENTRY_FILES.secrets}`);
  try {
    const [secret, epoch, bootSecret] = [found?.secret, found?.epoch, found?.bootSecret]
      .map((text) => Uint8Array.fromBase64(String(text))) as [Uint8Array, Uint8Array, Uint8Array];
    const { SECRET_SIZE, NONCE_SIZE } = LIMITS;
    const isWhole = secret.length === SECRET_SIZE && bootSecret.length === SECRET_SIZE &&
      epoch.length === NONCE_SIZE;
    return isWhole ? { auth: { secret, epoch, lastId: found?.lastId }, bootSecret } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined; // no base64
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}
