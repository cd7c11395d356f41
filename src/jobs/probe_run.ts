import { pause } from "../host/mod.ts";
import { timeScale } from "../scope/mod.ts";
import { milliseconds } from "../values/mod.ts";
import { firstLine } from "./errors.ts";
import type { Probe, ProbeAttempt, ProbeContext, ProbeOutcome } from "./probe.ts";

const MAX_ATTEMPTS = 20;
const DEFAULT_ATTEMPT_S = 1;

/** A probe can never hold any more. */
export class ProbeHopelessError extends Error {
  override readonly name = "ProbeHopelessError";
}

/** The last tries of a service's probes. */
export class ProbeLog {
  #attempts: ProbeAttempt[] = [];
  #startMs = performance.now();

  get attempts(): ProbeAttempt[] {
    return [...this.#attempts];
  }

  add(probe: Probe, { ok, reason }: ProbeOutcome): void {
    const at = Math.round(performance.now() - this.#startMs) / 1000;
    this.#attempts.push({
      probe: probe.describe(),
      at,
      ok,
      ...reason === undefined ? {} : { reason },
    });
    if (this.#attempts.length > MAX_ATTEMPTS) this.#attempts.shift();
  }
}

/** Tries a probe until it holds; it is not tried again after that. Rejects with the reason of the context's signal. */
export async function untilProbe(
  probe: Probe,
  context: ProbeContext,
  log: ProbeLog,
): Promise<void> {
  const { signal } = context;
  const intervalMs = milliseconds(probe.interval ?? 0.1);
  const threshold = probe.successThreshold ?? 1;
  await pause(milliseconds(probe.initialDelay ?? 0), signal);
  for (let inRow = 0;;) {
    const outcome = await tryProbe(probe, context);
    signal.throwIfAborted();
    log.add(probe, outcome);
    inRow = outcome.ok ? inRow + 1 : 0;
    if (inRow >= threshold) return;
    if (outcome.hopeless) throw new ProbeHopelessError(outcome.reason);
    await pauseOrWake(probe, context, intervalMs, outcome.ok);
  }
}

/** One try, which is cut off after its own limit. */
export async function tryProbe(probe: Probe, context: ProbeContext): Promise<ProbeOutcome> {
  // What belljar itself chooses is stretched where machines are slow; what the author wrote is not.
  const scale = context.place.kind === "guest" ? timeScale() : 1;
  const limitMs = milliseconds(probe.attemptTimeout ?? DEFAULT_ATTEMPT_S * scale);
  const limit = new AbortController();
  const forward = () => limit.abort(context.signal.reason);
  context.signal.addEventListener("abort", forward, { once: true });
  if (context.signal.aborted) forward();
  const late = Promise.withResolvers<ProbeOutcome>();
  const timer = setTimeout(() => {
    late.resolve({ ok: false, reason: `no answer within ${limitMs} ms` });
    limit.abort(new DOMException(`No answer within ${limitMs} ms`, "TimeoutError"));
  }, limitMs);
  const check = async () => await probe.check(withSignal(context, limit.signal));
  const work = check().catch((error): ProbeOutcome => ({ ok: false, reason: firstLine(error) }));
  try {
    const outcome = await Promise.race([work, late.promise]);
    // A try that was cut off has been told to stop: what it holds is given back before the next begins.
    if (limit.signal.aborted) await settledWithin(work, limitMs);
    return outcome;
  } finally {
    clearTimeout(timer);
    context.signal.removeEventListener("abort", forward);
  }
}

async function settledWithin(work: Promise<unknown>, ms: number): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, ms);
  await Promise.race([work, late.promise]);
  clearTimeout(timer);
}

async function pauseOrWake(
  probe: Probe,
  context: ProbeContext,
  intervalMs: number,
  wasOk: boolean,
): Promise<void> {
  if (!probe.wake || wasOk) return await pause(intervalMs, context.signal);
  const ended = new AbortController();
  const forward = () => ended.abort(context.signal.reason);
  context.signal.addEventListener("abort", forward, { once: true });
  try {
    const woken = probe.wake(withSignal(context, ended.signal));
    woken.catch(() => {}); // It is asked again after the next try.
    await Promise.race([pause(intervalMs, ended.signal), woken]);
  } catch (error) {
    context.signal.throwIfAborted();
    if (!ended.signal.aborted) await pause(intervalMs, context.signal);
    else throw error;
  } finally {
    context.signal.removeEventListener("abort", forward);
    ended.abort(new DOMException("The pause has ended", "AbortError"));
  }
}

/** The same context under another signal. Not a copy: that would ask for a job which an external service has not. */
function withSignal(context: ProbeContext, signal: AbortSignal): ProbeContext {
  return Object.create(context, { signal: { value: signal, enumerable: true } });
}
