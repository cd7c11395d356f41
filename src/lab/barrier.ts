import { currentSignal } from "../scope/mod.ts";
import type { Duration } from "../values/mod.ts";
import { deadlineIn, race, TIMED_OUT } from "./wait.ts";
import { limitMs } from "./stream.ts";
import type { OperationOptions } from "./_link.ts";

interface Round {
  count: number;
  waiting: Set<object>;
  released: PromiseWithResolvers<true>;
}

/** Points at which tasks of a test wait for each other, by name. */
export class Barriers {
  #rounds = new Map<string, Round>();

  /** Resolves true when `count` have arrived, and false when that takes longer than `timeout`. */
  async arrive(
    name: string,
    count: number,
    timeout: Duration,
    options: OperationOptions,
  ): Promise<boolean> {
    if (typeof name !== "string" || name === "") {
      throw new TypeError(`barrier() takes a name, got ${name === "" ? '""' : typeof name}`);
    }
    if (typeof count !== "number" || !Number.isInteger(count) || count < 1) {
      throw new RangeError(`barrier() takes a whole number from 1 as count, got ${String(count)}`);
    }
    const ms = limitMs(timeout, "timeout of lab.barrier()");
    const round = this.#round(name, count);
    const self = {};
    round.waiting.add(self);
    if (round.waiting.size === count) {
      this.#rounds.delete(name); // The next to arrive begins another round.
      round.released.resolve(true);
      return true;
    }
    try {
      const outcome = await race(
        round.released.promise,
        deadlineIn(ms),
        options.signal,
        currentSignal(),
      );
      return outcome !== TIMED_OUT;
    } finally {
      round.waiting.delete(self);
      if (round.waiting.size === 0 && this.#rounds.get(name) === round) this.#rounds.delete(name);
    }
  }

  #round(name: string, count: number): Round {
    const round = this.#rounds.get(name);
    if (!round) {
      const fresh = { count, waiting: new Set<object>(), released: Promise.withResolvers<true>() };
      this.#rounds.set(name, fresh);
      return fresh;
    }
    if (round.count !== count) {
      throw new RangeError(
        `Barrier "${name}" waits for ${round.count}, and cannot wait for ${count} at the same time`,
      );
    }
    return round;
  }
}
