import { type Chargeable, type Scope, setCharge, setScopeSignal, timeScale } from "../scope/mod.ts";
import { formatSeconds } from "../values/mod.ts";
import { TestTimeoutError } from "./classify.ts";
import type { Failure } from "./observer.ts";
import { TimeLimit } from "./time_limit.ts";

/** Default limit of a test or hook on hardware virtualisation. */
export const DEFAULT_TEST_TIMEOUT_MS = 60_000;

/** How a hook of a file is run. */
export interface RunHookOptions {
  /** `"beforeAll"` or `"afterAll"`, named in errors. */
  phase: string;
  /** The file's scope: what the hook opens belongs to the file. */
  scope: Scope;
  /** Its limit, in milliseconds; that of a test by default. */
  timeoutMs?: number;
  /** Ends the hook early; its reason becomes the failure. */
  stop?: AbortSignal;
  /** The file's own limit, which stops and goes on with the hook's. */
  fileLimit?: Chargeable;
  /** What `currentSignal()` is in the file's scope when the hook has ended. */
  signalAfter?: AbortSignal;
}

/** Runs a hook of a file within its limit, and returns what went wrong. */
export async function runHook(
  fn: () => unknown,
  options: RunHookOptions,
): Promise<Failure | undefined> {
  const { phase, scope, timeoutMs, stop, fileLimit, signalAfter } = options;
  const limit = new TimeLimit(() => timeoutMs ?? DEFAULT_TEST_TIMEOUT_MS * timeScale());
  const abort = new AbortController();
  setCharge(scope, fileLimit ? both(fileLimit, limit) : limit);
  setScopeSignal(scope, abort.signal);
  const stopped = Promise.withResolvers<Failure>();
  const onStop = () => stopped.resolve({ error: stop!.reason, phase });
  if (stop?.aborted) onStop();
  stop?.addEventListener("abort", onStop, { once: true });
  const work = scope.run(async () => await fn()).then(
    () => undefined,
    (error: unknown): Failure => ({ error, phase }),
  );
  const expired = limit.expired.then((): Failure => {
    const time = formatSeconds(limit.limitMs / 1000);
    const error = new TestTimeoutError(`${phase}() did not end within ${time}`, limit.limitMs, {
      next: "move slow work into tests, which can have a longer `timeout`",
    });
    return { error, phase };
  });
  const failure = await Promise.race([work, expired, stopped.promise]);
  limit.stop();
  stop?.removeEventListener("abort", onStop);
  if (failure) abort.abort(failure.error);
  if (fileLimit) setCharge(scope, fileLimit);
  setScopeSignal(scope, signalAfter ?? NEVER);
  return failure;
}

const NEVER = new AbortController().signal;

function both(a: Chargeable, b: Chargeable): Chargeable {
  return {
    pause: () => {
      a.pause();
      b.pause();
    },
    resume: () => {
      a.resume();
      b.resume();
    },
  };
}
