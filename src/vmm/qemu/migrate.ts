import { HostError } from "../../errors.ts";
import { pause } from "../../host/mod.ts";
import { type QmpClient, QmpError } from "./qmp.ts";

/** Options for {@linkcode saveState} and {@linkcode loadState}. */
export interface MigrateOptions {
  /** Whether memory in shared files stays there and is not part of the state. */
  ignoreShared: boolean;
  /** Folder with room for a socket. */
  dir: string;
  /** Name of the machine, for errors. */
  machine: string;
  /** @default {60_000} */
  timeoutMs?: number;
  signal?: AbortSignal;
}

const TIMEOUT_MS = 60_000;
/** Bytes per second: the default would stretch a save of memory to seconds. */
const NO_LIMIT = 2 ** 40;
const FINALIZE_LOOK_MS = 2;

/** Whether this QEMU can leave shared memory out of a state; without it there are no templates. */
export async function canIgnoreShared(qmp: QmpClient): Promise<boolean> {
  const list = await qmp.execute<{ capability: string }[]>("query-migrate-capabilities");
  return list.some(({ capability }) => capability === "x-ignore-shared");
}

/**
 * Writes the state of a stopped machine to a file.
 *
 * @returns Its size.
 */
export async function saveState(
  qmp: QmpClient,
  path: string,
  options: MigrateOptions,
): Promise<number> {
  const { dir, timeoutMs = TIMEOUT_MS, signal } = options;
  await prepare(qmp, options);
  await qmp.execute("migrate-set-parameters", { "max-bandwidth": NO_LIMIT }, { signal });
  const socket = `${dir}/s`;
  const listener = Deno.listen({ transport: "unix", path: socket });
  try {
    using file = await Deno.open(path, { createNew: true, write: true, mode: 0o600 });
    const done = completion(qmp, timeoutMs, signal);
    done.catch(() => {}); // looked at below, unless the command fails first
    await qmp.execute("migrate", { uri: `unix:${socket}` }, { signal });
    const received = receive(listener, file);
    received.catch(() => {}); // QEMU's word comes first
    await done;
    return await received;
  } catch (error) {
    const why = await reason(qmp, error);
    // Otherwise it would go on, and the machine could not.
    await qmp.execute("migrate_cancel").catch(() => {}); // gone, or not begun
    await finalizeSave(qmp).catch(() => {}); // as above
    signal?.throwIfAborted();
    throw cannot("save", options, why);
  } finally {
    listener.close();
    await Deno.remove(socket).catch(() => {}); // the folder is removed anyway
  }
}

/** Loads a state into a machine that waits for one; it is stopped afterwards. */
export async function loadState(
  qmp: QmpClient,
  state: Uint8Array | string,
  options: MigrateOptions,
): Promise<void> {
  const { dir, timeoutMs = TIMEOUT_MS, signal } = options;
  const socket = `${dir}/i`;
  try {
    const done = completion(qmp, timeoutMs, signal);
    done.catch(() => {}); // as above
    // QEMU takes commands in order: the second need not wait for the answer to the first.
    await Promise.all([
      prepare(qmp, options),
      qmp.execute("migrate-incoming", { uri: `unix:${socket}` }, { signal }),
    ]);
    const sent = send(socket, state);
    sent.catch(() => {}); // QEMU's word comes first
    await done;
    await sent;
  } catch (error) {
    signal?.throwIfAborted();
    throw cannot("load", options, error);
  } finally {
    await Deno.remove(socket).catch(() => {}); // QEMU removed it
  }
}

/** Waits until a machine whose state was saved may run again. */
export async function finalizeSave(qmp: QmpClient, signal?: AbortSignal): Promise<void> {
  const giveUpAt = performance.now() + TIMEOUT_MS;
  for (;;) {
    // No event tells: "cont" is refused until the state is "postmigrate".
    const { status } = await qmp.execute<{ status: string }>("query-status", undefined, { signal });
    if (status !== "finish-migrate") return;
    if (performance.now() > giveUpAt) throw new QmpError("QEMU does not finish a save", "cont");
    await pause(FINALIZE_LOOK_MS, signal);
  }
}

async function prepare(qmp: QmpClient, { ignoreShared, signal }: MigrateOptions): Promise<void> {
  const capabilities = [
    { capability: "events", state: true },
    { capability: "x-ignore-shared", state: ignoreShared },
  ];
  await qmp.execute("migrate-set-capabilities", { capabilities }, { signal });
}

async function completion(qmp: QmpClient, timeoutMs: number, signal?: AbortSignal): Promise<void> {
  const { data } = await qmp.waitFor(
    "the end of a migration",
    ({ event, data }) =>
      event === "MIGRATION" && (data.status === "completed" || data.status === "failed"),
    { timeoutMs, signal },
  );
  if (data.status !== "completed") throw new QmpError("the migration failed", "migrate");
}

async function receive(listener: Deno.Listener, file: Deno.FsFile): Promise<number> {
  const conn = await listener.accept();
  try {
    const buffer = new Uint8Array(256 * 1024);
    let size = 0;
    for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
      for (let at = 0; at < n;) at += await file.write(buffer.subarray(at, n));
      size += n;
    }
    return size;
  } finally {
    conn.close();
  }
}

async function send(socket: string, state: Uint8Array | string): Promise<void> {
  const conn = await Deno.connect({ transport: "unix", path: socket });
  try {
    const write = async (chunk: Uint8Array) => {
      for (let at = 0; at < chunk.length;) at += await conn.write(chunk.subarray(at));
    };
    if (typeof state !== "string") return await write(state);
    using file = await Deno.open(state);
    const buffer = new Uint8Array(256 * 1024);
    for (let n = await file.read(buffer); n !== null; n = await file.read(buffer)) {
      await write(buffer.subarray(0, n));
    }
  } finally {
    conn.close();
  }
}

async function reason(qmp: QmpClient, error: unknown): Promise<unknown> {
  const info = await qmp.execute<{ "error-desc"?: string }>("query-migrate").catch(() => undefined);
  const text = info?.["error-desc"];
  return text ? new QmpError(text, "migrate") : error;
}

function cannot(
  verb: "save" | "load",
  { machine }: MigrateOptions,
  cause: unknown,
): HostError {
  return new HostError(`Cannot ${verb} the state of machine "${machine}"`, {
    code: verb === "save" ? "SAVE_FAILED" : "LOAD_FAILED",
    actual: cause instanceof Error ? cause.message : String(cause),
    next: verb === "save"
      ? "see whether the disk is full, and whether the machine has a device that cannot be saved"
      : "remove the cached state (belljar clean) and start again",
    cause,
  });
}
