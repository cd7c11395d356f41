import {
  AgentLostError,
  type BelljarError,
  BootError,
  DeadlineError,
  StateError,
} from "../../errors.ts";
import { removeTree } from "../../host/mod.ts";
import type { BootFile } from "../../image/mod.ts";
import { formatSeconds } from "../../values/duration.ts";
import { AgentClient } from "../../wire/mod.ts";
import type { ConsoleLog } from "../console_log.ts";
import { ControlPort } from "../control_port.ts";
import {
  type AgentSecret,
  drawSecret,
  giveIdentity,
  type IdentityOptions,
  writeGuestFiles,
} from "../identity.ts";
import type {
  EndReason,
  Machine,
  MachineEnd,
  MachineInfo,
  SavedState,
  SaveOptions,
} from "../types.ts";
import { bootStage, panicLine } from "./boot_stage.ts";
import type { QemuProcess } from "./launch.ts";
import { QmpClient, type QmpEvent } from "./qmp.ts";

/** What a {@linkcode QemuMachine} is made of. */
export interface QemuMachineParts {
  name: string;
  dir: string;
  qemu: QemuProcess;
  console: ConsoleLog;
  info: MachineInfo;
  /** The secret that the initial RAM file system brings: also after a reset. */
  bootSecret: Uint8Array;
  identity: Omit<IdentityOptions, "signal">;
  /** Files to write once the agent answers. */
  files: readonly BootFile[];
  /** When QEMU was started, by `performance.now()`. */
  startedMs: number;
  /** Saves it; missing where there is nothing that could be saved at rest. */
  save?: (machine: QemuMachine, options: SaveOptions) => Promise<SavedState>;
}

const QUIT_MS = 3_000;
const RESTART_MS = 15_000;
/** The console's bytes come by another socket than the news of a panic. */
const PANIC_TEXT_MS = 500;

/** A machine that QEMU runs. */
export class QemuMachine implements Machine {
  readonly name: string;
  readonly info: MachineInfo;
  readonly console: ConsoleLog;
  readonly ended: Promise<MachineEnd>;
  /** QEMU's monitor. */
  readonly qmp: QmpClient;
  /** Folder with its sockets. */
  readonly dir: string;
  readonly #parts: QemuMachineParts;
  readonly #port: ControlPort;
  #client: AgentClient | undefined;
  #auth: AgentSecret | undefined;
  #portOpen = false;
  #portOpened = false;
  /** Set while conversations begin and end by the harness' own doing. */
  #expectPort = true;
  #listeners = new Set<(client: AgentClient) => void>();
  #wanted: "quit" | "killed" | undefined;
  #shutdown: { guest: boolean; reason: string } | undefined;
  #end = Promise.withResolvers<MachineEnd>();
  #hasEnded = false;
  #closing: Promise<void> | undefined;

