import { AgentLostError, ListingError, StateError } from "../errors.ts";
import { type JobInfo, SuspendedProcesses } from "../jobs/mod.ts";
import {
  currentScope,
  currentSignal,
  emitEvent,
  isListing,
  type Registration,
  type Scope,
  trackOperation,
  uncharged,
} from "../scope/mod.ts";
import { bytes, registerOptions } from "../values/mod.ts";
import type { DiskSpec } from "../vmm/mod.ts";
import { type OperationOptions, withSignals } from "./_link.ts";
import type { MachineLife } from "./_machine_life.ts";
import { type BootOptions, checkBoot, machineSpec, type VmOptions } from "./boot_options.ts";
import { noteMachine } from "./_machines.ts";
import type { Barriers } from "./barrier.ts";
import { reserveFor } from "./claim.ts";
import { startMachine } from "./standbys.ts";
import { MachineControls } from "./machine_controls.ts";
import { labProviders, processDefaults, type ResourceGrant } from "./providers.ts";
import { Snapshot, type SnapshotSpec } from "./snapshot.ts";

/** What a {@linkcode Vm} is made of. */
export interface VmParts {
  name: string;
  image: string;
  options: VmOptions;
  /** Points at which its processes and the test's tasks wait for each other. */
  barriers: Barriers;
  /** Makes another machine with the same options, for the scope of the caller. */
  sibling: (name: string) => Vm;
  /** Called when it is closed. */
  onGone: () => void;
}

const signalOnly = (call: string) =>
  registerOptions<OperationOptions>(call, { signal: "abortSignal" });
const checkSnapshot = signalOnly("vm.snapshot()");
const checkRestore = signalOnly("vm.restore()");

/** A virtual machine. It belongs to the scope that called `lab.vm()`, which ends it. */
export class Vm extends MachineControls implements AsyncDisposable {
  readonly #parts: VmParts;
  readonly #registration: Registration;
  readonly #forget: () => void;
  #spec: SnapshotSpec | undefined;
  #forks = 0;
  #stopBoot = new AbortController();
  #booting: Promise<unknown> | undefined;
  #closing: Promise<void> | undefined;

