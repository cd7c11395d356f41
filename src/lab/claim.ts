import { BelljarError } from "../errors.ts";
import { currentScope, type Registration, type Scope, uncharged } from "../scope/mod.ts";
import { bytes, formatBytes, registerOptions, type Size } from "../values/mod.ts";
import { labProviders, type ResourceGrant, type ResourceRequest } from "./providers.ts";

/** Options of `lab.claim()`: what all machines that run at the same time take together. */
export interface ClaimOptions {
  /** Memory of all machines. */
  memory: Size;
  /** Processors of all machines; as many as there are machines of one when missing. */
  cpus?: number;
  /** Ends the wait early; the call rejects with its reason. */
  signal?: AbortSignal;
}

const check = registerOptions<ClaimOptions>("lab.claim()", {
  memory: "size",
  cpus: (value, name) => {
    if (typeof value === "number" && Number.isInteger(value) && value > 0) return;
    throw new RangeError(`Option ${name} must be a whole number from 1, got ${String(value)}`);
  },
  signal: "abortSignal",
});

const claims = new WeakMap<Scope, Claim>();

/** Resources that were reserved up front. */
export class Claim implements AsyncDisposable {
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly #grant: ResourceGrant;
  readonly #scope: Scope;
  readonly #registration: Registration;
  readonly #taken = new Set<ResourceRequest>();

  private constructor(limits: { memoryBytes: number; cpus: number }, grant: ResourceGrant) {
    this.memoryBytes = limits.memoryBytes;
    this.cpus = limits.cpus;
    this.#grant = grant;
    this.#scope = currentScope();
    claims.set(this.#scope, this);
    this.#registration = this.#scope.register({
      kind: "claim",
      name: `${formatBytes(this.memoryBytes)}, ${this.cpus} processors`,
      close: () => this.release(),
    });
  }

  /** Waits until the resources are free and keeps them until the scope of the caller ends. */
  static async take(options: ClaimOptions): Promise<Claim> {
    check(options);
    const memory = (options as ClaimOptions | undefined)?.memory;
    if (memory === undefined) throw new TypeError("lab.claim() needs the option memory");
    if (claimOf(currentScope())) {
      throw new TypeError(
        "lab.claim() was called before in this file: claim its whole peak at once",
      );
    }
    const limits = { memoryBytes: bytes(memory, "memory"), cpus: options.cpus ?? Infinity };
    const grant = await uncharged(() =>
      labProviders().reserve({
        memoryBytes: limits.memoryBytes,
        cpus: options.cpus ?? 1,
        names: ["claim"],
        signal: options.signal,
      })
    );
    return new Claim(limits, grant);
  }

  /** Takes a part of it, or fails at once. */
  part(request: ResourceRequest): ResourceGrant {
    const all = [...this.#taken, request];
    const memory = all.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
    const cpus = all.reduce((sum, one) => sum + one.cpus, 0);
    if (memory > this.memoryBytes || cpus > this.cpus) {
      const names = all.flatMap(({ names }) => names).map((name) => `"${name}"`).join(", ");
      throw new BelljarError(`Cannot boot ${request.names.join(", ")}: it is beyond the claim`, {
        code: "CLAIM",
        expected: `at most ${formatBytes(this.memoryBytes)}` +
          (this.cpus === Infinity ? "" : ` and ${this.cpus} processors`),
        actual: `${names} take ${formatBytes(memory)} and ${cpus} processors together`,
        next: `raise lab.claim(), or end a machine before`,
      });
    }
    this.#taken.add(request);
    return { release: () => void this.#taken.delete(request) };
  }

  /** Gives it back. */
  release(): void {
    if (claims.get(this.#scope) !== this) return;
    claims.delete(this.#scope);
    this.#registration.release();
    this.#grant.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.release();
    return Promise.resolve();
  }
}

/** Reserves resources for machines of a scope: out of its claim if there is one, else from the pool. */
export async function reserveFor(scope: Scope, request: ResourceRequest): Promise<ResourceGrant> {
  const claim = claimOf(scope);
  return claim ? claim.part(request) : await uncharged(() => labProviders().reserve(request));
}

function claimOf(scope: Scope): Claim | undefined {
  for (let at: Scope | undefined = scope; at; at = at.parent) {
    const claim = claims.get(at);
    if (claim) return claim;
  }
  return undefined;
}