  constructor(parts: QemuMachineParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.info = parts.info;
    this.dir = parts.dir;
    this.console = parts.console;
    this.console.attach(parts.qemu.console);
    this.#port = new ControlPort(parts.qemu.control);
    this.qmp = new QmpClient(parts.qemu.qmp);
    this.qmp.on((event) => this.#onEvent(event));
    this.ended = this.#end.promise;
    parts.qemu.process.status.then((status) => this.#onExit(status));
  }

  get client(): AgentClient | undefined {
    return this.#client;
  }

  onAgent(fn: (client: AgentClient) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  /**
   * Begins the conversation with the agent, in place of any before.
   *
   * @throws {BootError} If the agent does not answer in time, or the machine ends.
   */
  async connect(auth: AgentSecret, timeoutMs: number, signal?: AbortSignal): Promise<AgentClient> {
    this.#auth = auth;
    const stop = new AbortController();
    const onAbort = () => stop.abort(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const timer = setTimeout(() => stop.abort(SILENT), timeoutMs);
    this.ended.then((end) => stop.abort(end));
    try {
      const client = await AgentClient.connect(this.#port.session(), {
        ...auth,
        machine: this.name,
        signal: stop.signal,
      });
      this.#client = client;
      this.#expectPort = false;
      client.closed.then((reason) => this.#onLost(client, reason));
      return client;
    } catch (error) {
      signal?.throwIfAborted();
      if (stop.signal.reason === SILENT) {
        const limit = formatSeconds(timeoutMs / 1000);
        throw await this.#bootError(`its agent did not answer within ${limit}`, error);
      }
      if (stop.signal.aborted) {
        throw await this.#bootError("it ended before its agent answered", error);
      }
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** When QEMU was started, by `performance.now()`. */
  get startedMs(): number {
    return this.#parts.startedMs;
  }

  /** What the agent knows now. */
  get auth(): AgentSecret | undefined {
    return this.#auth;
  }

  /** Gives the machine its identity and its files; later conversations use the secret that comes with it. */
  async personalize(signal?: AbortSignal): Promise<void> {
    const client = this.#assertClient();
    const { identity, files } = this.#parts;
    this.#auth = await giveIdentity(client, { ...identity, signal });
    await writeGuestFiles(client, files, { timeoutMs: identity.timeoutMs, signal });
  }

  /** Brings the agent to rest and ends the conversation, so that the machine's state can be saved. */
  async quiesce(signal?: AbortSignal): Promise<void> {
    const client = this.#assertClient();
    const { timeoutMs } = this.#parts.identity;
    await client.request("quiesce", {}, { timeoutMs, signal });
    this.#expectPort = true;
    this.#client = undefined;
    client.close(new AgentLostError(`Machine "${this.name}" is being saved`));
  }

  async pause(): Promise<void> {
    await this.qmp.execute("stop");
  }

  async resume(): Promise<void> {
    await this.qmp.execute("cont");
  }

  async reset(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<AgentClient> {
    const timeoutMs = options.timeoutMs ?? this.#parts.identity.timeoutMs;
    this.#assertRunning("reset");
    this.#expectPort = true;
    this.#client?.close(new AgentLostError(`Machine "${this.name}" was reset`));
    this.#client = undefined;
    // Otherwise a reset would end QEMU, as one by the guest does.
    await this.qmp.execute("set-action", { reboot: "reset" });
    const done = this.qmp.waitFor("RESET", ({ event }) => event === "RESET", options);
    await this.qmp.execute("system_reset");
    await done;
    await this.qmp.execute("cont"); // a pause must not outlive the reset
    const auth = { ...drawSecret(), secret: this.#parts.bootSecret };
    const client = await this.connect(auth, timeoutMs, options.signal);
    await this.qmp.execute("set-action", { reboot: "shutdown" });
    await this.personalize(options.signal);
    this.#tell(client);
    return client;
  }

  async powerButton(): Promise<void> {
    await this.qmp.execute("system_powerdown");
  }

  async quit(): Promise<void> {
    if (this.#hasEnded && !this.#alive) return;
    this.#wanted ??= "quit";
    await this.qmp.execute("quit", undefined, { timeoutMs: QUIT_MS }).catch(() => {}); // or it is gone
    const timer = setTimeout(() => this.#parts.qemu.process.kill(), QUIT_MS);
    await this.#parts.qemu.process.status;
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    this.#wanted ??= "killed";
    this.#parts.qemu.process.kill();
    await this.#parts.qemu.process.status;
  }

  /** Lets it go on after a save, with a new conversation. */
  async wake(auth: AgentSecret): Promise<void> {
    if (this.#hasEnded) return;
    await this.resume();
    this.#tell(await this.connect(auth, this.#parts.identity.timeoutMs));
  }

  async save(options: SaveOptions = {}): Promise<SavedState> {
    this.#assertRunning("save");
    this.#assertClient();
    if (this.#parts.save) return await this.#parts.save(this, options);
    throw new StateError(`Cannot save machine "${this.name}": it has disks or network cards`, {
      next: "save it before they are attached, or use a machine without them",
    });
  }

  /** Kills it and removes its sockets; the console's file stays. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.kill();
    await this.ended;
    this.qmp.close();
    this.#port.close();
    await this.console.ended;
    await this.#parts.qemu.process[Symbol.asyncDispose]();
    await removeTree(this.dir);
  }

  get #alive(): boolean {
    return this.#exit === undefined;
  }
  #exit: Deno.CommandStatus | undefined;

  #onEvent({ event, data }: QmpEvent): void {
    if (event === "SHUTDOWN") {
      this.#shutdown = { guest: data.guest === true, reason: String(data.reason) };
    } else if (event === "GUEST_PANICKED") {
      this.#onPanic();
    } else if (event === "VSERPORT_CHANGE" && data.id === "control") {
      this.#portOpen = data.open === true;
      if (this.#portOpen) this.#portOpened = true;
      this.#onPort();
    }
  }

  /** The agent proper ended, or was started again by process 1. */
  #onPort(): void {
    if (this.#expectPort || this.#hasEnded) return;
    if (!this.#portOpen) {
      const client = this.#client;
      this.#expectPort = true;
      client?.close(
        new AgentLostError(`The agent of machine "${this.name}" is lost: its process ended`, {
          actual: this.console.tail(3) || undefined,
          next: "see the console; process 1 starts the agent again once",
        }),
      );
      this.#client = undefined;
      // Process 1 hands the agent the secret that came with the boot.
      const auth = { ...drawSecret(), secret: this.#parts.bootSecret };
      this.connect(auth, RESTART_MS).then(
        (again) => this.#tell(again),
        () => this.#drop("its agent did not come back"),
      );
    }
  }

  #tell(client: AgentClient): void {
    for (const listener of [...this.#listeners]) listener(client);
  }

  /** A conversation ended although its agent runs: it said what no agent says. */
  #onLost(client: AgentClient, reason: AgentLostError): void {
    if (this.#client !== client || this.#expectPort || this.#hasEnded) return;
    this.#drop(reason.message);
  }

  #drop(detail: string): void {
    if (this.#hasEnded) return;
    this.#finish({ reason: "agentLost", detail, stderr: this.#parts.qemu.stderr() });
    this.#parts.qemu.process.kill();
  }

  async #onPanic(): Promise<void> {
    const detail = await this.#panicText();
    this.#finish({ reason: "panic", detail, stderr: this.#parts.qemu.stderr() });
  }

  async #panicText(): Promise<string> {
    const found = Promise.withResolvers<void>();
    const look = () => {
      if (panicLine(this.console.tail(200))) found.resolve();
    };
    const off = this.console.onData(look);
    const timer = setTimeout(found.resolve, PANIC_TEXT_MS);
    look();
    await found.promise;
    clearTimeout(timer);
    off();
    return panicLine(this.console.tail(200)) ?? "the kernel gave up without a word";
  }

  async #onExit(status: Deno.CommandStatus): Promise<void> {
    this.#exit = status;
    await this.console.ended; // its last words tell why
    const { reason, detail } = this.#why(status);
    this.#finish({
      reason,
      detail,
      exitCode: status.code,
      signal: status.signal ?? undefined,
      stderr: this.#parts.qemu.stderr(),
    });
    this.qmp.close();
  }

  #why(status: Deno.CommandStatus): { reason: EndReason; detail?: string } {
    const panic = panicLine(this.console.tail(200));
    const reason = this.#shutdown?.reason;
    if (reason === "guest-panic" || (reason === "guest-reset" && panic)) {
      return { reason: "panic", detail: panic };
    }
    if (reason === "guest-shutdown") return { reason: "guestPoweroff" };
    if (reason === "guest-reset") return { reason: "guestReboot" };
    if (this.#wanted) return { reason: this.#wanted };
    if (status.signal) return { reason: "crashed", detail: `QEMU was ended by ${status.signal}` };
    if (reason === "host-signal") return { reason: "killed", detail: "QEMU was asked to end" };
    return { reason: "crashed", detail: `QEMU ended with code ${status.code}` };
  }

  #finish(end: MachineEnd): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#client?.close(
      new AgentLostError(`Machine "${this.name}" ${describeEnd(end)}`, {
        code: end.reason === "panic" ? "GUEST_PANIC" : "MACHINE_ENDED",
        actual: end.detail,
        next: end.reason === "killed" ? undefined : `read "${this.console.path}"`,
      }),
    );
    this.#end.resolve(end);
  }

  #assertRunning(verb: string): void {
    if (!this.#hasEnded) return;
    throw new StateError(`Cannot ${verb} machine "${this.name}": it has ended`, {
      next: "boot it again",
    });
  }

  #assertClient(): AgentClient {
    if (this.#client) return this.#client;
    throw new StateError(`Machine "${this.name}" has no agent`, {
      next: 'start it without `expect: "no-agent"`',
    });
  }

  async #bootError(why: string, cause: unknown): Promise<BelljarError> {
    const registers = await this.qmp.execute<string>("human-monitor-command", {
      "command-line": "info registers",
    }, { timeoutMs: 1_000 }).catch(() => ""); // it may be gone: the console has to do
    const text = this.console.text();
    const stage = bootStage({ console: text, portOpened: this.#portOpened, registers });
    const end = this.#hasEnded ? await this.ended : undefined;
    const lines = this.console.tail(40);
    return new BootError(`Cannot boot machine "${this.name}": ${why}`, {
      stage,
      code: end?.reason === "panic" ? "GUEST_PANIC" : "BOOT",
      consolePath: this.console.path,
      consoleTail: lines,
      stderr: this.#parts.qemu.stderr(),
      actual: `it came as far as the ${stage}${end?.detail ? `: ${end.detail}` : ""}${
        lines ? `; its console ends with\n${lines.split("\n").slice(-8).join("\n")}` : ""
      }`,
      next: lines
        ? `read "${this.console.path}"`
        : 'boot it with `cmdlineAppend: "ignore_loglevel"` to see the kernel\'s messages',
      cause: cause instanceof DeadlineError || cause === SILENT ? undefined : cause,
    });
  }
}

/** Marks the end of the wait for the agent. */
const SILENT = new DOMException("The agent is silent", "TimeoutError");

function describeEnd({ reason, detail }: MachineEnd): string {
  switch (reason) {
    case "panic":
      return `panicked: ${detail}`;
    case "guestPoweroff":
      return "was powered off by its guest";
    case "guestReboot":
      return "was rebooted by its guest";
    case "agentLost":
      return `was ended: ${detail}`;
    case "crashed":
      return `crashed: ${detail}`;
    case "quit":
      return "was shut down";
    case "killed":
      return "was killed";
  }
}