  /** Made by `lab.vm()` only. */
  constructor(parts: VmParts) {
    const { memoryBytes } = needsOf(parts.options);
    super(parts.name, parts.image, { memoryBytes, barriers: parts.barriers });
    this.#parts = parts;
    this.#registration = currentScope().register({
      kind: "machine",
      name: `"${this.name}"`,
      close: () => this.#close(),
      limitMs: 10_000,
    });
    this.#forget = noteMachine(this);
  }

  /** The scope that ends it. */
  get scope(): Scope {
    return this.#registration.scope;
  }

  /** Whether its scope has ended it. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Memory and processors that it takes when it is booted. */
  get needs(): { memoryBytes: number; cpus: number } {
    return needsOf(this.#parts.options);
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
    try {
      this.#assertStartable("boot");
      if (this.state !== "created") {
        const isOn = ["booting", "booted", "paused"].includes(this.state);
        const next = isOn ? "boot it once, and share the machine" : OTHER_MACHINE;
        throw this.life.stateError("boot", next);
      }
    } catch (error) {
      grant?.release();
      throw error;
    }
    const { signal, ...given } = options;
    const chosen = { ...processDefaults(), ...this.#parts.options, ...definedOnly(given) };
    await this.#start(`boot(${this.image})`, signal, async (any) => {
      const spec = await machineSpec(chosen);
      const image = await uncharged(() => labProviders().image(this.image, any));
      this.#spec = spec;
      return async () => {
        const vmm = await labProviders().vmm();
        return await startMachine({ vmm, spec: { ...spec, name: this.name, image, signal: any } });
      };
    }, grant);
    return this;
  }

  /**
   * Saves its state; it goes on running, and so do its processes, workers and jobs. Files, streams and watches of this
   * machine must be closed: they would not be the same in a machine that is started from it.
   *
   * @throws {StateError} If some are open; it names each with the place where it was created.
   */
  async snapshot(options: OperationOptions = {}): Promise<Snapshot> {
    checkSnapshot(options);
    this.life.client("snapshot");
    this.#assertQuiet("snapshot");
    const machine = this.life.running("snapshot");
    const jobs = this.jobs.list({ state: ["running", "stopped"] });
    const state = await trackOperation(
      { op: "snapshot()", vm: this.name },
      () =>
        this.#takingUp(() =>
          withSignals([options.signal, currentSignal()], (signal) => machine.save({ signal }))
        ),
    );
    // What was put there at its boot is in its memory now.
    const spec = { ...this.#spec!, files: [] };
    const { name: vm, image, workerCount: workers } = this;
    return new Snapshot({ vm, image, spec, state, workers, jobs });
  }

  /**
   * Puts it into a state that was saved, whatever state it is in: also a machine that has ended lives again. What its
   * tests have open in it is lost.
   */
  async restore(snapshot: Snapshot, options: OperationOptions = {}): Promise<this> {
    checkRestore(options);
    if (!(snapshot instanceof Snapshot)) {
      throw new TypeError(`vm.restore() takes a Snapshot, got ${typeof snapshot}`);
    }
    this.#assertStartable("restore");
    if (this.state === "booting") throw this.life.stateError("restore", "await boot() first");
    const { spec, state, workers = 0, jobs = [] } = snapshot.open();
    await this.#takingUp(async () => {
      await this.life.stop("restore", (machine) => machine[Symbol.asyncDispose]());
      this.console.restart();
      await this.#start("restore()", options.signal, async (any) => {
        const image = await uncharged(() => labProviders().image(snapshot.image, any));
        this.#spec = spec;
        return async () => {
          const vmm = await labProviders().vmm();
          const own = { ...spec, name: this.name, image, signal: any };
          return await startMachine({ vmm, spec: own, state });
        };
      }, undefined);
    });
    this.workerCount = workers;
    if (snapshot.vm === this.name) this.#nameEnded(jobs);
    return this;
  }

  /**
   * Starts machines that continue from the state in which this one is now; they belong to the scope of the caller.
   *
   * @param count How many.
   */
  async fork(count = 1, options: OperationOptions = {}): Promise<Vm[]> {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(`vm.fork() takes a whole number from 1, got ${String(count)}`);
    }
    await using snapshot = await this.snapshot(options);
    const forks = Array.from(
      { length: count },
      () => this.#parts.sibling(`${this.name}-fork${++this.#forks}`),
    );
    const outcomes = await Promise.allSettled(forks.map((vm) => vm.restore(snapshot, options)));
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (!failed) return forks;
    await Promise.all(forks.map((vm) => vm[Symbol.asyncDispose]()));
    throw failed.reason;
  }

  /** Ends it and makes it as if it never had been booted; between the tests of a file whose set-up did not boot it. */
  async switchOff(): Promise<void> {
    if (this.state === "created") return;
    await this.life.stop("reset", (machine) => machine[Symbol.asyncDispose]());
    this.console.restart();
    this.life.renew();
  }

  /** Kills it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }

  #assertStartable(verb: string): void {
    if (isListing()) {
      throw new ListingError(`Cannot ${verb} machine "${this.name}": tests are only being listed`, {
        next: "boot machines in a test or a hook if the file shall be listed without a note",
      });
    }
    if (this.#closing) throw this.life.stateError(verb, OTHER_MACHINE);
  }

  #assertQuiet(verb: string): void {
    const open = [...this.openResources].filter(({ kind }) => kind !== "worker");
    if (open.length === 0) return;
    throw new StateError(`Cannot ${verb} machine "${this.name}": it has something open`, {
      expected: "no open file, stream or watch of this machine",
      actual: open.map(({ kind, name, site }) => `${kind} ${name}, created at ${site}`).join("\n"),
      next: "close them before",
    });
  }

  /** Runs `work`, which ends the conversation with the agent and begins another; processes and workers go on in that. */
  async #takingUp<T>(work: () => Promise<T>): Promise<T> {
    const before = this.life.machine?.client;
    if (!before || before.lost) return await work();
    const processes = new SuspendedProcesses(before);
    const workers = this.livingWorkers;
    for (const worker of workers) worker.suspend();
    try {
      return await work();
    } finally {
      const after = this.life.machine?.client;
      if (after && !after.lost) {
        await processes.resume(after);
        await Promise.all(workers.map((worker) => worker.rebind(after)));
      } else {
        const reason = after?.lost ?? before.lost ??
          new AgentLostError(`The agent of machine "${this.name}" is lost`);
        processes.lose(reason);
        for (const worker of workers) worker.lose();
      }
    }
  }

  /** What runs again in the machine while what stood for it here has ended. */
  #nameEnded(jobs: readonly JobInfo[]): void {
    for (const { id, command } of jobs) {
      const state = this.jobs.get(id)?.state ?? "gone";
      if (state === "running" || state === "stopped") continue;
      emitEvent("warning", {
        vm: this.name,
        message: `Job ${id} ${JSON.stringify(command)} runs again in machine "${this.name}", ` +
          `but the object that stood for it is ${state}`,
        next: "find it by vm.processes(), or start it in the test",
      });
    }
  }

  /** Starts it, unless its scope ends meanwhile. */
  async #start(
    op: string,
    signal: AbortSignal | undefined,
    prepare: (signal: AbortSignal) => Promise<Parameters<MachineLife["start"]>[0]>,
    grant: ResourceGrant | undefined,
  ): Promise<void> {
    const signals = [signal, currentSignal(), this.#stopBoot.signal];
    const starting = trackOperation(
      { op, vm: this.name },
      () =>
        withSignals(signals, async (any) => {
          const needs = { ...this.needs, names: [this.name], signal: any };
          let launch: Parameters<MachineLife["start"]>[0] | undefined;
          await this.life.start(() => launch!(), async () => {
            try {
              launch = await prepare(any);
            } catch (error) {
              grant?.release();
              throw error;
            }
            return grant ?? await reserveFor(this.scope, needs);
          });
        }),
    );
    this.#booting = starting.catch(() => {}); // Whoever called it gets the error.
    await starting;
    if (this.#closing) {
      await this.kill();
      throw this.life.stateError("boot", "await boot() before its scope ends");
    }
  }

  #close(): Promise<void> {
    return this.#closing ??= (async () => {
      await Promise.resolve();
      this.#stopBoot.abort(this.life.stateError("boot", "await boot() before its scope ends"));
      await this.#booting;
      this.#registration.release();
      this.#forget();
      this.#parts.onGone();
      await this.life.stop("scope", async (machine) => {
        // What the guest has written to a disk that stays must be in its file.
        if (this.#spec?.disks?.some(isKept)) await machine.quit();
        await machine[Symbol.asyncDispose]();
      });
      await this.life.machine?.[Symbol.asyncDispose]();
    })();
  }
}

const OTHER_MACHINE = "create another machine by lab.vm()";

/** Whether what is written to a disk outlives its machine. */
function isKept({ source, readonly }: DiskSpec): boolean {
  return source.kind === "path" && !readonly;
}

function definedOnly<T extends object>(options: T): T {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as T;
}

function needsOf({ memory = "256M", cpus = 1 }: VmOptions): { memoryBytes: number; cpus: number } {
  return { memoryBytes: bytes(memory, "memory"), cpus };
}
