import { isInfrastructure } from "./classify.ts";
import type { TestOutcome } from "./observer.ts";

/** How often a test is run again: as its author asked, and once more when neither test nor guest was at fault. */
export class Retries {
  #asked: number;
  #infrastructure = 1;

  constructor(asked: number) {
    this.#asked = asked;
  }

  /** Whether the test is run again after that outcome. */
  take(outcome: TestOutcome): boolean {
    if (outcome.status !== "failed") return false;
    if (isInfrastructure(outcome.class) && this.#infrastructure > 0) {
      this.#infrastructure--;
      return true;
    }
    return this.#asked-- > 0;
  }
}
