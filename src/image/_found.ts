import { exists } from "./_store.ts";

/**
 * What was found once by this process, and need not be looked for again while its files are there. What it was made from,
 * this program's own parts and the host's, does not change while it runs.
 */
export class Found<T> {
  readonly #known = new Map<string, T>();
  readonly #filesOf: (value: T) => readonly string[];

  constructor(filesOf: (value: T) => readonly string[]) {
    this.#filesOf = filesOf;
  }

  /** Returns what is known under a key if it is whole, else what `find` finds, which is kept. */
  async get(key: readonly unknown[], find: () => Promise<T>): Promise<T> {
    const name = JSON.stringify(key);
    const known = this.#known.get(name);
    if (known !== undefined && await this.#isWhole(known)) return known;
    const found = await find();
    this.#known.set(name, found);
    return found;
  }

  async #isWhole(value: T): Promise<boolean> {
    return (await Promise.all(this.#filesOf(value).map(exists))).every(Boolean);
  }
}
