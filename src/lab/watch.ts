import { AgentLostError, StateError } from "../errors.ts";
import {
  captureSite,
  currentScope,
  currentSignal,
  formatSite,
  type Registration,
} from "../scope/mod.ts";
import { registerOptions } from "../values/mod.ts";
import { type AgentClient, type AgentEvent, toText } from "../wire/mod.ts";
import { type GuestLink, operate, type OperationOptions, quickLimitMs } from "./_link.ts";
import { type GuestPath, pathBytes, shownPath } from "./paths.ts";
import { deadlineIn, race } from "./wait.ts";

/** Bits of inotify(7) by the names that authors see. */
const KINDS = {
  access: 0x1,
  modify: 0x2,
  attrib: 0x4,
  closeWrite: 0x8,
  closeNoWrite: 0x10,
  open: 0x20,
  movedFrom: 0x40,
  movedTo: 0x80,
  create: 0x100,
  delete: 0x200,
  deleteSelf: 0x400,
  moveSelf: 0x800,
  unmount: 0x2000,
  overflow: 0x4000,
  ignored: 0x8000,
} as const;
const IS_DIRECTORY = 0x40000000;

/** What can happen to a watched file or folder, as in inotify(7). */
export type WatchKind = keyof typeof KINDS;

/** Options of `vm.watch()`. */
export interface WatchOptions extends OperationOptions {
  /**
   * What to report.
   *
   * @default {["modify", "attrib", "closeWrite", "movedFrom", "movedTo", "create", "delete", "deleteSelf", "moveSelf"]}
   */
  kinds?: readonly WatchKind[];
}

/** Something that happened to a watched file or folder. */
export interface WatchEvent {
  /** What happened; the kernel may report several things at once. */
  kinds: WatchKind[];
  /** Name in the watched folder; empty for the watched file or folder itself. */
  name: string;
  nameBytes: Uint8Array;
  /** The same number in the two halves of a rename; else 0. */
  cookie: number;
  isDirectory: boolean;
}

const DEFAULT_KINDS: readonly WatchKind[] = [
  "modify",
  "attrib",
  "closeWrite",
  "movedFrom",
  "movedTo",
  "create",
  "delete",
  "deleteSelf",
  "moveSelf",
];
/** Events that nobody read; beyond this an `overflow` takes the place of the oldest. */
const MAX_QUEUED = 10_000;

const checkWatch = registerOptions<WatchOptions>("vm.watch()", {
  signal: "abortSignal",
  kinds: (value, name) => {
    if (!Array.isArray(value) || value.length === 0) {
      throw new TypeError(`Option ${name} must be a list of at least one kind`);
    }
    for (const kind of value) {
      if (Object.hasOwn(KINDS, kind)) continue;
      throw new TypeError(
        `Option ${name} takes ${Object.keys(KINDS).join(", ")}; got ${JSON.stringify(kind)}`,
      );
    }
  },
});

/** A watch of the guest's inotify, without scope or author: what {@linkcode Watch} and `tail` are made of. */
export class RawWatch {
  readonly #client: AgentClient;
  readonly #principal: number;
  readonly #id: number;
  readonly #off: () => void;

  private constructor(client: AgentClient, principal: number, id: number, off: () => void) {
    this.#client = client;
    this.#principal = principal;
    this.#id = id;
    this.#off = off;
  }

  static async open(
    client: AgentClient,
    principal: number,
    watch: { path: Uint8Array; mask: number; signal?: AbortSignal },
    onEvent: (event: AgentEvent & { ev: "watch" }) => void,
  ): Promise<RawWatch> {
    const id = client.newId();
    const off = client.on(id, (event) => event.ev === "watch" && onEvent(event));
    const { path, mask, signal } = watch;
    try {
      await client.request("watch", { watch: id, path, mask }, {
        principal,
        signal,
        timeoutMs: quickLimitMs(),
      });
    } catch (error) {
      off();
      throw error;
    }
    return new RawWatch(client, principal, id, off);
  }

