import { StateError } from "../errors.ts";
import { captureSite, currentScope, type Scope, trackOperation } from "../scope/mod.ts";
import { type Duration, registerOptions } from "../values/mod.ts";
import type { OperationOptions } from "./_link.ts";
import { Barriers } from "./barrier.ts";
import { type BootOptions, checkBoot, checkVm, hintFor, type VmOptions } from "./boot_options.ts";
import { Claim, type ClaimOptions, reserveFor } from "./claim.ts";
import { LabError } from "./errors.ts";
import { checkUseFixture, type UseFixtureOptions } from "./fixture.ts";
import { LabSnapshot, type Snapshot } from "./snapshot.ts";
import type { ShutdownOptions } from "./machine_controls.ts";
import { openFixture } from "./use_fixture.ts";
import { Vm } from "./vm.ts";

const checkBarrier = registerOptions<OperationOptions>("lab.barrier()", { signal: "abortSignal" });

/** Machines of a root lab and its sub-labs, by the scope that they belong to. */
interface Registry {
  machines: Set<Vm>;
  barriers: Barriers;
}

/** A group of machines. What is made in a test belongs to that test; names are unique among all that can be seen. */
export class Lab {
  /** Its name; empty for a root lab. */
  readonly name: string;
  readonly #registry: Registry;
  readonly #members = new Set<Vm | Lab>();

  constructor(name = "", registry?: Registry) {
    this.name = name;
    this.#registry = registry ?? { machines: new Set(), barriers: new Barriers() };
  }

  /**
   * With an image: makes a machine that belongs to the scope of the caller; nothing is started or claimed. Without:
   * finds a machine of this or a surrounding scope.
   *
   * @throws {TypeError} If the name is taken, or there is none of that name.
   */
  vm(name: string, image?: string, options: VmOptions = {}): Vm {
    checkName(name, "machine");
    if (image === undefined) return this.#find(name);
    if (typeof image !== "string" || image === "") {
      throw new TypeError(`lab.vm() takes the name of an image second, got ${describe(image)}`);
    }
    checkVm(options);
    if (this.#visible().some((vm) => vm.name === name)) {
      throw new TypeError(
        `Cannot make machine "${name}": a machine of this name is there already in this or a surrounding scope; ` +
          `use lab.vm("${name}") to get it, or another name`,
      );
    }
    const vm = new Vm({
      name,
      image,
      options,
      barriers: this.#registry.barriers,
      sibling: (other) => this.vm(other, image, options),
      onGone: () => {
        this.#registry.machines.delete(vm);
        this.#members.delete(vm);
      },
    });
    this.#registry.machines.add(vm);
    this.#members.add(vm);
    return vm;
  }

