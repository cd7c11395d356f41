import { BelljarError } from "../errors.ts";
import { ProcessorRoom } from "../host/mod.ts";
import { emitEvent, runScope } from "../scope/mod.ts";
import type { Machine, MachineSpec, SavedState, StandbyMachine, Vmm } from "../vmm/mod.ts";
import type { ResourceGrant } from "./providers.ts";

/** What a machine that is prepared ahead takes. */
export interface SpareRequest {
  memoryBytes: number;
}

/** Options for {@linkcode Standbys}. */
export interface StandbysOptions {
  /**
   * Takes resources that nobody waits for, or none: what is prepared ahead must not keep anybody from starting. `reclaim` is
   * called when somebody waits after all.
   */
  reserve(request: SpareRequest, reclaim: () => void): Promise<ResourceGrant | undefined>;
  /** How many tests are to come that may boot a machine. */
  testsAhead(): number;
  /** Most machines that stand by at a time. @default {2, or 1 on a single processor} */
  most?: number;
  /** Tells how many processors of the host are free. @default what the kernel says */
  room?: Pick<ProcessorRoom, "measure">;
}

/** To prepare a machine takes one processor; with less than this left, others would wait for it. */
const LEAST_ROOM = 0.5;

/** A clone dirties a part of its memory only; as much as the pool charges one that it has not measured yet. */
const SHARE = 1 / 2;

/** One machine that is being prepared, or stands by. */
interface Entry {
  machine: Promise<StandbyMachine | undefined>;
  stop: AbortController;
  isReady: boolean;
  /** Gives back what it takes: it was used, or is over. */
  release(): void;
}

/** A machine that is wanted now. */
export interface Wanted {
  vmm: Vmm;
  spec: MachineSpec;
  /** What it begins with, if not with its image's template. */
  state?: SavedState;
}

/** Machines of which one can stand by for another. */
interface Kind {
  entries: Entry[];
  /** Folder of the state that they begin with, if they do. */
  statePath: string | undefined;
  /** Whether one of them has ended: then this is a file that boots one after the other. */
  hasEnded: boolean;
  /** How many shall stand by. */
  want: number;
}

/**
 * Prepares machines while tests run: where one of a kind was booted after another of it had ended, the next one like it is
 * started, used once and stopped ahead of its test, to which `boot()` then is a matter of milliseconds. Where the host's
 * processors are busy anyway nothing is gained by that, and it is left.
 */
export class Standbys implements AsyncDisposable {
  readonly #options: StandbysOptions;
  readonly #most: number;
  /** Kinds, the one that was used last at the end. */
  readonly #kinds = new Map<string, Kind>();
  readonly #ending = new Set<Promise<void>>();
  readonly #room: Pick<ProcessorRoom, "measure">;
  /** Milliseconds that preparing took, and when what is being prepared was begun. */
  #spentMs = 0;
  readonly #begun = new Map<Entry, number>();
  #closed = false;

  constructor(options: StandbysOptions) {
    this.#options = options;
    this.#most = options.most ?? Math.min(2, navigator.hardwareConcurrency);
    this.#room = options.room ?? new ProcessorRoom();
  }

