/** How long the processors did something and nothing, in ticks since the host's start. */
export interface ProcessorTimes {
  busy: number;
  idle: number;
  processors: number;
}

/** Reads the text of `/proc/stat`; see proc_stat(5). */
export function parseProcessorTimes(text: string): ProcessorTimes {
  const all = /^cpu +(.*)$/m.exec(text)?.[1]?.split(" ").map(Number) ?? [];
  // user nice system idle iowait irq softirq steal; guest time is part of user time.
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] =
    all;
  return {
    busy: user + nice + system + irq + softirq + steal,
    idle: idle + iowait,
    processors: text.match(/^cpu\d+ /gm)?.length ?? 1,
  };
}

/** Shorter spans than this say nothing: a tick has 10 ms. */
const LEAST_MS = 100;

/** Tells how many processors of this host nobody uses. */
export class ProcessorRoom {
  readonly #read: () => Promise<string>;
  readonly #now: () => number;
  #last: { times: ProcessorTimes; atMs: number; ownMs: number } | undefined;
  #room = 0;

  constructor(
    read: () => Promise<string> = () => Deno.readTextFile("/proc/stat"),
    now: () => number = () => performance.now(),
  ) {
    this.#read = read;
    this.#now = now;
  }

  /**
   * How many processors were free on average since the last call; 0 at the first, and where the kernel does not tell.
   *
   * @param ownMs Milliseconds for which a processor was used so far by what the caller could do without.
   */
  async measure(ownMs: number): Promise<number> {
    let times: ProcessorTimes;
    try {
      times = parseProcessorTimes(await this.#read());
    } catch {
      return 0;
    }
    const atMs = this.#now();
    const last = this.#last;
    if (last && atMs - last.atMs < LEAST_MS) return this.#room;
    this.#last = { times, atMs, ownMs };
    if (!last) return 0;
    const busy = times.busy - last.times.busy, idle = times.idle - last.times.idle;
    if (busy + idle <= 0) return this.#room;
    const used = times.processors * busy / (busy + idle);
    const own = (ownMs - last.ownMs) / (atMs - last.atMs);
    return this.#room = Math.max(0, times.processors - Math.max(0, used - own));
  }
}