  /** Makes a group of its own within this lab; its machines' names are seen from here as well. */
  lab(name = ""): Lab {
    if (name !== "") checkName(name, "lab");
    return new Lab(name, this.#registry);
  }

  /** The machines of this lab that can be seen from the scope of the caller, in the order in which they were made. */
  members(): Vm[] {
    const all = new Set(
      [...this.#members].flatMap((one) => one instanceof Lab ? one.members() : one),
    );
    return [...all].filter((vm) => !vm.closed && isVisible(vm.scope));
  }

  /** Takes machines, or all of another lab, into this group; they belong to their scopes as before. */
  include(...members: (Vm | Lab)[]): this {
    for (const member of members) {
      if (!(member instanceof Vm) && !(member instanceof Lab)) {
        throw new TypeError(`include() takes machines and labs, got ${describe(member)}`);
      }
      if (member === this) throw new TypeError("A lab cannot include itself");
      this.#members.add(member);
    }
    return this;
  }

  /** Takes machines or labs out of this group; they are not ended. */
  remove(...members: (Vm | Lab)[]): this {
    for (const member of members) this.#members.delete(member);
    return this;
  }

  /**
   * Boots all members that were not booted yet, at the same time, with one reservation. If one fails, those that were
   * started are ended.
   *
   * @throws {LabError} If a member cannot be booted; `failures` has the errors by name.
   */
  async boot(options: BootOptions = {}): Promise<this> {
    checkBoot(options);
    const members = this.members();
    const unusable = members.filter(({ state }) => state === "shutdown" || state === "dead");
    if (unusable.length > 0) {
      throw new LabError(`Cannot boot ${this.#label()}: it has members that have ended`, {
        failures: new Map(unusable.map((vm) => [
          vm.name,
          new StateError(`Machine "${vm.name}" is ${vm.state}`),
        ])),
        next: "remove() them, or make the machines anew",
      });
    }
    const targets = members.filter(({ state }) => state === "created");
    if (targets.length === 0) return this;
    const needs = {
      memoryBytes: targets.reduce((sum, vm) => sum + vm.needs.memoryBytes, 0),
      cpus: targets.reduce((sum, vm) => sum + vm.needs.cpus, 0),
      names: targets.map(({ name }) => name),
      signal: options.signal,
    };
    const grant = await reserveFor(currentScope(), needs);
    // Given back by the last of the machines to end.
    let holders = targets.length;
    const share = () => {
      let held = true;
      return {
        release() {
          if (!held) return;
          held = false;
          if (--holders === 0) grant.release();
        },
      };
    };
    const failures = await this.#all(targets, (vm) => vm.bootWith(options, share()));
    if (failures.size === 0) return this;
    await Promise.allSettled(targets.map((vm) => vm.kill()));
    throw this.#failed("boot", failures, targets.length);
  }

  /** Shuts all running members down at the same time. */
  async shutdown(options: ShutdownOptions = {}): Promise<void> {
    const targets = this.members();
    const failures = await this.#all(targets, (vm) => vm.shutdown(options));
    if (failures.size > 0) throw this.#failed("shut down", failures, targets.length);
  }

  /** Pauses all members at the same time; if one fails, the others are resumed. */
  async pause(): Promise<void> {
    const targets = this.members().filter(({ state }) => state !== "paused");
    const failures = await this.#all(targets, (vm) => vm.pause());
    if (failures.size === 0) return;
    const paused = targets.filter(({ state }) => state === "paused");
    await Promise.allSettled(paused.map((vm) => vm.resume()));
    throw this.#failed("pause", failures, targets.length);
  }

  /** Lets all members go on; if one fails, the others are paused again. */
  async resume(): Promise<void> {
    const targets = this.members().filter(({ state }) => state !== "booted");
    const failures = await this.#all(targets, (vm) => vm.resume());
    if (failures.size === 0) return;
    const resumed = targets.filter(({ state }) => state === "booted");
    await Promise.allSettled(resumed.map((vm) => vm.pause()));
    throw this.#failed("resume", failures, targets.length);
  }

  /**
   * Saves the state of all members at the same time; if one fails, what was saved of the others is deleted.
   *
   * @throws {LabError} If a member cannot be saved; `failures` has the errors by name.
   */
  async snapshot(options: OperationOptions = {}): Promise<LabSnapshot> {
    const targets = this.members();
    const saved = new Map<string, Snapshot>();
    const failures = await this.#all(targets, async (vm) => {
      saved.set(vm.name, await vm.snapshot(options));
    });
    const snapshot = new LabSnapshot(saved);
    if (failures.size === 0) return snapshot;
    await snapshot.delete();
    throw this.#failed("snapshot", failures, targets.length);
  }

  /**
   * Puts all machines of a snapshot into the state that was saved, at the same time; if one fails, all of them are ended.
   *
   * @throws {LabError} If a machine cannot be restored; `failures` has the errors by name.
   */
  async restore(snapshot: LabSnapshot, options: OperationOptions = {}): Promise<void> {
    if (!(snapshot instanceof LabSnapshot)) {
      throw new TypeError(`lab.restore() takes a LabSnapshot, got ${describe(snapshot)}`);
    }
    const targets = [...snapshot.machines.keys()].map((name) => this.#find(name));
    const failures = await this.#all(
      targets,
      (vm) => vm.restore(snapshot.machines.get(vm.name)!, options),
    );
    if (failures.size === 0) return;
    await Promise.allSettled(targets.map((vm) => vm.kill()));
    throw this.#failed("restore", failures, targets.length);
  }