  /** How many stand by or are being prepared. */
  get count(): number {
    return [...this.#kinds.values()].reduce((sum, { entries }) => sum + entries.length, 0);
  }

  /** Starts a machine, by what stands by if there is something that fits. */
  async start(wanted: Wanted): Promise<Machine> {
    const { vmm, spec, state } = wanted;
    const key = this.#closed ? undefined : await vmm.standbyKey(spec, state);
    if (key === undefined) return await startAnew(wanted);
    const kind = this.#kind(key, state);
    const machine = await this.#startOne(kind, wanted);
    machine.ended.then(() => kind.hasEnded = true);
    const room = await this.#room.measure(this.#ownMs());
    if (kind.hasEnded && room >= LEAST_ROOM) this.#fill(kind, wanted);
    return machine;
  }

  /** Gives up what stands by for machines from a state that is about to be deleted. */
  forget(state: SavedState): void {
    for (const [key, kind] of this.#kinds) {
      if (kind.statePath !== state.path) continue;
      this.#kinds.delete(key);
      kind.want = 0;
      this.#drop(kind, kind.entries.length);
    }
  }

  /** Gives all of them up. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const kind of this.#kinds.values()) this.#drop(kind, kind.entries.length);
    await Promise.all(this.#ending);
  }

  #kind(key: string, state: SavedState | undefined): Kind {
    const kind = this.#kinds.get(key) ??
      { entries: [], hasEnded: false, want: 1, statePath: state?.path };
    this.#kinds.delete(key);
    this.#kinds.set(key, kind);
    return kind;
  }

  async #startOne(kind: Kind, wanted: Wanted): Promise<Machine> {
    // What was begun first is ready first, and sooner than what would be begun now.
    const entry = kind.entries.shift();
    if (!entry) return await startAnew(wanted);
    // They are used up faster than one at a time can be prepared.
    if (!entry.isReady && kind.want > 0) kind.want = this.#most;
    const { signal } = wanted.spec;
    const stopped = Promise.withResolvers<never>();
    const onAbort = () => stopped.reject(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      signal?.throwIfAborted();
      const standby = await Promise.race([entry.machine, stopped.promise]);
      return await startAnew({ ...wanted, spec: { ...wanted.spec, standby } });
    } finally {
      stopped.promise.catch(() => {}); // settled by nobody, or lost the race
      signal?.removeEventListener("abort", onAbort);
      this.#end(entry); // what was used is its machine's
    }
  }

  #fill(kind: Kind, wanted: Wanted): void {
    const least = () => Math.min(kind.want, this.#options.testsAhead());
    while (kind.entries.length < least() && !this.#closed) {
      if (this.count >= this.#most && !this.#dropOther(kind)) return;
      kind.entries.push(this.#prepare(kind, wanted));
    }
  }

  #ownMs(): number {
    const now = performance.now();
    return [...this.#begun.values()].reduce((sum, began) => sum + now - began, this.#spentMs);
  }

  /** Makes room: what was not used for the longest time goes first. */
  #dropOther(kind: Kind): boolean {
    const other = [...this.#kinds.values()].find((one) => one !== kind && one.entries.length > 0);
    if (other) this.#drop(other, 1);
    return other !== undefined;
  }

  #prepare(kind: Kind, { vmm, spec, state }: Wanted): Entry {
    const stop = new AbortController();
    const entry: Entry = {
      stop,
      isReady: false,
      machine: Promise.resolve(undefined),
      release: () => {},
    };
    const giveUp = () => {
      const index = kind.entries.indexOf(entry);
      if (index < 0) return;
      kind.entries.splice(index, 1);
      this.#end(entry);
    };
    const prepare = async (): Promise<StandbyMachine | undefined> => {
      try {
        const memoryBytes = spec.memoryBytes * SHARE;
        const grant = await this.#options.reserve({ memoryBytes }, giveUp);
        if (!grant) return void giveUp();
        entry.release = () => grant.release();
        const { disks: _disks, nics: _nics, standby: _standby, ...rest } = spec;
        this.#begun.set(entry, performance.now());
        const machine = await vmm.standby({ ...rest, signal: stop.signal }, state);
        entry.isReady = true;
        machine.ended.then(giveUp);
        return machine;
      } catch (error) {
        giveUp();
        if (stop.signal.aborted) return undefined;
        // Whoever boots the next one is told why that is not possible; trying again ahead of it helps nobody.
        kind.want = 0;
        const why = error instanceof BelljarError ? error.summary : String(error);
        emitEvent("warning", { message: `no machine is prepared ahead any more: ${why}` });
        return undefined;
      } finally {
        this.#spentMs += performance.now() - (this.#begun.get(entry) ?? performance.now());
        this.#begun.delete(entry);
      }
    };
    // Neither its loops nor its end belong to the test that runs now.
    entry.machine = runScope().run(prepare);
    return entry;
  }

  #drop(kind: Kind, count: number): void {
    for (const entry of kind.entries.splice(0, count)) this.#end(entry);
  }

  /** Ends what is being prepared or stands by; what was used is its machine's. */
  #end(entry: Entry): void {
    entry.stop.abort(new DOMException("Nobody needs the machine that was prepared", "AbortError"));
    const ending = entry.machine
      .then((one) => one?.[Symbol.asyncDispose]())
      .catch((error) => emitEvent("warning", { message: String(error) }))
      .then(() => {
        entry.release();
        this.#ending.delete(ending);
      });
    this.#ending.add(ending);
  }
}

let current: Standbys | undefined;

/** Sets what prepares machines for this process; returns a function that puts back what did before. */
export function setStandbys(standbys: Standbys | undefined): () => void {
  const previous = current;
  current = standbys;
  return () => current = previous;
}

/** Starts a machine, with what was prepared for it if there is something. */
export function startMachine(wanted: Wanted): Promise<Machine> {
  return current ? current.start(wanted) : startAnew(wanted);
}

/** Gives up what was prepared for machines from a state that is about to be deleted. */
export function forgetState(state: SavedState): void {
  current?.forget(state);
}

function startAnew({ vmm, spec, state }: Wanted): Promise<Machine> {
  return state ? vmm.restore(state, spec) : vmm.launch(spec);
}
