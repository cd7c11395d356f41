import {
  AgentLostError,
  type BelljarError,
  BootError,
  DeadlineError,
  StateError,
} from "../../errors.ts";
import { removeTree } from "../../host/mod.ts";
import type { BootFile } from "../../image/mod.ts";
import { timeScale } from "../../scope/mod.ts";
import { formatSeconds } from "../../values/duration.ts";
import { AgentClient, type AgentEvent } from "../../wire/mod.ts";
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
  DiskSpec,
  EndReason,
  Machine,
  MachineEnd,
  MachineInfo,
  NicSpec,
  SavedState,
  SaveOptions,
} from "../types.ts";
import { connectVsock, type HeldConn, type TransportDecision } from "../vsock.ts";
import { type DiskPlan, HOTPLUG_PORTS, type NicPlan } from "./argv.ts";
import { bootStage, panicLine } from "./boot_stage.ts";
import { prepareDisk } from "./disks.ts";
import type { QemuProcess } from "./launch.ts";
import { plugDisk, plugNic } from "./plug.ts";
import type { QmpClient, QmpEvent } from "./qmp.ts";

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
  transport: TransportDecision;
  disks: readonly DiskPlan[];
  nics: readonly NicPlan[];
  save: (machine: QemuMachine, options: SaveOptions) => Promise<SavedState>;
}

