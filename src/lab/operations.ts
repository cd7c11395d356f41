import { waitUntil, type WaitUntilContext, type WaitUntilOptions } from "../jobs/mod.ts";
import { currentSignal } from "../scope/mod.ts";
import { registerOptions } from "../values/mod.ts";
import { linkOf, type OperationOptions, withSignals } from "./_link.ts";
import { RunOperations } from "./operations_run.ts";
import type { GuestPath } from "./paths.ts";
import { copyIn, copyOut } from "./tree_copy.ts";

/** Outcome of one operation of a batch. */
export type BatchItem = { ok: unknown } | { err: unknown };

/** Operations that can be part of a batch. */
export type BatchOperations = Pick<
  GuestOperations,
  | "readFile"
  | "readTextFile"
  | "writeFile"
  | "stat"
  | "lstat"
  | "exists"
  | "readDir"
  | "glob"
  | "mkdir"
  | "remove"
  | "rename"
  | "symlink"
  | "readLink"
  | "realPath"
  | "link"
  | "chmod"
  | "chown"
  | "truncate"
  | "utime"
  | "statfs"
  | "getXattr"
  | "setXattr"
  | "listXattr"
  | "removeXattr"
  | "syscall"
  | "ioctl"
  | "readMem"
  | "run"
  | "exec"
>;

const BATCH: Record<keyof BatchOperations, true> = {
  readFile: true,
  readTextFile: true,
  writeFile: true,
  stat: true,
  lstat: true,
  exists: true,
  readDir: true,
  glob: true,
  mkdir: true,
  remove: true,
  rename: true,
  symlink: true,
  readLink: true,
  realPath: true,
  link: true,
  chmod: true,
  chown: true,
  truncate: true,
  utime: true,
  statfs: true,
  getXattr: true,
  setXattr: true,
  listXattr: true,
  removeXattr: true,
  syscall: true,
  ioctl: true,
  readMem: true,
  run: true,
  exec: true,
};

const checkCopyIn = registerOptions<OperationOptions>("vm.copyIn()", { signal: "abortSignal" });
const checkCopyOut = registerOptions<OperationOptions>("vm.copyOut()", { signal: "abortSignal" });

/** Everything that a machine and its workers can be asked for. */
export abstract class GuestOperations extends RunOperations {
  /**
   * Copies a file or a folder with all it holds from the host into the guest, with modes and symbolic links.
   *
   * @param host Path on the host.
   * @param guest Path that the copy gets.
   */
  async copyIn(
    host: string | URL,
    guest: GuestPath,
    options: OperationOptions = {},
  ): Promise<void> {
    checkCopyIn(options);
    await copyIn(this, host, guest, options.signal);
  }

  /**
   * Copies a file or a folder with all it holds from the guest to the host, with modes and symbolic links. Whatever
   * names and links the guest has, nothing outside of the target is written.
   *
   * @param guest Path in the guest.
   * @param host Path that the copy gets.
   */
  async copyOut(
    guest: GuestPath,
    host: string | URL,
    options: OperationOptions = {},
  ): Promise<void> {
    checkCopyOut(options);
    await copyOut(this, guest, host, options.signal);
  }

  /**
   * Sends several operations at once, without a round trip for each. The outcome of every one is an item of the result.
   *
   * @example
   * ```ts ignore
   * const [size, gone] = await vm.batch((b) => {
   *   b.stat("/etc/passwd");
   *   b.readFile("/does/not/exist");
   * });
   * ```
   */
  async batch(fill: (batch: BatchOperations) => void): Promise<BatchItem[]> {
    if (typeof fill !== "function") {
      throw new TypeError(`batch() takes a function, got ${fill === null ? "null" : typeof fill}`);
    }
    const begun: Promise<unknown>[] = [];
    const recorder = new Proxy(this as object, {
      get: (target, key) => {
        if (typeof key !== "string" || !Object.hasOwn(BATCH, key)) {
          throw new TypeError(
            `Cannot use ${String(key)} in a batch: it takes ${Object.keys(BATCH).join(", ")}`,
          );
        }
        return (...args: unknown[]) => {
          const method = target[key as never] as (...args: unknown[]) => Promise<unknown>;
          const result = method.apply(target, args);
          result.catch(() => {}); // Its outcome is an item of the batch.
          begun.push(result);
          return result;
        };
      },
    }) as unknown as BatchOperations;
    fill(recorder);
    const outcomes = await Promise.allSettled(begun);
    return outcomes.map((outcome) =>
      outcome.status === "fulfilled" ? { ok: outcome.value } : { err: outcome.reason }
    );
  }

  /**
   * Calls `fn`, the first time at once, until it returns something truthy, and returns that. It also ends when the
   * machine's kernel panics.
   *
   * @throws {WaitUntilError} If it does not come true in time.
   */
  async waitUntil<T>(
    fn: (context: WaitUntilContext) => T | Promise<T>,
    options: WaitUntilOptions = {},
  ): Promise<NonNullable<T>> {
    const link = linkOf(this);
    return await withSignals(
      [options.signal, currentSignal(), link.alarm()],
      (signal) => waitUntil(fn, { ...options, signal }),
    );
  }
}
