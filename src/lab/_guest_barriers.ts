import { AgentLostError } from "../errors.ts";
import { type AgentClient, DIR_ENTRY, readShape, toBytes, toText } from "../wire/mod.ts";
import { splitValues } from "./_transfer.ts";
import type { Barriers } from "./barrier.ts";
import { joinBytes } from "./paths.ts";
import { type FileType, fileType } from "./stat.ts";
import { RawWatch } from "./watch.ts";

/** Where processes of the guest ask to take part; any user may. */
const FOLDER = toBytes("/run/belljar/barriers");
const IN_MOVED_TO = 0x80;
const MAX_REQUEST = 512;
/** O_NOFOLLOW | O_CLOEXEC by architecture: another user of the guest may have put a link there. */
const OPEN_FLAGS: Record<string, number> = { x86_64: 0o2400000, aarch64: 0o2100000 };
const O_WRONLY = 0o1;
const O_NONBLOCK = 0o4000;
/** How long a process may take to open the fifo in which it waits for its answer. */
const ANSWER_MS = 10_000;

/**
 * Lets processes of a guest take part in barriers by `belljar-barrier`, for as long as the conversation lasts. A request is
 * a file with count, timeout and name that is moved into a folder; its answer goes into a fifo beside it.
 */
export async function serveGuestBarriers(client: AgentClient, barriers: Barriers): Promise<void> {
  try {
    await client.request("mkdir", { path: FOLDER, mode: 0o755, recursive: true });
    await client.request("chmod", { path: FOLDER, mode: 0o1777 });
    const known = new Set<string>();
    const take = (name: Uint8Array) => {
      const text = toText(name);
      if (!text.endsWith(".wait") || known.has(text)) return;
      known.add(text);
      // What another user of the guest has put there is no request, and nobody waits for an answer.
      answer(client, barriers, name).catch(() => {}).finally(() => known.delete(text));
    };
    await RawWatch.open(client, 0, { path: FOLDER, mask: IN_MOVED_TO }, ({ name }) => take(name));
    for (const name of await namesIn(client, FOLDER)) take(name);
  } catch (error) {
    // A guest without that folder has no belljar-barrier either; the machine itself is told of elsewhere.
    if (error instanceof AgentLostError || "errno" in (error as object)) return;
    throw error;
  }
}

async function answer(client: AgentClient, barriers: Barriers, name: Uint8Array): Promise<void> {
  const path = joinBytes(FOLDER, name);
  const request = toText(await readSmall(client, path));
  const [, count, timeout, barrier] =
    /^(\d{1,6})\n(\d{1,6}(?:\.\d+)?)\n([^\n]{1,200})$/.exec(request) ?? [];
  if (!count || !timeout || !barrier) return;
  const gone = new AbortController();
  client.closed.then((reason) => gone.abort(reason));
  const code = await barriers.arrive(barrier, Number(count), Number(timeout), {
    signal: gone.signal,
  }).then((all) => all ? "0" : "1", () => "2");
  const fifo = path.slice();
  fifo.set(toBytes("fifo"), fifo.length - 4);
  // Not O_NONBLOCK: the process opens its end after it has asked.
  await withFile(client, { path: fifo, flags: O_WRONLY, type: "fifo" }, async (file) => {
    await client.request("fileWrite", { file, data: toBytes(`${code}\n`) });
  });
}

async function readSmall(client: AgentClient, path: Uint8Array): Promise<Uint8Array> {
  return await withFile(client, { path, flags: O_NONBLOCK, type: "file" }, async (file) => {
    return (await client.request("fileRead", { file, length: MAX_REQUEST })).data;
  });
}

async function withFile<T>(
  client: AgentClient,
  { path, flags, type }: { path: Uint8Array; flags: number; type: FileType },
  fn: (file: number) => Promise<T>,
): Promise<T> {
  const file = client.newId();
  const all = (OPEN_FLAGS[client.agent.arch] ?? 0) | flags;
  await client.request("fileOpen", { file, path, flags: all, mode: 0 }, { timeoutMs: ANSWER_MS });
  try {
    const stat = await client.request("fileStat", { file });
    if (fileType(stat.type) !== type) {
      throw new TypeError("Something else lies where a request was expected");
    }
    return await fn(file);
  } finally {
    await client.request("fileClose", { file });
  }
}

async function namesIn(client: AgentClient, path: Uint8Array): Promise<Uint8Array[]> {
  const stream = client.openStream("in");
  try {
    const data = stream.collect();
    data.catch(() => {}); // The request tells why.
    await client.request("readDir", { path, stream: stream.id });
    return splitValues(await data).map((value) => readShape(DIR_ENTRY, value, "entry").name);
  } finally {
    client.dropStream(stream);
  }
}