  /**
   * Makes a machine that goes on from what a fixture has saved, as quickly as a clone of a template. The fixture is built
   * when it is used first, and again when what it was made from has changed.
   *
   * @param path The file that calls `defineFixture()`, relative to the file that calls this.
   * @throws {BelljarError} If it cannot be built; it tells what its author's code threw.
   */
  async fixture(path: string | URL, options: UseFixtureOptions = {}): Promise<Vm> {
    checkUseFixture(options);
    const { name, signal } = options;
    await using snapshot = await openFixture(path, captureSite(), signal);
    const { memoryBytes, cpus } = snapshot.open().spec;
    const vm = this.vm(name ?? snapshot.vm, snapshot.image, { memory: memoryBytes, cpus });
    try {
      return await vm.restore(snapshot, { signal });
    } catch (error) {
      await vm[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Reserves what the machines of a file take at most at the same time, so that it cannot come to wait for resources
   * while it holds some. A boot beyond it fails at once.
   */
  claim(options: ClaimOptions): Promise<Claim> {
    return Claim.take(options);
  }

  /**
   * Waits until `count` callers have arrived at the barrier of this name: tasks, steps or workers of one test. It can be
   * used again afterwards.
   *
   * @returns False if they have not all arrived within `timeout`.
   */
  async barrier(
    name: string,
    count: number,
    timeout: Duration = 60,
    options: OperationOptions = {},
  ): Promise<boolean> {
    checkBarrier(options);
    return await trackOperation(
      { op: `barrier("${name}")` },
      () => this.#registry.barriers.arrive(name, count, timeout, options),
    );
  }

  #visible(): Vm[] {
    return [...this.#registry.machines].filter((vm) => isVisible(vm.scope));
  }

  #find(name: string): Vm {
    const visible = this.#visible();
    const vm = visible.find((one) => one.name === name);
    if (vm) return vm;
    throw new TypeError(
      `There is no machine "${name}" in this or a surrounding scope: ${
        hintFor(name, visible.map((one) => one.name))
      }`,
    );
  }

  async #all(
    targets: readonly Vm[],
    work: (vm: Vm) => Promise<unknown>,
  ): Promise<Map<string, unknown>> {
    const outcomes = await Promise.allSettled(targets.map((vm) => work(vm)));
    const failures = new Map<string, unknown>();
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.status === "rejected") failures.set(targets[i]!.name, outcome.reason);
    }
    return failures;
  }

  #failed(verb: string, failures: Map<string, unknown>, total: number): LabError {
    const lines = [...failures].map(([name, error]) => {
      const text = error instanceof Error ? error.message : String(error);
      return `"${name}": ${text.split("\n")[0]}`;
    });
    return new LabError(
      `Cannot ${verb} ${this.#label()}: ${failures.size} of ${total} machines failed`,
      { failures, actual: lines.join("\n"), cause: [...failures.values()][0] },
    );
  }

  #label(): string {
    return this.name === "" ? "the lab" : `lab "${this.name}"`;
  }
}

/** The lab of this file. */
export const lab: Lab = new Lab();

function isVisible(scope: Scope): boolean {
  for (let at: Scope | undefined = currentScope(); at; at = at.parent) {
    if (at === scope) return true;
  }
  return false;
}

/** Names become host names and parts of paths. */
function checkName(name: unknown, what: string): void {
  if (typeof name === "string" && /^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/.test(name)) {
    return;
  }
  throw new TypeError(
    `The name of a ${what} must be 1 to 63 letters, digits, "-", "_" and ".", with a letter or digit at both ` +
      `ends; got ${describe(name)}`,
  );
}

function describe(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : value === null ? "null" : typeof value;
}
