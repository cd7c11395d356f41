import { HostError } from "../errors.ts";
import { ensureOwnedDir, type FileLock, lockFile, pause, tryLockFile } from "../host/mod.ts";
import type { ResourceGrant, ResourceRequest } from "../lab/mod.ts";
import { formatBytes, formatSeconds } from "../values/mod.ts";

/** Options for {@linkcode SlotPool}. */
export interface SlotPoolOptions {
  /** Folder of the slots, shared by all processes that share the memory. */
  dir: string;
  /** Memory that the machines of all processes together may use. */
  memoryBytes: number;
  /** Memory of one slot. @default {128 MiB} */
  slotBytes?: number;
  /** Longest wait: others may hold what they need while they wait too. @default {180_000} */
  waitMs?: number;
}

const SLOT_BYTES = 128 * 2 ** 20;
const WAIT_MS = 180_000;
// flock(2) tells nobody when a lock is free.
const RETRY_MS = 50;

/**
 * Shares memory among processes that have no parent, as under `deno test`: each slot is a file whose lock stands for a part
 * of it. The system frees the locks of a process that ends, however that happens.
 */
export class SlotPool {
  readonly #options: SlotPoolOptions;
  readonly #slotBytes: number;
  #held = 0;
  /** Gives back what this process can do without. */
  readonly #spares = new Set<() => void>();

  constructor(options: SlotPoolOptions) {
    this.#options = options;
    this.#slotBytes = options.slotBytes ?? SLOT_BYTES;
  }

  /**
   * Waits until as many slots are free as the machines need.
   *
   * @throws {HostError} If there never will be so many, or they did not become free in time.
   * @throws {unknown} The reason of the request's signal, if that aborts first.
   */
  async reserve({ memoryBytes, names, signal }: ResourceRequest): Promise<ResourceGrant> {
    const { dir } = this.#options;
    const wanted = Math.ceil(memoryBytes / this.#slotBytes);
    this.#refuseImpossible(wanted, memoryBytes, names);
    await ensureOwnedDir(dir);
    // In turn, but not after those who would wait for what this process holds.
    using _turn = this.#held > 0 ? undefined : await lockFile(`${dir}/turn.lock`, { signal });
    const locks = await this.#take(wanted, names, signal);
    this.#held += wanted;
    return {
      release: () => {
        this.#held -= locks.length;
        for (const lock of locks.splice(0)) lock[Symbol.dispose]();
      },
    };
  }

  /**
   * Takes memory for what this process can do without: at once or not at all, and never more than what leaves half of all
   * for others, who cannot ask for it back. `reclaim` is called when this process itself has to wait.
   */
  async spare(
    { memoryBytes }: Pick<ResourceRequest, "memoryBytes">,
    reclaim: () => void,
  ): Promise<ResourceGrant | undefined> {
    const { dir } = this.#options;
    const wanted = Math.ceil(memoryBytes / this.#slotBytes);
    await ensureOwnedDir(dir);
    // What is taken beyond the need shows that it is free, and is given back.
    const locks = await this.#tryTake(wanted + Math.ceil(this.#slots / 2), dir);
    if (!locks) return undefined;
    for (const lock of locks.splice(wanted)) lock[Symbol.dispose]();
    this.#spares.add(reclaim);
    return {
      release: () => {
        this.#spares.delete(reclaim);
        for (const lock of locks.splice(0)) lock[Symbol.dispose]();
      },
    };
  }

  get #slots(): number {
    return Math.floor(this.#options.memoryBytes / this.#slotBytes);
  }

  async #take(
    wanted: number,
    names: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<FileLock[]> {
    const { dir, waitMs = WAIT_MS } = this.#options;
    const began = performance.now();
    for (;;) {
      signal?.throwIfAborted();
      const locks = await this.#tryTake(wanted, dir);
      if (locks) return locks;
      for (const reclaim of this.#spares) reclaim();
      if (performance.now() - began > waitMs) {
        throw new HostError(
          `Cannot start ${listed(names)}: no memory became free within ${
            formatSeconds(waitMs / 1000)
          }`,
          {
            code: "POOL",
            expected: `${formatBytes(wanted * this.#slotBytes)} of the ${
              formatBytes(this.#options.memoryBytes)
            } that machines may use together`,
            next: this.#held > 0
              ? `reserve the file's peak up front: await lab.claim({ memory: "${
                Math.ceil((this.#held + wanted) * this.#slotBytes / 2 ** 20)
              }M" }) in beforeAll()`
              : "end what else runs machines, or run fewer files at the same time",
          },
        );
      }
      await pause(RETRY_MS, signal);
    }
  }

  /** All or nothing, so that nobody holds a part while it waits for the rest. */
  async #tryTake(wanted: number, dir: string): Promise<FileLock[] | undefined> {
    using _mutex = await lockFile(`${dir}/take.lock`);
    const locks: FileLock[] = [];
    for (let i = 0; i < this.#slots && locks.length < wanted; i++) {
      const lock = await tryLockFile(`${dir}/${i}.slot`, { create: true });
      if (lock) locks.push(lock);
    }
    if (locks.length === wanted) return locks;
    for (const lock of locks) lock[Symbol.dispose]();
    return undefined;
  }

  #refuseImpossible(wanted: number, memoryBytes: number, names: readonly string[]): void {
    if (this.#held + wanted <= this.#slots) return;
    const held = this.#held > 0
      ? `this process holds ${formatBytes(this.#held * this.#slotBytes)} already and `
      : "";
    throw new HostError(
      `Cannot start ${listed(names)}: it does not fit into the memory of this host`,
      {
        code: "POOL",
        actual: `${held}it needs ${formatBytes(memoryBytes)} of the ${
          formatBytes(this.#options.memoryBytes)
        } that all machines may use together`,
        next: "give machines less `memory`, end some before, or raise BELLJAR_MEMORY",
      },
    );
  }
}

function listed(names: readonly string[]): string {
  return names.map((name) => JSON.stringify(name)).join(", ");
}
