import { formatBytes } from "../values/mod.ts";

/** What a machine of a file needs. */
export interface PoolRequest {
  /** Name of the file that asks. */
  file: string;
  memoryBytes: number;
  cpus: number;
  /** Names of the machines it is for. */
  names: readonly string[];
}

/** A request that will never be granted, and what its file can do about it. */
export interface Refusal {
  summary: string;
  actual: string;
  next: string;
}

/** What a file was granted. */
export interface PoolGrant {
  /** Gives it back; harmless when called again. */
  release(): void;
}

/** What is used and what there is. */
export interface PoolState {
  memoryBytes: number;
  cpus: number;
  /** Files that hold something. */
  files: number;
}

/** Options for {@linkcode Pool}. */
export interface PoolOptions {
  /** Memory that all machines together may use. */
  memoryBytes: number;
  /** Processors that all machines together may use. */
  cpus: number;
  /** Called when something was granted or given back. */
  onChange?: (used: PoolState) => void;
  /** Called when a request has to wait. */
  onWait?: (request: PoolRequest, waitingFor: string) => void;
  /** Whether the host is short of memory now. */
  isShort?: () => Promise<boolean>;
}

/** Thrown into the wait for a request that will never be granted. */
export class PoolRefusalError extends Error {
  override readonly name = "PoolRefusalError";
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.summary);
    this.refusal = refusal;
  }
}

interface Waiting extends PoolRequest {
  resolve(grant: PoolGrant): void;
  reject(error: PoolRefusalError): void;
}

interface Held {
  memoryBytes: number;
  cpus: number;
}

/** Longest pause because of memory pressure, and time between two looks at it. */
const MAX_PAUSE_MS = 30_000;
const LOOK_MS = 500;

/**
 * Shares memory and processors among the files of a run. Requests are granted in order, those of files that hold something
 * before those of files that do not: the others could wait for ever for what these give back.
 */