/** An agent that listens says so within this; a kernel that is slow to notice a restore as well. */
const SERVING_MS = 10_000;
/** The hang-up of a conversation over vsock is often known before the end of the agent or the machine that caused it. */
const CAUSE_MS = 1_500;
const CONNECTS = 5;
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
  /** Its disks, in the order of their devices. */
  readonly disks: DiskPlan[];
  /** Its network cards, in the order of their devices. */
  readonly nics: NicPlan[];
  readonly #parts: QemuMachineParts;
  readonly #port: ControlPort;
  /** The conversation on the control port. */
  #control: AgentClient | undefined;
  /** The conversation that operations go over: the control port's, or one over vsock. */
  #client: AgentClient | undefined;
  #vsock: HeldConn | undefined;
  #serving: { cid: number; port: number } | undefined;
  #onServing: (() => void) | undefined;
  #auth: AgentSecret | undefined;
  #portOpened = false;
  /** Whether the port's opening for the conversation of now was announced. */
  #openSeen = false;
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
    // A clone's port was opened before it was saved.
    this.#openSeen = parts.info.how === "clone";
    this.dir = parts.dir;
    this.disks = [...parts.disks];
    this.nics = [...parts.nics];
    this.console = parts.console;
    this.console.attach(parts.qemu.console);
    this.#port = new ControlPort(parts.qemu.control);
    this.qmp = parts.qemu.qmp;
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
   * Begins the conversation on the control port, in place of any before. Over vsock operations want another one: see
   * {@linkcode QemuMachine.operate}.
   *
   * @throws {BootError} If the agent does not answer in time, or the machine ends.
   */
  async connect(auth: AgentSecret, timeoutMs: number, signal?: AbortSignal): Promise<AgentClient> {
    this.#auth = auth;
    this.#serving = undefined;
    return await this.#within(timeoutMs, signal, async (stop) => {
      const control = await AgentClient.connect(this.#port.session(), {
        ...auth,
        machine: this.name,
        signal: stop,
        onEvent: (event) => this.#onControlEvent(event),
      });
      this.#control = control;
      if (this.info.transport !== "vsock") this.#client = control;
      this.#expectPort = false;
      control.closed.then((reason) => this.#onLost(control, reason));
      return control;
    });
  }

  /**
   * Begins the conversation that operations go over. Over vsock that is another one than the control port's, and is begun
   * once the agent has said where it listens: before, a connection would stall.
   *
   * @throws {BootError} If the agent cannot be reached over vsock, and nothing else will do.
   */
  async operate(timeoutMs: number, signal?: AbortSignal): Promise<AgentClient> {
    const control = this.#assertControl();
    if (this.info.transport !== "vsock") return this.#client = control;
    const { isWish } = this.#parts.transport;
    const limitMs = isWish ? timeoutMs : Math.min(timeoutMs, SERVING_MS * timeScale());
    const missing = control.agent.caps.includes("vsock")
      ? await this.#waitForServing(limitMs, signal)
      : "its agent cannot listen: the guest has no driver for vsock";
    if (missing !== undefined) return await this.#withoutVsock(control, missing);
    const client = await this.#within(timeoutMs, signal, (stop) => this.#connectVsock(stop));
    client.closed.then((reason) => this.#onLost(client, reason));
    return this.#client = client;
  }

  /** Why the agent does not serve at the machine's address; `undefined` when it does. */
  async #waitForServing(limitMs: number, signal?: AbortSignal): Promise<string | undefined> {
    const { cid } = this.info;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, limitMs);
    try {
      // The limit is the timer's: whether its end is an error is for the caller to say.
      return await this.#within(Infinity, signal, async (stop) => {
        const stopped = Promise.withResolvers<never>();
        stop.addEventListener("abort", () => stopped.reject(stop.reason), { once: true });
        if (stop.aborted) throw stop.reason;
        const served = new Promise<void>((resolve) => {
          this.#onServing = () => this.#serving?.cid === cid && resolve();
          this.#onServing();
        });
        await Promise.race([served, late.promise, stopped.promise]);
        if (this.#serving?.cid === cid) return undefined;
        const found = this.#serving ? `at CID ${this.#serving.cid}` : "nowhere";
        return `after ${
          formatSeconds(limitMs / 1000)
        } its agent served ${found}, not at CID ${cid}`;
      });
    } finally {
      clearTimeout(timer);
      this.#onServing = undefined;
    }
  }

  async #withoutVsock(control: AgentClient, why: string): Promise<AgentClient> {
    if (this.#parts.transport.isWish) {
      throw await this.#bootError(`it cannot be reached over vsock: ${why}`, undefined);
    }
    this.info.transport = "serial";
    this.info.transportWhy = `no vsock: ${why}`;
    return this.#client = control;
  }

  async #connectVsock(stop: AbortSignal): Promise<AgentClient> {
    const { cid, port } = this.#serving!;
    for (let left = CONNECTS;; left--) {
      try {
        const conn = await connectVsock({ cid, port, signal: stop });
        let isProven = false;
        conn.ended.then(() => isProven ? this.#onVsockEnd(conn) : conn.close());
        const client = await AgentClient.connect(conn, {
          ...this.#auth!,
          machine: this.name,
          signal: stop,
        });
        isProven = true;
        this.#vsock = conn;
        return client;
      } catch (error) {
        // Others may crowd the listener, and a connection that is made just when a state was loaded is reset.
        if (stop.aborted || left === 1) throw error;
      }
    }
  }

  /** Runs `work` until it, the limit, the signal or the machine ends; the latter three become its error. */
  async #within<T>(
    timeoutMs: number,
    signal: AbortSignal | undefined,
    work: (stop: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const stop = new AbortController();
    const onAbort = () => stop.abort(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const timer = timeoutMs === Infinity
      ? undefined
      : setTimeout(() => stop.abort(SILENT), timeoutMs);
    this.ended.then((end) => stop.abort(end));
    try {
      return await work(stop.signal);
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

  /**
   * Gives the machine its identity and its files; later conversations use the secret that comes with it, also the one that
   * this begins for operations.
   */
  async personalize(signal?: AbortSignal): Promise<void> {
    const { identity, files } = this.#parts;
    const { lastId } = this.#auth!;
    this.#auth = { ...await giveIdentity(this.#assertControl(), { ...identity, signal }), lastId };
    const client = await this.operate(identity.timeoutMs, signal);
    await writeGuestFiles(client, files, { timeoutMs: identity.timeoutMs, signal });
  }

  /** Brings the agent to rest and ends the conversation, so that the machine's state can be saved. */
  async quiesce(signal?: AbortSignal): Promise<void> {
    const { timeoutMs } = this.#parts.identity;
    await this.#assertControl().request("quiesce", {}, { timeoutMs, signal });
    const drawn = [this.#client?.lastId ?? 0, this.#control?.lastId ?? 0];
    this.#auth = { ...this.#auth!, lastId: Math.max(...drawn) };
    this.#expectPort = true;
    this.#endConversations(new AgentLostError(`Machine "${this.name}" is being saved`));
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
    this.#openSeen = false;
    this.#endConversations(new AgentLostError(`Machine "${this.name}" was reset`));
    // Otherwise a reset would end QEMU, as one by the guest does.
    await this.qmp.execute("set-action", { reboot: "reset" });
    const done = this.qmp.waitFor("RESET", ({ event }) => event === "RESET", options);
    await this.qmp.execute("system_reset");
    await done;
    await this.qmp.execute("cont"); // a pause must not outlive the reset
    const auth = { ...drawSecret(), secret: this.#parts.bootSecret };
    await this.connect(auth, timeoutMs, options.signal);
    await this.qmp.execute("set-action", { reboot: "shutdown" });
    await this.personalize(options.signal);
    const client = this.#assertClient();
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
    this.#tell(await this.#reconnect(auth, this.#parts.identity.timeoutMs));
  }

  async save(options: SaveOptions = {}): Promise<SavedState> {
    this.#assertRunning("save");
    this.#assertClient();
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
      if (data.open === true) this.#portOpened = true;
      this.#onPort(data.open === true);
    }
  }

  /**
   * The agent proper ended, or was started again by process 1. QEMU passes on one such event per second, and of several
   * the last one: the port of an agent that is back at once was never seen to close.
   */
  #onPort(isOpen: boolean): void {
    const isFirst = isOpen && !this.#openSeen;
    this.#openSeen = isOpen;
    if (isFirst || this.#expectPort || this.#hasEnded) return;
    this.#expectPort = true;
    this.#endConversations(
      new AgentLostError(`The agent of machine "${this.name}" is lost: its process ended`, {
        actual: this.console.tail(3) || undefined,
        next: "see the console; process 1 starts the agent again once",
      }),
    );
    // Process 1 hands the agent the secret that came with the boot.
    const auth = { ...drawSecret(), secret: this.#parts.bootSecret };
    this.#reconnect(auth, RESTART_MS).then(
      (again) => this.#tell(again),
      () => this.#drop("its agent did not come back"),
    );
  }

  async #reconnect(auth: AgentSecret, timeoutMs: number): Promise<AgentClient> {
    await this.connect(auth, timeoutMs);
    return await this.operate(timeoutMs);
  }

  #endConversations(reason: AgentLostError): void {
    const ended = new Set([this.#client, this.#control]);
    this.#client = this.#control = this.#vsock = undefined;
    for (const client of ended) client?.close(reason);
  }

  #onControlEvent(event: AgentEvent): void {
    if (event.ev !== "serving") return;
    const { cid, port } = event;
    this.#serving = { cid, port };
    this.#onServing?.();
  }

  /** The conversation over vsock was hung up, by whatever ends the agent or the machine just now. */
  async #onVsockEnd(conn: HeldConn): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, CAUSE_MS);
    await Promise.race([this.ended, late.promise]);
    clearTimeout(timer);
    if (this.#vsock === conn) this.#drop("its agent hung up on vsock");
  }

  #tell(client: AgentClient): void {
    for (const listener of [...this.#listeners]) listener(client);
  }

  /** A conversation ended although its agent runs: it said what no agent says. */
  #onLost(client: AgentClient, reason: AgentLostError): void {
    const isCurrent = this.#client === client || this.#control === client;
    if (!isCurrent || this.#expectPort || this.#hasEnded) return;
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
    const ended = new AgentLostError(`Machine "${this.name}" ${describeEnd(end)}`, {
      code: end.reason === "panic" ? "GUEST_PANIC" : "MACHINE_ENDED",
      actual: end.detail,
      next: end.reason === "killed" ? undefined : `read "${this.console.path}"`,
    });
    // They stay to be asked why they ended.
    for (const client of new Set([this.#client, this.#control])) client?.close(ended);
    this.#end.resolve(end);
  }

  #assertRunning(verb: string): void {
    if (!this.#hasEnded) return;
    throw new StateError(`Cannot ${verb} machine "${this.name}": it has ended`, {
      next: "boot it again",
    });
  }

  #assertClient(): AgentClient {
    return this.#client ?? this.#assertControl();
  }

  #assertControl(): AgentClient {
    if (this.#control) return this.#control;
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
