export declare class RetryError extends Error {
  constructor(cause: unknown, attempts: number);
}
/** Times are in milliseconds. */
export interface RetryOptions {
  /** @default {2} */
  multiplier?: number;
  /** @default {60000} */
  maxTimeout?: number;
  /** @default {5} */
  maxAttempts?: number;
  /** @default {1000} */
  minTimeout?: number;
  /** @default {1} */
  jitter?: number;
  isRetriable?: (err: unknown) => boolean;
  signal?: AbortSignal;
}
export declare function retry<T>(
  fn: (() => Promise<T>) | (() => T),
  options?: RetryOptions,
): Promise<T>;
