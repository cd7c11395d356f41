/** What a watchdog does. */
export interface WatchdogOptions {
  /** Asks the process for a sign of life. */
  ping(n: number): void;
  /** The process gives none. */
  onSilent(what: string): void;
  /** Longest wait for a sign of life, in milliseconds. */
  answerMs: number;
}

/** Time after a limit has passed in which the process itself should have dealt with it, in milliseconds. */
const SLACK_MS = 2_000;

/**
 * Watches over the limits of a file from outside: the process keeps them itself, unless its event loop is blocked. So when
 * a limit has passed it is asked for a sign of life, and given up only if there is none.
 */
export class Watchdog {
  #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #options: WatchdogOptions;
  #pings = 0;
  #answered = 0;

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  /** Watches `what`, which should end within `limitMs`. */
  watch(what: string, limitMs: number): void {
    this.unwatch(what);
    this.#wait(what, limitMs + SLACK_MS);
  }

  /** `what` has ended. */
  unwatch(what: string): void {
    clearTimeout(this.#timers.get(what));
    this.#timers.delete(what);
  }

  /** The process answered ping `n`. */
  answer(n: number): void {
    this.#answered = Math.max(this.#answered, n);
  }

  /** Watches nothing any more. */
  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #wait(what: string, ms: number): void {
    // Longer timers than 24 days fire at once.
    this.#timers.set(what, setTimeout(() => this.#ask(what), Math.min(ms, 2 ** 31 - 1)));
  }

  #ask(what: string): void {
    const n = ++this.#pings;
    this.#options.ping(n);
    const { answerMs } = this.#options;
    const timer = setTimeout(() => {
      if (this.#answered >= n) return this.#ask(what);
      this.stop();
      this.#options.onSilent(what);
    }, answerMs);
    this.#timers.set(what, timer);
  }
}
