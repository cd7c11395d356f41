import { AgentLostError, type BootError, StateError } from "../../errors.ts";
import { removeTree } from "../../host/mod.ts";
import type { BootFile } from "../../image/mod.ts";
import type { AgentClient } from "../../wire/mod.ts";
import type { ConsoleLog } from "../console_log.ts";
import type { ControlPort } from "../control_port.ts";
import {
  type AgentSecret,
  drawSecret,
  giveIdentity,
  type IdentityOptions,
  writeGuestFiles,
} from "../identity.ts";
import type {
  DiskSpec,
  Machine,
  MachineEnd,
  MachineInfo,
  NicSpec,
  SavedState,
  SaveOptions,
} from "../types.ts";
import type { TransportDecision } from "../vsock.ts";
import { AgentLink } from "./agent_link.ts";
import { type DiskPlan, HOTPLUG_PORTS, type NicPlan } from "./argv.ts";
import { prepareDisk } from "./disks.ts";
import type { QemuProcess } from "./launch.ts";
import { endedError, makeBootError, panicText, whyEnded } from "./machine_end.ts";
import { plugDisk, plugNic } from "./plug.ts";
import type { QmpClient, QmpEvent } from "./qmp.ts";

/** What a {@linkcode QemuMachine} is made of. */
export interface QemuMachineParts {
  name: string;
  dir: string;
  qemu: QemuProcess;
  /** The control port. */
  port: ControlPort;
  console: ConsoleLog;
  info: MachineInfo;
  /** The secret that the initial RAM file system brings: also after a reset. */
  bootSecret: Uint8Array;
  identity: Omit<IdentityOptions, "signal">;
  /** Files to write once the agent answers. */
  files: readonly BootFile[];
  /** When QEMU was started, by `performance.now()`. */
  startedMs: number;
  transport: TransportDecision;
  disks: readonly DiskPlan[];
  nics: readonly NicPlan[];
  save: (machine: QemuMachine, options: SaveOptions) => Promise<SavedState>;
}

