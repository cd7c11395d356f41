import { ResetPoint } from "../lab/mod.ts";
import { type Scope, uncharged } from "../scope/mod.ts";
import type { Failure } from "./observer.ts";

/** Puts the machines of a file back before each test, if the file asks for that. */
export class FileReset {
  readonly #scope: Scope;
  #point: ResetPoint | undefined;
  #refused: Failure | undefined;

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  /** Before the first test saves the machines, before later ones puts them back. Returns what went wrong. */
  async before(): Promise<Failure | undefined> {
    if (this.#refused) return this.#refused;
    try {
      await this.#scope.run(() => uncharged(() => this.#saveOrRestore()));
      return undefined;
    } catch (error) {
      const failure = { error, phase: "resetBetweenTests" };
      // What cannot be saved once cannot be saved before the next test either.
      if (!this.#point) this.#refused = failure;
      return failure;
    }
  }

  async #saveOrRestore(): Promise<void> {
    if (this.#point) await this.#point.restore();
    else this.#point = await ResetPoint.take(this.#scope);
  }
}
