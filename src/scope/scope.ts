import { AsyncLocalStorage } from "node:async_hooks";
import { formatSeconds } from "../values/duration.ts";
import { type CloseFailure, ScopeError } from "./errors.ts";
import { emitEvent } from "./events.ts";
import { captureSite, formatSite, type Site } from "./site.ts";

/** Closes one resource, and gives up soon after `signal` aborts. */
export type Closer = (signal: AbortSignal) => unknown | Promise<unknown>;

/** How far a scope reaches. */
export type ScopeKind = "run" | "file" | "test" | "step" | "closing";

/** Something that a scope closes at its end. */
export interface Resource {
  /** What it is: `"process"`, `"file"`, `"worker"`, `"machine"`, … */
  kind: string;
  /** What reports call it, such as ``214 `sleep 300` ``. */
  name: string | (() => string);
  /** Closes it. Called at most once by the scope, never under the signal that ended the work. */
  close: Closer;
  /**
   * Longest time that closing may take, in milliseconds.
   *
   * @default {5_000}
   */
  limitMs?: number;
  /**
   * Whether its author forgot something if the scope has to close it now: a process that still runs, an open file.
   * Without this it is a resource that scopes are meant to close, such as a machine.
   */
  leaked?: () => boolean;
  /** Where it was created; found on the stack when missing. */
  site?: Site;
}

/** A resource's entry in its scope. */
export interface Registration {
  /** The scope that holds it. */
  readonly scope: Scope;
  /** Where it was created. */
  readonly site: Site | undefined;
  /** Takes it out of the scope because its user closed it; harmless when called again. */
  release(): void;
}

/** A resource that a scope closed at its end. */
export interface ClosedResource {
  kind: string;
  name: string;
  site: Site | undefined;
  /** Whether its author forgot to close it. */
  leaked: boolean;
  durationMs: number;
}

/** What happened when a scope was closed. */
export interface ScopeReport {
  /** Everything that the scope closed, in that order: newest first. */
  closed: ClosedResource[];
  /** Resources that could not be closed. */
  failures: CloseFailure[];
  /** The failures as one error, if there are any. */
  error: ScopeError | undefined;
}

/** Options for {@linkcode Scope}. */
export interface ScopeOptions {
  /** The scope that closes this one at the latest. */
  parent?: Scope;
  /** @default {"test"} */
  kind?: ScopeKind;
}

interface Entry {
  resource: Resource;
  site: Site | undefined;
  /** Runs a function where the resource was opened: events of its end belong there, whoever closes it. */
  atOrigin: <R>(fn: () => R) => R;
}

const storage = new AsyncLocalStorage<Scope>();

/** Closes what was opened in it: newest first, all of it, each in its own time. */
export class Scope implements AsyncDisposable {
  /** Name of the test, file or step. */
  readonly name: string;
  readonly kind: ScopeKind;
  readonly parent: Scope | undefined;
  #entries = new Set<Entry>();
  #late: Promise<void>[] = [];
  #closing: Promise<ScopeReport> | undefined;
  #inParent: Registration | undefined;

