import { BelljarError } from "../errors.ts";
import type { ResourceGrant, ResourceRequest, SpareRequest } from "../lab/mod.ts";
import type { Refusal } from "./pool.ts";
import type { FromChild } from "./protocol.ts";

interface Pending {
  resolve(): void;
  reject(error: unknown): void;
}

/** The pool will never grant what was asked for. */
export class PoolError extends BelljarError {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    const { summary, actual, next } = refusal;
    super(summary, { code: "POOL", actual, next });
    this.refusal = refusal;
  }
}

/** Asks the parent for the resources of machines. */
export class PoolClient {
  readonly #send: (message: FromChild) => void;
  #ids = 0;
  #pending = new Map<number, Pending>();
  #spares = new Map<number, { answer: (granted: boolean) => void; reclaim: () => void }>();

  constructor(send: (message: FromChild) => void) {
    this.#send = send;
  }

  /**
   * Waits until the resources are free.
   *
   * @throws {BelljarError} If they never will be.
   * @throws {unknown} The reason of the request's signal, if that aborts first.
   */
  async reserve({ memoryBytes, cpus, names, signal }: ResourceRequest): Promise<ResourceGrant> {
    signal?.throwIfAborted();
    const id = ++this.#ids;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#pending.set(id, { resolve, reject });
    const onAbort = () => reject(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#send({ type: "reserve", id, memoryBytes, cpus, names: [...names] });
    try {
      await promise;
    } catch (error) {
      // Granted meanwhile or not: it is not wanted any more.
      this.#send({ type: "release", id });
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#pending.delete(id);
    }
    let isHeld = true;
    return {
      release: () => {
        if (isHeld) this.#send({ type: "release", id });
        isHeld = false;
      },
      isClone: (pid) => {
        if (isHeld) this.#send({ type: "clone", id, pid });
      },
    };
  }

  /** Takes memory that can be given back at any time, if nobody waits for it: `reclaim` is called when somebody does. */
  async spare(
    { memoryBytes }: SpareRequest,
    reclaim: () => void,
  ): Promise<ResourceGrant | undefined> {
    const id = ++this.#ids;
    const { promise, resolve: answer } = Promise.withResolvers<boolean>();
    this.#spares.set(id, { answer, reclaim });
    this.#send({ type: "spare", id, memoryBytes });
    if (!await promise) {
      this.#spares.delete(id);
      return undefined;
    }
    return {
      release: () => {
        if (this.#spares.delete(id)) this.#send({ type: "release", id });
      },
    };
  }

  /** The parent has answered what was asked for by {@linkcode PoolClient.spare}. */
  spared(id: number, granted: boolean): void {
    this.#spares.get(id)?.answer(granted);
  }

  /** The parent wants back what it had spared. */
  reclaim(id: number): void {
    this.#spares.get(id)?.reclaim();
  }

  /** The parent has granted a request. */
  granted(id: number): void {
    this.#pending.get(id)?.resolve();
  }

  /** The parent will never grant a request. */
  refused(id: number, refusal: Refusal): void {
    this.#pending.get(id)?.reject(new PoolError(refusal));
  }
}