  async close(): Promise<void> {
    this.#off();
    try {
      await this.#client.request("unwatch", { watch: this.#id }, { principal: this.#principal });
    } catch (error) {
      // The watched file is gone, or the machine is: the watch has ended either way.
      if (error instanceof AgentLostError || "errno" in (error as object)) return;
      throw error;
    }
  }
}

/** Reports what happens to a file, or to the entries of a folder. */
export class Watch implements AsyncIterable<WatchEvent>, AsyncDisposable {
  /** What is watched. */
  readonly path: string;
  readonly #link: GuestLink;
  #raw: RawWatch | undefined;
  #registration: Registration | undefined;
  #entry: { kind: string; name: string; site: string } | undefined;
  #queue: WatchEvent[] = [];
  #wake: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  private constructor(link: GuestLink, path: string) {
    this.#link = link;
    this.path = path;
  }

  /** Begins to watch; what happens from now on is kept until it is read. */
  static async open(link: GuestLink, path: GuestPath, options: WatchOptions = {}): Promise<Watch> {
    checkWatch(options);
    const bytes = pathBytes(path, "watch()");
    const kinds = options.kinds ?? DEFAULT_KINDS;
    const mask = kinds.reduce((sum, kind) => sum | KINDS[kind], 0);
    const watch = new Watch(link, toText(bytes));
    const site = captureSite();
    await operate(
      link,
      "watch",
      `watch(${shownPath(path)})`,
      options.signal,
      async (client, any) => {
        const spec = { path: bytes, mask, signal: any };
        watch.#raw = await RawWatch.open(
          client,
          link.principal,
          spec,
          (event) => watch.#push(event),
        );
      },
    );
    watch.#entry = { kind: "watch", name: shownPath(path), site: formatSite(site) };
    link.open.add(watch.#entry);
    watch.#registration = currentScope().register({
      kind: "watch",
      name: `${shownPath(path)} of ${link.label}`,
      close: () => watch.close(),
      site,
    });
    return watch;
  }

  /** The next event; `undefined` once the watch is closed and everything was read. */
  async next(options: OperationOptions = {}): Promise<WatchEvent | undefined> {
    options.signal?.throwIfAborted();
    while (true) {
      const event = this.#queue.shift();
      if (event || this.#closing) return event;
      if (this.#wake) {
        throw new StateError(
          `Cannot read the watch of ${shownPath(this.path)}: it is read already`,
        );
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      try {
        const signals = [options.signal, currentSignal(), this.#link.alarm()];
        await race(promise, deadlineIn(Infinity), ...signals);
      } finally {
        this.#wake = undefined;
      }
    }
  }

  /** All events until the watch is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<WatchEvent, void, void> {
    for (let event = await this.next(); event; event = await this.next()) yield event;
  }

  /** Ends the watch; harmless when called again. */
  close(): Promise<void> {
    return this.#closing ??= (async () => {
      await Promise.resolve();
      this.#registration?.release();
      if (this.#entry) this.#link.open.delete(this.#entry);
      this.#wake?.();
      await this.#raw?.close();
    })();
  }

  /** Ends the watch. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #push({ mask, name, cookie }: { mask: number; name: Uint8Array; cookie: number }): void {
    const kinds = (Object.keys(KINDS) as WatchKind[]).filter((kind) => mask & KINDS[kind]);
    const isDirectory = (mask & IS_DIRECTORY) !== 0;
    this.#queue.push({ kinds, name: toText(name), nameBytes: name, cookie, isDirectory });
    if (this.#queue.length > MAX_QUEUED) {
      this.#queue.splice(0, 2, {
        kinds: ["overflow"],
        name: "",
        nameBytes: new Uint8Array(0),
        cookie: 0,
        isDirectory: false,
      });
    }
    this.#wake?.();
  }
}
