import { processMemory } from "../host/mod.ts";
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
  /** Says that it serves one clone, run by this process: a clone costs what it dirties. */
  isClone(pid: number): void;
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
  /** What a process has of the host's memory; `undefined` if it cannot be told. */
  memoryOf?: (pid: number) => Promise<number | undefined>;
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

/** What a file was granted although it can do without. */
interface Spare {
  memoryBytes: number;
  /** Asks for it back, once. */
  reclaim?: () => void;
}

interface Waiting extends PoolRequest {
  resolve(grant: PoolGrant): void;
  reject(error: PoolRefusalError): void;
}

interface Held {
  /** What it is charged. */
  memoryBytes: number;
  cpus: number;
  /** What was asked for: the most that it can come to use. */
  fullBytes: number;
  /** The process that runs it, if it is a clone. */
  clonePid?: number;
}

/** Share of its memory that a clone is charged until it was measured, and the least afterwards. */
const FIRST_SHARE = 1 / 2;
const LEAST_SHARE = 1 / 4;
/** Room that a measured clone is left to grow in before the next look. */
const GROWTH = 1.5;

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
  /** What files hold that they can do without: it counts as used, and for nothing else. */
  #spares = new Map<string, Set<Spare>>();
  #queue: Waiting[] = [];
  #pausedSince: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pumping: PromiseWithResolvers<void> | undefined;
  #pumpAgain = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** What is held now. */
  get used(): PoolState {
    const all = [...this.#held.values()].flatMap((held) => [...held]);
    const spares = [...this.#spares.values()].flatMap((spares) => [...spares]);
    return {
      memoryBytes: [...all, ...spares].reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
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

  /**
   * Takes memory for what a file can do without: at once and while nobody waits, or not at all. `reclaim` is called, once,
   * when somebody waits after all; what is left then is waited for.
   */
  async spare(
    { file, memoryBytes }: Pick<PoolRequest, "file" | "memoryBytes">,
    reclaim: () => void,
  ): Promise<Pick<PoolGrant, "release"> | undefined> {
    const isFree = () =>
      this.#queue.length === 0 &&
      this.used.memoryBytes + memoryBytes <= this.#options.memoryBytes;
    if (!isFree() || await this.#options.isShort?.() || !isFree()) return undefined;
    const spare: Spare = { memoryBytes, reclaim };
    const all = this.#spares.get(file) ?? new Set();
    this.#spares.set(file, all.add(spare));
    this.#options.onChange?.(this.used);
    return {
      release: () => {
        if (!all.delete(spare)) return;
        if (all.size === 0 && this.#spares.get(file) === all) this.#spares.delete(file);
        this.#options.onChange?.(this.used);
        void this.#pump().then(() => this.#lookForCycle());
      },
    };
  }

  /** Gives back all that a file holds and drops what it waits for: its process has ended. */
  endFile(file: string): void {
    this.#held.delete(file);
    this.#spares.delete(file);
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
    if (this.#spares.size > 0) return; // these are on their way back
    const holders = [...this.#held.keys()];
    const waits = (file: string) => this.#queue.some((waiting) => waiting.file === file);
    if (this.#memoryOf(last.file) === 0 || !holders.every(waits)) return;
    this.#remove(last);
    // A claim counts all that its machines could use.
    const peak = this.#fullMemoryOf(last.file) + last.memoryBytes;
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

  /** Looks again once no spares are left whose return was waited for. */
  #lookForCycle(): void {
    const last = this.#queue.at(-1);
    if (last) this.#breakCycle(last);
  }

  async #pump(): Promise<void> {
    // What happens while it looks at the host is looked at again, not lost.
    this.#pumpAgain = true;
    if (this.#pumping) return await this.#pumping.promise;
    const pumping = this.#pumping = Promise.withResolvers<void>();
    try {
      while (this.#pumpAgain) {
        this.#pumpAgain = false;
        await this.#grantWhatFits();
      }
    } finally {
      this.#pumping = undefined;
      pumping.resolve();
    }
  }

  async #grantWhatFits(): Promise<void> {
    for (let next = this.#next(); next; next = this.#next()) {
      // What clones use is looked at when somebody would have to wait for it.
      if (!this.#fits(next) && !(await this.#measureClones() && this.#fits(next))) {
        return this.#reclaimSpares();
      }
      if (await this.#isPaused()) return;
      if (!this.#queue.includes(next)) continue; // given up meanwhile
      this.#remove(next);
      next.resolve(this.#grant(next));
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
    const held: Held = { memoryBytes, cpus, fullBytes: memoryBytes };
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
      isClone: (pid) => {
        if (!all.has(held)) return;
        held.clonePid = pid;
        held.memoryBytes = held.fullBytes * FIRST_SHARE;
        this.#options.onChange?.(this.used);
        void this.#pump();
      },
    };
  }

  #reclaimSpares(): void {
    for (const spare of [...this.#spares.values()].flatMap((spares) => [...spares])) {
      const { reclaim } = spare;
      spare.reclaim = undefined;
      reclaim?.();
    }
  }

  /** Charges each clone what it uses by now. Returns whether that made a difference. */
  async #measureClones(): Promise<boolean> {
    const { memoryOf = pssOf } = this.#options;
    const clones = [...this.#held.values()].flatMap((held) => [...held])
      .filter(({ clonePid }) => clonePid !== undefined);
    const changes = await Promise.all(clones.map(async (held) => {
      const used = await memoryOf(held.clonePid!);
      if (used === undefined) return false; // it is about to be given back
      const before = held.memoryBytes;
      const charge = Math.max(used * GROWTH, held.fullBytes * LEAST_SHARE);
      held.memoryBytes = Math.round(Math.min(charge, held.fullBytes));
      return held.memoryBytes !== before;
    }));
    if (!changes.includes(true)) return false;
    this.#options.onChange?.(this.used);
    return true;
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

  #fullMemoryOf(file: string): number {
    return [...this.#held.get(file) ?? []].reduce((sum, { fullBytes }) => sum + fullBytes, 0);
  }

  #waitingFor({ memoryBytes, names }: PoolRequest): string {
    const free = this.#options.memoryBytes - this.used.memoryBytes;
    return `${formatBytes(memoryBytes)} for ${listed(names)}, ${
      formatBytes(Math.max(0, free))
    } are free`;
  }
}

async function pssOf(pid: number): Promise<number | undefined> {
  return (await processMemory(pid))?.pssBytes;
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