  constructor(name: string, options: ScopeOptions = {}) {
    this.name = name;
    this.kind = options.kind ?? "test";
    this.parent = options.parent;
    this.#inParent = options.parent?.register({
      kind: "scope",
      name: `${this.kind} "${name}"`,
      limitMs: Infinity,
      close: async () => {
        const report = await this.close();
        if (report.error) throw report.error;
      },
    });
  }

  /** Whether closing has begun. */
  get closing(): boolean {
    return this.#closing !== undefined;
  }

  /** What is open in it, oldest first. */
  get open(): { kind: string; name: string; site: Site | undefined }[] {
    return [...this.#entries].map(({ resource, site }) => ({
      kind: resource.kind,
      name: nameOf(resource),
      site,
    }));
  }

  /** Runs `fn` with this as the current scope, also in everything that it starts. */
  run<T>(fn: () => T): T {
    return storage.run(this, fn);
  }

  /**
   * Takes a resource, to be closed at the end of the scope.
   *
   * @throws {ScopeError} If the scope has begun to close; the resource is closed at once.
   */
  register(resource: Resource): Registration {
    const site = resource.site ?? captureSite();
    const entry: Entry = { resource, site, atOrigin: AsyncLocalStorage.snapshot() };
    if (this.#closing) {
      const failures: CloseFailure[] = [];
      this.#late.push(closeEntry(entry, failures, "walker").then(() => {}));
      throw new ScopeError(
        `Cannot open ${resource.kind} ${nameOf(resource)}: ${this.kind} "${this.name}" has ended`,
        {
          actual: `it was opened at ${formatSite(site)} and closed at once`,
          next: `await what opens it before ${this.kind} "${this.name}" returns`,
        },
      );
    }
    this.#entries.add(entry);
    return {
      scope: this,
      site,
      release: () => {
        if (!this.#entries.delete(entry) || resource.kind === "scope") return;
        const fields = { kind: resource.kind, name: nameOf(resource), site: formatSite(site) };
        entry.atOrigin(() => emitEvent("resource_closed", { by: "user", ...fields }));
      },
    };
  }

  /** Calls `fn` at the end of the scope, in its place among the resources. */
  defer(fn: Closer, options: { name?: string; limitMs?: number } = {}): Registration {
    if (typeof fn !== "function") {
      throw new TypeError(`defer() takes a function, got ${fn === null ? "null" : typeof fn}`);
    }
    const name = options.name ?? (fn.name || "deferred function");
    return this.register({ kind: "defer", name, close: fn, limitMs: options.limitMs });
  }

  /** Takes a disposable and returns it; it is disposed at the end of the scope. */
  use<T extends Disposable | AsyncDisposable>(disposable: T, name?: string): T {
    const dispose = (disposable as Partial<AsyncDisposable>)?.[Symbol.asyncDispose] ??
      (disposable as Partial<Disposable>)?.[Symbol.dispose];
    if (typeof dispose !== "function") {
      throw new TypeError(
        "use() takes an object with [Symbol.asyncDispose]() or [Symbol.dispose]()",
      );
    }
    this.register({
      kind: "disposable",
      name: name ?? disposable.constructor?.name ?? "disposable",
      close: () => dispose.call(disposable),
    });
    return disposable;
  }

  /** Closes everything; all callers get the same report. Never rejects. */
  close(): Promise<ScopeReport> {
    return this.#closing ??= storage.exit(() => this.#closeAll());
  }

  /** Closes everything, and throws a {@linkcode ScopeError} if something could not be closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    const report = await this.close();
    if (report.error) throw report.error;
  }

  async #closeAll(): Promise<ScopeReport> {
    // A microtask first: #closing must be set before the first closer can look at it.
    await Promise.resolve();
    const closed: ClosedResource[] = [];
    const failures: CloseFailure[] = [];
    const total = this.#entries.size;
    while (this.#entries.size > 0) {
      const entry = [...this.#entries].at(-1)!;
      this.#entries.delete(entry);
      closed.push(await closeEntry(entry, failures, "walker"));
    }
    while (this.#late.length > 0) await this.#late.shift();
    this.#inParent?.release();
    const error = failures.length === 0 ? undefined : new ScopeError(
      `Cannot close ${this.kind} "${this.name}": ${failures.length} of ${total} resources failed`,
      { failures, actual: failures.map(describeFailure).join("\n") },
    );
    return { closed, failures, error };
  }
}

/** The scope in which the caller runs: that of its step, test or file, else the run's. */
export function currentScope(): Scope {
  return storage.getStore() ?? defaultScope;
}

const RUN_SCOPE = new Scope("run", { kind: "run" });
let defaultScope = RUN_SCOPE;

/** The scope of the whole process, for loops that outlive a test. */
export function runScope(): Scope {
  return RUN_SCOPE;
}

/** Sets the scope of code that runs in none, such as a file's top level, and returns the one before it. */
export function setDefaultScope(scope: Scope | undefined): Scope {
  const previous = defaultScope;
  defaultScope = scope ?? RUN_SCOPE;
  return previous;
}

/** Ties a callback to the scope that is current now, whoever calls it later. */
export function bindToScope<Args extends unknown[], T>(
  fn: (...args: Args) => T,
): (...args: Args) => T {
  const scope = storage.getStore();
  return (...args) => scope ? storage.run(scope, () => fn(...args)) : fn(...args);
}

async function closeEntry(
  { resource, site, atOrigin }: Entry,
  failures: CloseFailure[],
  by: "walker",
): Promise<ClosedResource> {
  const { kind, limitMs = 5_000 } = resource;
  const name = nameOf(resource);
  const leaked = guarded(() => resource.leaked?.() ?? false, false);
  const started = performance.now();
  const limit = new AbortController();
  const late = Promise.withResolvers<never>();
  // Not AbortSignal.timeout(): with a listener its timer keeps the process alive for the whole limit.
  const timer = limitMs === Infinity ? undefined : setTimeout(() => {
    limit.abort(
      new DOMException(`Not closed within ${formatSeconds(limitMs / 1000)}`, "TimeoutError"),
    );
    late.reject(limit.signal.reason);
  }, limitMs);
  // What a closer opens itself, such as a service's stop command, belongs to the closing, not to the scope that ends.
  const own = kind === "scope" ? undefined : new Scope(`closing ${name}`, { kind: "closing" });
  try {
    const work = async () => await resource.close(limit.signal);
    await Promise.race([own ? own.run(work) : work(), late.promise]);
  } catch (error) {
    failures.push({ kind, name, site, error });
  } finally {
    clearTimeout(timer);
    late.promise.catch(() => {}); // Settled by nobody when the closer was in time.
  }
  const inner = await own?.close();
  if (inner) failures.push(...inner.failures);
  const durationMs = performance.now() - started;
  if (kind !== "scope") {
    const fields = { kind, name, site: formatSite(site), leaked, durationMs };
    atOrigin(() => emitEvent("resource_closed", { by, ...fields }));
  }
  return { kind, name, site, leaked, durationMs };
}

function describeFailure({ kind, name, site, error }: CloseFailure): string {
  const text = error instanceof Error ? error.message : String(error);
  return `${kind} ${name}, created at ${formatSite(site)}: ${text.split("\n")[0]}`;
}

function nameOf(resource: Resource): string {
  const { name } = resource;
  return typeof name === "string" ? name : guarded(name, resource.kind);
}

function guarded<T>(fn: () => T, fallback: T): T {
  try {
    return fn();
  } catch {
    return fallback; // A description that throws must not keep the resource from being closed.
  }
}
