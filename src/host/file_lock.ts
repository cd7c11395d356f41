/** Options for {@linkcode lockFile} and {@linkcode withFileLock}. */
export interface FileLockOptions {
  /** Ends the wait for the lock. */
  signal?: AbortSignal;
  /** Called once if somebody else holds the lock. */
  onWait?: () => void;
}

/** An advisory lock that this process holds; the system frees it when the process ends, however that happens. */
export interface FileLock extends Disposable {
  /** Path of the lock file. */
  readonly path: string;
}

// flock(2) has no form that waits and can be given up: a short retry is the only way that leaves no thread behind.
const RETRY_MS = { first: 5, longest: 50 };

/**
 * Takes an exclusive lock on a file, which is made if need be and stays there afterwards.
 *
 * @throws {unknown} The reason of `signal`, if that aborts first.
 */
export async function lockFile(path: string, options: FileLockOptions = {}): Promise<FileLock> {
  const { signal, onWait } = options;
  let delayMs = RETRY_MS.first;
  for (let tries = 0;; tries++) {
    signal?.throwIfAborted();
    const lock = await tryLockFile(path, { create: true });
    if (lock) return lock;
    if (tries === 0) onWait?.();
    await pause(delayMs, signal);
    delayMs = Math.min(delayMs * 2, RETRY_MS.longest);
  }
}

/**
 * Takes the lock if nobody holds it.
 *
 * @returns `undefined` if somebody holds it, or if there is no such file and `create` is not set.
 */
export async function tryLockFile(
  path: string,
  options: { create?: boolean } = {},
): Promise<FileLock | undefined> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true, write: true, create: options.create, mode: 0o600 });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound && !options.create) return undefined;
    throw error;
  }
  try {
    if (await file.tryLock(true) && await isStill(path, file)) {
      return { path, [Symbol.dispose]: () => file.close() };
    }
  } catch (error) {
    file.close();
    throw error;
  }
  file.close();
  return undefined;
}

/** Runs `fn` while holding the lock. */
export async function withFileLock<T>(
  path: string,
  fn: () => Promise<T>,
  options: FileLockOptions = {},
): Promise<T> {
  using _lock = await lockFile(path, options);
  return await fn();
}

/** A lock on a file that was removed meanwhile protects nothing. */
async function isStill(path: string, file: Deno.FsFile): Promise<boolean> {
  try {
    const [named, opened] = await Promise.all([Deno.stat(path), file.stat()]);
    return named.ino === opened.ino && named.dev === opened.dev;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Waits, or rejects with the reason of `signal`. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
