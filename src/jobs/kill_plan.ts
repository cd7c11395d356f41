import { checkOptions, milliseconds, type OptionKind, type SignalLike } from "../values/mod.ts";
import { SignalError, signalNumber } from "../values/mod.ts";
import type { KillOptions } from "./types.ts";

/** Number of SIGKILL. */
export const SIGKILL = 9;
/** Number of SIGCONT. */
export const SIGCONT = 18;
/** Number of SIGSTOP. */
export const SIGSTOP = 19;
/** Time between the first signal and SIGKILL, in milliseconds. */
export const DEFAULT_KILL_GRACE_MS = 2_000;
/** How long SIGKILL may take to work, in milliseconds. */
export const DEFAULT_KILL_MARGIN_MS = 3_000;

/** HUP, INT, QUIT, KILL and TERM: whoever sends them wants an end. */
const TERMINATING = new Set([1, 2, 3, SIGKILL, 15]);

/** How a job is to be ended. */
export interface KillPlan {
  sig: number;
  graceMs: number;
  marginMs: number;
  target: "group" | "leader";
  wait: boolean;
}

const TABLE: Record<keyof KillOptions, OptionKind> = {
  signal: "signal",
  grace: "durationOrInfinity",
  target: ["group", "leader"],
  wait: "boolean",
  killMargin: "duration",
};

/** Reads the argument of `kill()`; an object without any known key is the wrong type for a signal. */
export function killPlan(
  options: SignalLike | KillOptions | undefined,
  defaults: { sig: number; graceMs: number },
): KillPlan {
  const plan: KillPlan = {
    sig: defaults.sig,
    graceMs: defaults.graceMs,
    marginMs: DEFAULT_KILL_MARGIN_MS,
    target: "group",
    wait: true,
  };
  if (options === undefined) return plan;
  if (typeof options !== "object") return { ...plan, sig: signalNumber(options) };
  if (options === null || !Object.keys(options).some((key) => Object.hasOwn(TABLE, key))) {
    const got = options === null ? "null" : Array.isArray(options) ? "array" : "object";
    throw new SignalError(`signal must be a name or a number, got ${got}`);
  }
  checkOptions("job.kill()", options, TABLE);
  if (options.signal !== undefined) plan.sig = signalNumber(options.signal);
  if (options.grace !== undefined) plan.graceMs = milliseconds(options.grace, { infinite: true });
  if (options.killMargin !== undefined) plan.marginMs = milliseconds(options.killMargin);
  plan.target = options.target ?? "group";
  plan.wait = options.wait ?? true;
  return plan;
}

/** Whether a signal is sent to end a process, whatever its handler does. */
export function isTerminating(sig: number): boolean {
  return TERMINATING.has(sig);
}
