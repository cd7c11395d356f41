import { AgentLostError, BelljarError, ListingError, StateError } from "../errors.ts";
import { jobs, type JobView } from "../jobs/mod.ts";
import {
  currentScope,
  currentSignal,
  emitEvent,
  isListing,
  type Registration,
  runScope,
  type Scope,
  trackOperation,
  uncharged,
} from "../scope/mod.ts";
import { bytes, type Duration, milliseconds, registerOptions } from "../values/mod.ts";
import type { DiskSpec, Machine, MachineEnd, MachineInfo } from "../vmm/mod.ts";
import type { AgentClient, OpReply } from "../wire/mod.ts";
import {
  ask,
  linkOf,
  type OpenResources,
  type OperationOptions,
  setLink,
  withSignals,
} from "./_link.ts";
import { type BootOptions, checkBoot, machineSpec, type VmOptions } from "./boot_options.ts";
import { reserveFor } from "./claim.ts";
import { Clock } from "./clock.ts";
import { Console } from "./console.ts";
import { ConsoleScanner } from "./console_rules.ts";
import type { ConsoleRuleError } from "./errors.ts";
import { GuestOperations } from "./operations.ts";
import { labProviders, processDefaults, type ResourceGrant } from "./providers.ts";
import { deadlineIn, race, TIMED_OUT } from "./wait.ts";
import { Worker } from "./worker.ts";
import type { WorkerOptions } from "./worker_options.ts";

/** Where a machine stands. */
export type VmState = "created" | "booting" | "booted" | "paused" | "shutdown" | "dead";

/** What an agent counts of itself, by {@linkcode Vm.counters}. */
export type AgentCounters = OpReply<"counters">;

/** Options of {@linkcode Vm.shutdown}. */
export interface ShutdownOptions extends OperationOptions {
  /** How long the guest may take before it is ended from outside. @default {10} */
  timeout?: Duration;
}

const checkShutdown = registerOptions<ShutdownOptions>("vm.shutdown()", {
  timeout: "duration",
  signal: "abortSignal",
});
const checkCounters = registerOptions<OperationOptions>("vm.counters()", { signal: "abortSignal" });
const checkReset = registerOptions<OperationOptions>("vm.reset()", { signal: "abortSignal" });

/** How long the cause of a lost agent may take to show, in milliseconds. */
const CAUSE_MS = 1_500;
const token = Symbol("Vm");