export class Pool {
  readonly #options: PoolOptions;
  #held = new Map<string, Set<Held>>();
  #queue: Waiting[] = [];
  #pausedSince: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pumping = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** What is held now. */
  get used(): PoolState {
    const all = [...this.#held.values()].flatMap((held) => [...held]);
    return {
      memoryBytes: all.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
      cpus: all.reduce((sum, { cpus }) => sum + cpus, 0),
      files: this.#held.size,
    };
  }

  /**
   * Waits until the resources are free.
   *
   * @throws {PoolRefusalError} If they never will be.
   * @throws {unknown} The reason of `signal`, if that aborts first.
   */
  async reserve(request: PoolRequest, signal?: AbortSignal): Promise<PoolGrant> {
    signal?.throwIfAborted();
    this.#refuseImpossible(request);
    const { promise, resolve, reject } = Promise.withResolvers<PoolGrant>();
    promise.catch(() => {}); // It may be refused before it is awaited below.
    const waiting: Waiting = { ...request, resolve, reject };
    const onAbort = () => {
      this.#remove(waiting);
      (reject as (reason: unknown) => void)(signal!.reason);
      void this.#pump();
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      this.#queue.push(waiting);
      await this.#pump();
      if (this.#queue.includes(waiting)) this.#breakCycle(waiting);
      if (this.#queue.includes(waiting)) this.#options.onWait?.(request, this.#waitingFor(request));
      return await promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Gives back all that a file holds and drops what it waits for: its process has ended. */
  endFile(file: string): void {
    this.#held.delete(file);
    this.#queue = this.#queue.filter((waiting) => waiting.file !== file);
    this.#options.onChange?.(this.used);
    void this.#pump();
  }

  /** Stops looking at the host. */
  close(): void {
    clearTimeout(this.#timer);
    this.#queue = [];
  }

  #refuseImpossible(request: PoolRequest): void {
    const { memoryBytes } = this.#options;
    const own = this.#memoryOf(request.file);
    if (own + request.memoryBytes <= memoryBytes) return;
    const held = own > 0 ? `the file holds ${formatBytes(own)} already and ` : "";
    throw new PoolRefusalError({
      summary: `Cannot start ${listed(request.names)}: it does not fit into the memory of this run`,
      actual:
        `${held}it needs ${formatBytes(request.memoryBytes)} of the ${
          formatBytes(memoryBytes)
        } that all ` +
        "machines may use together",
      next: "give machines less `memory`, end some before, or raise --memory",
    });
  }

  /** When every file that holds something waits for more, nobody will give anything back: the last to ask is refused. */
  #breakCycle(last: Waiting): void {
    const holders = [...this.#held.keys()];
    const waits = (file: string) => this.#queue.some((waiting) => waiting.file === file);
    if (this.#memoryOf(last.file) === 0 || !holders.every(waits)) return;
    this.#remove(last);
    const peak = this.#memoryOf(last.file) + last.memoryBytes;
    const others = holders.filter((file) => file !== last.file);
    last.reject(
      new PoolRefusalError({
        summary: `Cannot start ${listed(last.names)}: it would wait for ever`,
        actual: `${last.file} holds ${formatBytes(this.#memoryOf(last.file))} and wants ${
          formatBytes(last.memoryBytes)
        } more, while ${others.join(", ")} ${others.length === 1 ? "does" : "do"} the same`,
        next:
          `reserve the file's peak up front: await lab.claim({ memory: "${
            Math.ceil(peak / 2 ** 20)
          }M" }) ` +
          "in beforeAll()",
      }),
    );
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (let next = this.#next(); next; next = this.#next()) {
        if (!this.#fits(next) || await this.#isPaused()) break;
        this.#remove(next);
        next.resolve(this.#grant(next));
      }
    } finally {
      this.#pumping = false;
    }
  }

  #next(): Waiting | undefined {
    return this.#queue.find(({ file }) => this.#held.has(file)) ?? this.#queue[0];
  }

  #fits(request: Waiting): boolean {
    const { used } = this;
    if (used.memoryBytes + request.memoryBytes > this.#options.memoryBytes) return false;
    // Processors are shared out in time: a file that is alone may have more than there are.
    const isAlone = used.files === 0 || (used.files === 1 && this.#held.has(request.file));
    return isAlone || used.cpus + request.cpus <= this.#options.cpus;
  }

  #grant({ file, memoryBytes, cpus }: Waiting): PoolGrant {
    const held: Held = { memoryBytes, cpus };
    const all = this.#held.get(file) ?? new Set();
    this.#held.set(file, all.add(held));
    this.#options.onChange?.(this.used);
    return {
      release: () => {
        if (!all.delete(held)) return;
        if (all.size === 0 && this.#held.get(file) === all) this.#held.delete(file);
        this.#options.onChange?.(this.used);
        void this.#pump();
      },
    };
  }

  /** A host that is short of memory starts nothing new for a while, unless nothing of ours could end meanwhile. */
  async #isPaused(): Promise<boolean> {
    const { isShort } = this.#options;
    if (!isShort || this.#held.size === 0 || !await isShort()) {
      this.#pausedSince = undefined;
      return false;
    }
    this.#pausedSince ??= performance.now();
    if (performance.now() - this.#pausedSince > MAX_PAUSE_MS) return false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#pump(), LOOK_MS);
    return true;
  }

  #remove(waiting: Waiting): void {
    this.#queue = this.#queue.filter((one) => one !== waiting);
  }

  #memoryOf(file: string): number {
    return [...this.#held.get(file) ?? []].reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  }

  #waitingFor({ memoryBytes, names }: PoolRequest): string {
    const free = this.#options.memoryBytes - this.used.memoryBytes;
    return `${formatBytes(memoryBytes)} for ${listed(names)}, ${
      formatBytes(Math.max(0, free))
    } are free`;
  }
}

/** Whether tasks of this host had to wait for memory for a good part of the last ten seconds. */
export async function isMemoryShort(path = "/proc/pressure/memory"): Promise<boolean> {
  try {
    const full = /^full avg10=(\d+\.\d+)/m.exec(await Deno.readTextFile(path));
    return full !== null && Number(full[1]) > 10;
  } catch {
    return false; // A kernel without PSI, or a container that hides it.
  }
}

function listed(names: readonly string[]): string {
  return names.map((name) => JSON.stringify(name)).join(", ");
}