const QUIT_MS = 3_000;

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
  /** Its disks, in the order of their devices. */
  readonly disks: DiskPlan[];
  /** Its network cards, in the order of their devices. */
  readonly nics: NicPlan[];
  readonly #parts: QemuMachineParts;
  readonly #link: AgentLink;
  #portOpened = false;
  #listeners = new Set<(client: AgentClient) => void>();
  #wanted: "quit" | "killed" | undefined;
  #shutdown: string | undefined;
  #end: MachineEnd | undefined;
  #ending = Promise.withResolvers<MachineEnd>();
  #hasExited = false;
  #isPaused = false;
  #wasReset = false;
  #closing: Promise<void> | undefined;

  constructor(parts: QemuMachineParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.info = parts.info;
    this.dir = parts.dir;
    this.disks = [...parts.disks];
    this.nics = [...parts.nics];
    this.console = parts.console;
    this.console.attach(parts.qemu.console);
    this.ended = this.#ending.promise;
    this.qmp = parts.qemu.qmp;
    this.qmp.on((event) => this.#onEvent(event));
    this.#link = new AgentLink({
      machine: this.name,
      port: parts.port,
      info: this.info,
      transport: parts.transport,
      bootSecret: parts.bootSecret,
      ended: this.ended,
      bootError: (why, cause) => this.#bootError(why, cause),
      onAgent: (client) => this.#tell(client),
      drop: (detail) => this.#drop(detail),
      lastWords: () => this.console.tail(3),
    });
    parts.qemu.process.status.then((status) => this.#onExit(status));
  }

  get client(): AgentClient | undefined {
    return this.#link.client;
  }

  /** The conversation on the control port. */
  get control(): AgentClient {
    return this.#link.control;
  }

  /** When QEMU was started, by `performance.now()`. */
  get startedMs(): number {
    return this.#parts.startedMs;
  }

  /** What the agent knows now. */
  get auth(): AgentSecret | undefined {
    return this.#link.auth;
  }

  /** What an agent knows that boots again. */
  get bootSecret(): Uint8Array {
    return this.#parts.bootSecret;
  }

  onAgent(fn: (client: AgentClient) => void): () => void {
    this.#listeners.add(fn);
    return () => this.#listeners.delete(fn);
  }

  /**
   * Begins the conversation on the control port, in place of any before.
   *
   * @throws {BootError} If the agent does not answer in time, or the machine ends.
   */
  async connect(auth: AgentSecret, timeoutMs: number, signal?: AbortSignal): Promise<AgentClient> {
    return await this.#link.connect(auth, timeoutMs, signal);
  }

  /**
   * Gives the machine its identity and its files; later conversations use the secret that comes with it, also the one that
   * this begins for operations.
   */
  async personalize(signal?: AbortSignal): Promise<void> {
    const { files } = this.#parts;
    // After a boot its cards have the addresses of QEMU's arguments.
    const identity = { ...this.#parts.identity, ...this.#wasReset && { macs: undefined } };
    this.#link.setAuth(await giveIdentity(this.#link.control, { ...identity, signal }));
    const client = await this.#link.operate(identity.timeoutMs, signal);
    await writeGuestFiles(client, files, { timeoutMs: identity.timeoutMs, signal });
  }

  /** Brings the agent to rest and ends the conversation, so that the machine's state can be saved. */
  async quiesce(signal?: AbortSignal): Promise<void> {
    const { timeoutMs } = this.#parts.identity;
    await this.#link.control.request("quiesce", {}, { timeoutMs, signal });
    this.#link.end(new AgentLostError(`Machine "${this.name}" is being saved`));
  }

  async pause(): Promise<void> {
    await this.qmp.execute("stop");
    this.#isPaused = true;
  }

  async resume(): Promise<void> {
    await this.qmp.execute("cont");
    this.#isPaused = false;
  }

  async reset(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<AgentClient> {
    const timeoutMs = options.timeoutMs ?? this.#parts.identity.timeoutMs;
    this.#assertRunning("reset");
    this.#link.end(new AgentLostError(`Machine "${this.name}" was reset`));
    this.#link.expectOpening();
    // Otherwise a reset would end QEMU, as one by the guest does.
    await this.qmp.execute("set-action", { reboot: "reset" });
    const done = this.qmp.waitFor("RESET", ({ event }) => event === "RESET", options);
    await this.qmp.execute("system_reset");
    await done;
    this.#wasReset = true;
    await this.resume(); // a pause must not outlive the reset
    const auth = { ...drawSecret(), secret: this.#parts.bootSecret };
    await this.connect(auth, timeoutMs, options.signal);
    await this.qmp.execute("set-action", { reboot: "shutdown" });
    await this.personalize(options.signal);
    const client = this.#link.client ?? this.#link.control;
    this.#tell(client);
    return client;
  }

  async powerButton(): Promise<void> {
    await this.qmp.execute("system_powerdown");
  }

  async quit(): Promise<void> {
    if (this.#hasExited) return;
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
    if (this.#end) return;
    await this.resume();
    this.#tell(await this.#link.reconnect(auth, this.#parts.identity.timeoutMs));
  }

  async save(options: SaveOptions = {}): Promise<SavedState> {
    this.#assertRunning("save");
    this.#link.assertAgent();
    if (this.#isPaused) {
      throw new StateError(`Cannot save machine "${this.name}": it is paused`, {
        expected: "an agent that can be brought to rest",
        next: "resume it first",
      });
    }
    return await this.#parts.save(this, options);
  }

  async attachDisk(disk: DiskSpec): Promise<void> {
    this.#assertRunning("attach a disk to");
    const port = this.#freePort(`disk "${disk.id}"`);
    const plan = { ...await prepareDisk(this.dir, disk), port };
    await plugDisk(this.qmp, plan);
    this.disks.push(plan);
  }

  async attachNic(nic: NicSpec): Promise<void> {
    this.#assertRunning("attach a network card to");
    const plan = { ...nic, port: this.#freePort(`network card "${nic.id}"`) };
    await plugNic(this.qmp, plan);
    this.nics.push(plan);
  }

  #freePort(what: string): string {
    const taken = [...this.disks, ...this.nics].map(({ port }) => port);
    const free = HOTPLUG_PORTS.find((port) => !taken.includes(port));
    if (free !== undefined) return free;
    throw new StateError(`Cannot attach ${what} to machine "${this.name}": no port is free`, {
      expected: `at most ${HOTPLUG_PORTS.length} disks and network cards that are plugged in`,
      next: "name the others at boot with `cold: true`",
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
    this.#link.release();
    await this.console.ended;
    await this.#parts.qemu.process[Symbol.asyncDispose]();
    await removeTree(this.dir);
  }

  #onEvent({ event, data }: QmpEvent): void {
    if (event === "SHUTDOWN") {
      this.#shutdown = String(data.reason);
    } else if (event === "GUEST_PANICKED") {
      this.#onPanic();
    } else if (event === "VSERPORT_CHANGE" && data.id === "control") {
      if (data.open === true) this.#portOpened = true;
      this.#link.onPort(data.open === true);
    }
  }

  #tell(client: AgentClient): void {
    for (const listener of [...this.#listeners]) listener(client);
  }

  #drop(detail: string): void {
    if (this.#end) return;
    this.#finish({ reason: "agentLost", detail, stderr: this.#parts.qemu.stderr() });
    this.#parts.qemu.process.kill();
  }

  async #onPanic(): Promise<void> {
    const detail = await panicText(this.console);
    this.#finish({ reason: "panic", detail, stderr: this.#parts.qemu.stderr() });
  }

  async #onExit(status: Deno.CommandStatus): Promise<void> {
    this.#hasExited = true;
    await this.console.ended; // its last words tell why
    this.#finish({
      ...whyEnded({
        status,
        shutdown: this.#shutdown,
        wanted: this.#wanted,
        console: this.console.tail(200),
      }),
      exitCode: status.code,
      signal: status.signal ?? undefined,
      stderr: this.#parts.qemu.stderr(),
    });
    this.qmp.close();
  }

  #finish(end: MachineEnd): void {
    if (this.#end) return;
    this.#end = end;
    this.#link.close(endedError(this.name, end, this.console.path));
    this.#ending.resolve(end);
  }

  #assertRunning(verb: string): void {
    if (!this.#end) return;
    throw new StateError(`Cannot ${verb} machine "${this.name}": it has ended`, {
      next: "boot it again",
    });
  }

  async #bootError(why: string, cause: unknown): Promise<BootError> {
    return await makeBootError(
      {
        machine: this.name,
        qmp: this.qmp,
        console: this.console,
        portOpened: this.#portOpened,
        end: this.#end,
        stderr: this.#parts.qemu.stderr(),
      },
      why,
      cause,
    );
  }
}
