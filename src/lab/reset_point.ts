import { BelljarError } from "../errors.ts";
import type { Scope } from "../scope/mod.ts";
import { LabError } from "./errors.ts";
import type { Snapshot } from "./snapshot.ts";
import { machinesOf } from "./_machines.ts";
import type { Vm } from "./vm.ts";

/** What a machine goes back to. */
type Earlier =
  | { kind: "saved"; snapshot: Snapshot; isPaused: boolean }
  | { kind: "unbooted" }
  | { kind: "ended" };

/** The state of all machines of a scope, to which they can go back any number of times. */
export class ResetPoint {
  readonly #machines: ReadonlyMap<Vm, Earlier>;

  private constructor(machines: ReadonlyMap<Vm, Earlier>) {
    this.#machines = machines;
  }

  /**
   * Saves the machines of a scope that run now. What is saved goes with that scope.
   *
   * @throws {LabError} If one cannot be saved: it names what is open, with the places where it was created.
   */
  static async take(scope: Scope): Promise<ResetPoint> {
    const machines = new Map<Vm, Earlier>();
    await onAll("save", machinesOf(scope), async (vm) => {
      const isPaused = vm.state === "paused";
      if (isPaused) await vm.resume();
      if (vm.state !== "booted") {
        return void machines.set(vm, { kind: vm.state === "created" ? "unbooted" : "ended" });
      }
      machines.set(vm, { kind: "saved", snapshot: await vm.snapshot(), isPaused });
      if (isPaused) await vm.pause();
    });
    return new ResetPoint(machines);
  }

  /**
   * Puts them back, at the same time. What a test has started of them is off again.
   *
   * @throws {LabError} If one cannot be put back.
   */
  async restore(): Promise<void> {
    await onAll("reset", [...this.#machines.keys()], async (vm) => {
      if (vm.closed) return;
      const earlier = this.#machines.get(vm)!;
      if (earlier.kind === "unbooted") return await vm.switchOff();
      if (earlier.kind === "ended") return await vm.kill();
      await vm.restore(earlier.snapshot);
      if (earlier.isPaused) await vm.pause();
    });
  }
}

async function onAll(
  verb: string,
  machines: readonly Vm[],
  work: (vm: Vm) => Promise<void>,
): Promise<void> {
  const outcomes = await Promise.allSettled(machines.map(work));
  const failures = new Map<string, unknown>();
  for (const [i, outcome] of outcomes.entries()) {
    if (outcome.status === "rejected") failures.set(machines[i]!.name, outcome.reason);
  }
  if (failures.size === 0) return;
  if (failures.size === 1) throw [...failures.values()][0];
  const actual = [...failures].map(([name, error]) =>
    error instanceof BelljarError ? error.message : `machine "${name}": ${error}`
  );
  throw new LabError(`Cannot ${verb} the machines of the file between its tests`, {
    failures,
    actual: actual.join("\n"),
    next: "close what is named at the end of beforeAll(), or do without `resetBetweenTests`",
    cause: [...failures.values()][0],
  });
}
