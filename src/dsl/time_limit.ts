import type { Chargeable } from "../scope/mod.ts";

// setTimeout() takes 32 bits; longer limits are as good as none.
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A limit on time that can be stopped and go on. */
export class TimeLimit implements Chargeable {
  /** Resolves when the time has run out; never, if it is stopped before. */
  readonly expired: Promise<void>;
  #usedMs = 0;
  #since: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #paused = 0;
  #stopped = false;
  #expire: () => void;
  #limit: () => number;

  /** @param limit The limit in milliseconds, asked again before it expires: the time scale may have changed. */
  constructor(limit: number | (() => number)) {
    this.#limit = typeof limit === "function" ? limit : () => limit;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.expired = promise;
    this.#expire = resolve;
    this.#start();
  }

  /** The limit in milliseconds, as of now. */
  get limitMs(): number {
    return this.#limit();
  }

  /** Milliseconds that counted so far. */
  get usedMs(): number {
    return this.#usedMs + (this.#since === undefined ? 0 : performance.now() - this.#since);
  }

  pause(): void {
    if (this.#paused++ === 0) this.#halt();
  }

  resume(): void {
    if (this.#paused > 0 && --this.#paused === 0) this.#start();
  }

  /** Ends the limit: it does not expire any more. */
  stop(): void {
    this.#halt();
    this.#stopped = true;
  }

  #start(): void {
    if (this.#stopped) return;
    this.#since = performance.now();
    const restMs = this.limitMs - this.#usedMs;
    if (restMs >= MAX_TIMER_MS) return;
    this.#timer = setTimeout(() => this.#check(), Math.max(0, restMs));
  }

  #check(): void {
    this.#halt();
    if (this.#usedMs < this.limitMs) return this.#start();
    this.#stopped = true;
    this.#expire();
  }

  #halt(): void {
    clearTimeout(this.#timer);
    if (this.#since === undefined) return;
    this.#usedMs += performance.now() - this.#since;
    this.#since = undefined;
  }
}