/** A virtual machine. It belongs to the scope that called `lab.vm()`, which ends it. */
export class Vm extends GuestOperations implements AsyncDisposable {
  readonly name: string;
  /** Name of its image. */
  readonly image: string;
  /** Its first serial console, from power-on, kept after it has ended. */
  readonly console: Console;
  /** Its clock. */
  readonly clock: Clock;
  /** Its jobs in the job table. */
  readonly jobs: JobView;
  readonly #defaults: VmOptions;
  readonly #registration: Registration;
  readonly #onGone: () => void;
  readonly #open: OpenResources = new Set();
  readonly #scanner: ConsoleScanner;
  #state: VmState = "created";
  #machine: Machine | undefined;
  #client: AgentClient | undefined;
  #grant: ResourceGrant | undefined;
  #alarm = new AbortController();
  #finding: ConsoleRuleError | undefined;
  #end: MachineEnd | undefined;
  #endReason: string | undefined;
  #workers = 0;
  #startedMs = 0;
  #disks: readonly DiskSpec[] = [];
  #stopBoot = new AbortController();
  #booting: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  /** Made by `lab.vm()` only. */
  constructor(
    key: symbol,
    made: { name: string; image: string; options: VmOptions; onGone: () => void },
  ) {
    if (key !== token) throw new TypeError("Cannot construct a Vm: use lab.vm()");
    super();
    this.name = made.name;
    this.image = made.image;
    this.#defaults = made.options;
    this.#onGone = made.onGone;
    this.console = new Console(this.name, () => this.#alarm.signal);
    this.clock = new Clock(this);
    this.jobs = jobs.viewOfMachine(this.name);
    this.#scanner = new ConsoleScanner(this.name, (error) => this.#onFinding(error));
    setLink(this, {
      vm: this.name,
      principal: 0,
      label: `machine "${this.name}"`,
      client: (op) => this.#usable(op),
      alarm: () => this.#alarm.signal,
      explain: (error) => this.#explain(error),
      open: this.#open,
    });
    this.#registration = currentScope().register({
      kind: "machine",
      name: `"${this.name}"`,
      close: () => this.#close(),
      limitMs: 10_000,
    });
  }

  /** Makes a machine; it belongs to the scope of the caller. */
  static create(
    name: string,
    image: string,
    options: VmOptions,
    onGone: () => void,
  ): Vm {
    return new Vm(token, { name, image, options, onGone });
  }

  /** Where it stands. */
  get state(): VmState {
    return this.#state;
  }

  /** The scope that ends it. */
  get scope(): Scope {
    return this.#registration.scope;
  }

  /** Whether nothing can be done with it any more but reading its console. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Memory and processors that it takes when it is booted. */
  get needs(): { memoryBytes: number; cpus: number } {
    const { memory = "256M", cpus = 1 } = this.#defaults;
    return { memoryBytes: bytes(memory, "memory"), cpus };
  }

  /**
   * How it was started: transport, accelerator and why, kernel, clone or boot, timings.
   *
   * @throws {StateError} If it was not started yet.
   */
  get info(): MachineInfo {
    if (this.#machine) return this.#machine.info;
    throw this.#stateError("info", "boot() it first");
  }

  /**
   * What its agent counts of itself, for diagnosis: descriptors, memory, requests since it began, and how many of those
   * came over the control port.
   */
  async counters(options: OperationOptions = {}): Promise<AgentCounters> {
    checkCounters(options);
    return await ask(this.#link, "counters", {}, { text: "counters()", ...options });
  }

  /**
   * Starts it, as a clone of a template where that is possible, and waits for its agent.
   *
   * @throws {BootError} If it does not come up; it says how far it came.
   * @throws {StateError} If it was started before.
   */
  async boot(options: BootOptions = {}): Promise<this> {
    checkBoot(options);
    return await this.bootWith(options, undefined);
  }

  /** As {@linkcode Vm.boot}, with resources that were reserved already. */
  async bootWith(options: BootOptions, grant: ResourceGrant | undefined): Promise<this> {
    if (isListing()) {
      throw new ListingError(`Cannot boot machine "${this.name}": tests are only being listed`, {
        next: "boot machines in a test or a hook if the file shall be listed without a note",
      });
    }
    if (this.#state !== "created") {
      const next = this.#state === "booting" || this.#state === "booted" || this.#state === "paused"
        ? "boot it once, and share the machine"
        : "create another machine by lab.vm()";
      throw this.#stateError("boot", next);
    }
    if (this.#closing) throw this.#stateError("boot", "create another machine by lab.vm()");
    this.#state = "booting";
    const booting = trackOperation({ op: `boot(${this.image})`, vm: this.name }, () =>
      withSignals(
        [options.signal, currentSignal(), this.#stopBoot.signal],
        (signal) => this.#boot(options, signal, grant),
      ));
    this.#booting = booting.catch(() => {}); // Whoever called boot() gets the error.
    await booting;
    return this;
  }

  /** Asks the guest to power off, and ends it from outside if it does not; harmless when called again. */
  async shutdown(options: ShutdownOptions = {}): Promise<void> {
    checkShutdown(options);
    const { timeout = 10, signal } = options;
    signal?.throwIfAborted();
    if (this.#state === "created") this.#state = "shutdown";
    const machine = this.#machine;
    if (!machine || this.#end) return;
    await trackOperation({ op: "shutdown()", vm: this.name }, async () => {
      const deadline = deadlineIn(milliseconds(timeout));
      this.#endReason = "shutdown";
      if (this.#state === "paused") await machine.resume();
      const client = machine.client;
      // A guest that cannot be asked, or does not answer, is ended below.
      client?.request("shutdown", { how: "poweroff" }, { timeoutMs: deadline.remaining() || 1 })
        .catch(() => {});
      const end = client ? await race(machine.ended, deadline, signal, currentSignal()) : TIMED_OUT;
      if (end === TIMED_OUT) await machine.quit();
      await race(machine.ended, deadlineIn(5_000));
      if (!this.#end) await machine.kill();
      this.#onEnd(await machine.ended);
    });
  }

  /** Ends it at once, as by pulling the plug; harmless when called again. */
  async kill(): Promise<void> {
    const machine = this.#machine;
    if (this.#state === "created") this.#state = "dead";
    if (!machine || this.#end) return;
    this.#endReason = "kill";
    await machine.kill();
    this.#onEnd(await machine.ended);
  }

  /** Restarts it as by its reset button; resolves when the agent serves again. Processes and open files are gone. */
  async reset(options: OperationOptions = {}): Promise<void> {
    checkReset(options);
    const machine = this.#running("reset");
    this.#scanner.restart();
    await trackOperation(
      { op: "reset()", vm: this.name },
      () =>
        withSignals([options.signal, currentSignal()], async (signal) => {
          this.#client = await machine.reset({ signal });
          this.#state = "booted";
        }),
    );
  }

  /** Presses its power button; what happens then is up to the guest. */
  async powerButton(): Promise<void> {
    await this.#running("powerButton").powerButton();
  }

  /** Stops its processors; its monotonic clock stands still until it is resumed. */
  async pause(): Promise<void> {
    if (this.#state === "paused") return;
    const machine = this.#running("pause");
    await machine.pause();
    if (this.#state === "booted") this.#state = "paused";
  }

  /** Lets it go on after a pause. */
  async resume(): Promise<void> {
    if (this.#state === "booted") return;
    if (this.#state !== "paused") throw this.#stateError("resume", this.#nextStep());
    await this.#machine!.resume();
    if (this.#state === "paused") this.#state = "booted";
  }

  /**
   * Starts a process of its own in the guest that has the machine's surface, with credentials and namespaces of its own
   * if wanted. It is ended with the scope of the caller.
   */
  async spawnWorker(options: WorkerOptions = {}): Promise<Worker> {
    const MAX_WORKERS = 65535;
    if (this.#workers >= MAX_WORKERS) {
      throw new StateError(
        `Cannot spawn a worker on machine "${this.name}": all numbers are used`,
        {
          actual: `${MAX_WORKERS} workers were spawned on it`,
        },
      );
    }
    return await Worker.spawn(this.#link, ++this.#workers, options);
  }

  /** Kills it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }

  get #link() {
    return linkOf(this);
  }

  async #boot(
    options: BootOptions,
    signal: AbortSignal,
    grant: ResourceGrant | undefined,
  ): Promise<void> {
    const providers = labProviders();
    const { signal: _, ...given } = options;
    const chosen = Object.fromEntries(
      Object.entries({ ...processDefaults(), ...this.#defaults, ...given }).filter(([, value]) =>
        value !== undefined
      ),
    );
    try {
      const spec = await machineSpec(chosen);
      const image = await uncharged(() => providers.image(this.image, signal));
      this.#grant = grant ??
        await reserveFor(this.scope, { ...this.needs, names: [this.name], signal });
      this.#disks = spec.disks ?? [];
      const vmm = await providers.vmm();
      this.#startedMs = performance.now();
      // The machine's loops outlive the test that booted it.
      const machine = await runScope().run(() =>
        vmm.launch({ ...spec, name: this.name, image, signal })
      );
      this.#adopt(machine);
    } catch (error) {
      (this.#grant ?? grant)?.release();
      this.#grant = undefined;
      if (this.#state === "booting") this.#state = "created";
      throw error;
    }
    if (!this.#closing) return;
    await this.#machine?.kill();
    throw this.#stateError("boot", `await boot() before its scope ends`);
  }

  #adopt(machine: Machine): void {
    this.#machine = machine;
    this.#client = machine.client;
    this.#state = "booted";
    const { console, info } = machine;
    this.console.attach(console);
    this.#scanner.push(console.bytes());
    console.onData((data) => this.#scanner.push(data));
    machine.onAgent((client) => this.#client = client);
    machine.ended.then((end) => this.#onEnd(end));
    emitEvent("vm_started", {
      vm: this.name,
      image: this.image,
      how: info.how,
      howWhy: info.howWhy,
      transport: info.transport,
      transportWhy: info.transportWhy,
      ...(info.cid === undefined ? {} : { cid: info.cid }),
      accel: info.accel,
      accelWhy: info.accelWhy,
      memory: this.needs.memoryBytes,
      pid: info.pid,
      kernel: info.kernel,
      timings: info.timings,
      consolePath: console.path,
    });
  }

  #onEnd(end: MachineEnd): void {
    if (this.#end) return;
    this.#end = end;
    const orderly = this.#endReason === "shutdown" || end.reason === "guestPoweroff";
    this.#state = orderly ? "shutdown" : "dead";
    this.#machine?.console.ended.then(() => this.console.finish());
    this.#grant?.release();
    this.#grant = undefined;
    emitEvent("vm_stopped", {
      vm: this.name,
      reason: this.#endReason ?? end.reason,
      ...(end.detail === undefined ? {} : { detail: end.detail }),
      durationMs: performance.now() - this.#startedMs,
    });
  }

  #onFinding(error: ConsoleRuleError): void {
    this.#finding = error;
    const alarm = this.#alarm;
    // Later operations, such as the closing of the scope, must not end at once.
    this.#alarm = new AbortController();
    emitEvent("warning", { message: error.summary, vm: this.name, line: error.line });
    alarm.abort(error);
  }

  async #explain(error: unknown): Promise<unknown> {
    const machine = this.#machine;
    const lost = error instanceof AgentLostError ||
      (error instanceof BelljarError && error.cause instanceof AgentLostError);
    if (!machine || !lost) return error;
    // The connection's end is often known before the cause of it.
    if (!this.#end) await race(machine.ended, deadlineIn(CAUSE_MS));
    if (this.#finding?.kind === "panic") return this.#finding;
    return error;
  }

  #usable(op: string): AgentClient {
    if (this.#state === "paused") throw this.#stateError(op, "resume() it first");
    const machine = this.#running(op);
    const client = machine.client ?? this.#client;
    if (client && !client.lost) return client;
    if (client?.lost) throw client.lost;
    throw new StateError(
      `Cannot ${op} on machine "${this.name}": it was booted without its agent`,
      {
        next: `boot it with expect: "agent", or use vm.console`,
      },
    );
  }

  #running(op: string): Machine {
    if (this.#machine && (this.#state === "booted" || this.#state === "paused")) {
      return this.#machine;
    }
    throw this.#stateError(op, this.#nextStep());
  }

  #nextStep(): string {
    if (this.#state === "created") return "boot() it first";
    if (this.#state === "booting") return "await boot() first";
    return "create and boot another machine by lab.vm()";
  }

  #stateError(op: string, next: string): StateError {
    const why = this.#end?.detail ? ` (${this.#end.reason}: ${this.#end.detail})` : "";
    return new StateError(`Cannot ${op} on machine "${this.name}": it is ${this.#state}${why}`, {
      next,
    });
  }

  #close(): Promise<void> {
    return this.#closing ??= (async () => {
      await Promise.resolve();
      this.#stopBoot.abort(this.#stateError("boot", "await boot() before its scope ends"));
      await this.#booting;
      this.#registration.release();
      this.#onGone();
      const machine = this.#machine;
      if (!machine) return;
      this.#endReason ??= "scope";
      // What the guest has written to a disk that stays must be in its file.
      if (!this.#end && this.#disks.some(isKept)) await machine.quit();
      await machine[Symbol.asyncDispose]();
      this.#onEnd(await machine.ended);
    })();
  }
}

/** Whether what is written to a disk outlives its machine. */
function isKept({ source, readonly }: DiskSpec): boolean {
  return source.kind === "path" && !readonly;
}
