import { AgentLostError, BootError, StateError } from "../../errors.ts";
import { type GuardedProcess, killQuietly, removeTree } from "../../host/mod.ts";
import { formatSeconds } from "../../values/duration.ts";
import { AgentClient, type ConnectOptions } from "../../wire/mod.ts";
import type { ConsoleLog } from "../console_log.ts";
import type { AgentSecret } from "../identity.ts";
import { connectVsock } from "../vsock.ts";
import type { Machine, MachineEnd, MachineInfo, SavedState } from "../types.ts";

/** What a {@linkcode LocalMachine} is made of. */
export interface LocalMachineParts {
  name: string;
  dir: string;
  info: MachineInfo;
  console: ConsoleLog;
  process: GuardedProcess;
  listener: Deno.Listener;
}

const QUIT_MS = 3_000;

/** The agent as a process of the host: no kernel, no hardware, and a start in milliseconds. */
export class LocalMachine implements Machine {
  readonly name: string;
  readonly info: MachineInfo;
  readonly console: ConsoleLog;
  readonly ended: Promise<MachineEnd>;
  readonly #parts: LocalMachineParts;
  #client: AgentClient | undefined;
  /** The conversation on the unix socket: the agent ends when it does. */
  #control: AgentClient | undefined;
  #wanted: "quit" | "killed" | undefined;
  #end: MachineEnd | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: LocalMachineParts) {
    this.name = parts.name;
    this.info = parts.info;
    this.console = parts.console;
    this.#parts = parts;
    this.ended = parts.process.status.then((status) => this.#onExit(status));
  }

  get client(): AgentClient | undefined {
    return this.#client;
  }

  /** Takes the agent's connection. */
  async connect(auth: AgentSecret, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const { listener } = this.#parts;
    const stop = new AbortController();
    const onAbort = () => stop.abort(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const timer = setTimeout(() => {
      const limit = formatSeconds(timeoutMs / 1000);
      stop.abort(this.#bootError(`its agent did not answer within ${limit}`));
    }, timeoutMs);
    this.ended.then(() => stop.abort(this.#bootError("its agent ended before it answered")));
    stop.signal.addEventListener("abort", () => closeQuietly(listener), { once: true });
    try {
      const options = { ...auth, machine: this.name, signal: stop.signal };
      const serving = Promise.withResolvers<{ cid: number; port: number }>();
      this.#control = await AgentClient.connect(await listener.accept(), {
        ...options,
        onEvent: (event) => event.ev === "serving" && serving.resolve(event),
      });
      stop.signal.addEventListener("abort", () => serving.reject(stop.signal.reason));
      serving.promise.catch(() => {}); // only vsock waits for it
      this.#client = this.info.transport === "vsock"
        ? await this.#connectVsock(await serving.promise, options)
        : this.#control;
    } catch (error) {
      stop.signal.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      closeQuietly(listener);
    }
    // Without its agent nothing of this machine is left.
    this.#client.closed.then(() => this.#parts.process.kill());
    this.#control.closed.then(() => this.#parts.process.kill());
  }

  async #connectVsock(
    at: { cid: number; port: number },
    options: ConnectOptions & { signal: AbortSignal },
  ): Promise<AgentClient> {
    const conn = await connectVsock({ ...at, signal: options.signal });
    let isProven = false;
    conn.ended.then(() => isProven ? this.#parts.process.kill() : conn.close());
    const client = await AgentClient.connect(conn, options);
    isProven = true;
    return client;
  }

  onAgent(): () => void {
    return () => {}; // there is never another conversation
  }

  pause(): Promise<void> {
    return this.#refuse("pause");
  }

  resume(): Promise<void> {
    return this.#refuse("resume");
  }

  reset(): Promise<AgentClient> {
    return this.#refuse("reset");
  }

  powerButton(): Promise<void> {
    return this.#refuse("press the power button of");
  }

  attachDisk(): Promise<void> {
    return this.#refuse("attach a disk to");
  }

  attachNic(): Promise<void> {
    return this.#refuse("attach a network card to");
  }

  save(): Promise<SavedState> {
    return this.#refuse("save");
  }

  async quit(): Promise<void> {
    if (this.#end) return;
    this.#wanted ??= "quit";
    const { process } = this.#parts;
    // The agent ends what runs under it when its control conversation ends.
    const reason = new AgentLostError(`Machine "${this.name}" was shut down`);
    this.#client?.close(reason);
    this.#control?.close(reason);
    const timer = setTimeout(() => process.kill(), QUIT_MS);
    await process.status;
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    this.#wanted ??= "killed";
    killQuietly(-this.#parts.process.pid, "SIGKILL");
    await this.#parts.process.status;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.kill();
    await this.ended;
    closeQuietly(this.#parts.listener);
    await this.#parts.process[Symbol.asyncDispose]();
    await removeTree(this.#parts.dir);
  }

  #refuse(verb: string): Promise<never> {
    return Promise.reject(
      new StateError(`Cannot ${verb} machine "${this.name}": it runs on the host itself`, {
        code: "NOT_LOCAL",
        expected: "a machine of its own",
        actual: "vmm: local",
        next: "run with --vmm qemu",
      }),
    );
  }

  async #onExit(status: Deno.CommandStatus): Promise<MachineEnd> {
    await this.console.ended;
    const { code: exitCode, signal } = status;
    const how = signal ? `ended by ${signal}` : `ended with code ${exitCode}`;
    this.#end = {
      reason: this.#wanted ?? (exitCode === 0 ? "guestPoweroff" : "agentLost"),
      detail: `the agent ${how}`,
      exitCode,
      signal: signal ?? undefined,
      stderr: this.console.tail(),
    };
    const reason = new AgentLostError(`Machine "${this.name}" has ended`, {
      code: "MACHINE_ENDED",
      actual: this.#end.detail,
    });
    this.#client?.close(reason);
    this.#control?.close(reason);
    return this.#end;
  }

  #bootError(why: string): BootError {
    const stderr = this.console.tail();
    return new BootError(`Cannot start machine "${this.name}": ${why}`, {
      stage: "agent",
      consolePath: this.console.path,
      consoleTail: stderr,
      stderr,
      actual: stderr || "it wrote nothing",
      next: "run belljar doctor",
    });
  }
}

function closeQuietly(resource: { close(): void }): void {
  try {
    resource.close();
  } catch {
    // Closed already.
  }
}
