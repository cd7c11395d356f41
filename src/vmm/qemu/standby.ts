import { AgentLostError } from "../../errors.ts";
import { AgentClient } from "../../wire/mod.ts";
import { giveIdentity } from "../identity.ts";
import type { StandbyMachine } from "../types.ts";
import { loadClone, type LoadedClone } from "./clone.ts";
import type { StartContext } from "./start.ts";
import type { StateEntry } from "./state_entry.ts";
import { runOnce } from "./warm_up.ts";

/** What errors and QEMU call a machine that is nobody's yet. */
const NAME = "standby";

/** A clone that waits, stopped, for the machine that it becomes. */
export class QemuStandby implements StandbyMachine {
  /** What the machines have in common that it can become. */
  readonly key: string;
  readonly pid: number;
  readonly ended: Promise<void>;
  #loaded: LoadedClone | undefined;

  constructor(key: string, loaded: LoadedClone) {
    this.key = key;
    this.#loaded = loaded;
    const { process } = loaded.program.qemu;
    this.pid = process.pid;
    this.ended = process.status.then(() => this[Symbol.asyncDispose]());
  }

  /** Hands it over, once; nothing if it has ended. */
  take(): LoadedClone | undefined {
    const loaded = this.#loaded;
    this.#loaded = undefined;
    return loaded;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.take()?.[Symbol.asyncDispose]();
  }
}

/** Options for {@linkcode prepareStandby}. */
export interface PrepareStandbyOptions {
  key: string;
  entry: StateEntry;
  /**
   * Longest wait for the agent, to which the clone is used once.
   *
   * @default it is not: what runs in it already shall not go on before it is asked for
   */
  agentTimeoutMs?: number;
  signal?: AbortSignal;
}

/**
 * Prepares a clone as far as that goes without knowing whose it will be: it is loaded, has done once what every machine is
 * asked first, and is stopped. That is what takes time: an emulator has to translate some 25,000 blocks of code for it.
 */
export async function prepareStandby(
  context: StartContext,
  { key, entry, agentTimeoutMs, signal }: PrepareStandbyOptions,
): Promise<QemuStandby> {
  await using failed = new AsyncDisposableStack();
  const loaded = failed.use(await loadClone(context, { name: NAME, entry, signal }));
  if (agentTimeoutMs !== undefined) await warmUp(loaded, agentTimeoutMs, signal);
  loaded.aheadMs = performance.now() - loaded.program.startedMs;
  failed.move(); // the caller's from here on
  return new QemuStandby(key, loaded);
}

async function warmUp(
  loaded: LoadedClone,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { qmp } = loaded.program.qemu;
  const options = { timeoutMs, signal };
  const client = await connect(loaded, options);
  try {
    const auth = await giveIdentity(client, { hostname: NAME, ...options });
    await runOnce(client, options);
    await client.request("quiesce", {}, options);
    loaded.auth = { ...auth, lastId: client.lastId };
  } finally {
    client.close(new AgentLostError("The machine stands by"));
  }
  await qmp.execute("stop", undefined, { signal });
}

/** Lets the guest run and begins a conversation with its agent. */
async function connect(
  { port, auth, program }: LoadedClone,
  { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal },
): Promise<AgentClient> {
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new DOMException("The agent is silent", "TimeoutError")),
    timeoutMs,
  );
  try {
    const [client] = await Promise.all([
      AgentClient.connect(port.session(), {
        ...auth,
        machine: NAME,
        signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
      }),
      program.qemu.qmp.execute("cont", undefined, { signal }),
    ]);
    return client;
  } finally {
    clearTimeout(timer);
  }
}
