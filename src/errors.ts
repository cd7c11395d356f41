/**
 * The errors that belljar reports itself. Wrong use by the caller is a `TypeError`, `RangeError` or `SyntaxError`;
 * what a guest, a machine monitor, the host or a service did is a {@linkcode BelljarError}.
 *
 * @module
 */

/** What a {@linkcode BelljarError} prints below its first line. */
export interface ErrorDetails extends ErrorOptions {
  /** Stable identifier for programs, in upper snake case. */
  code?: string;
  /** What should have been the case. */
  expected?: string;
  /** What was found instead. */
  actual?: string;
  /** What the reader can do now, as an instruction. */
  next?: string;
}

/** Base of every failure that the harness reports itself. */
export class BelljarError extends Error {
  override readonly name: string = "BelljarError";
  /** Stable identifier of the kind of failure, in upper snake case. */
  readonly code: string;
  /** The first line of the message, without the rows below it. */
  readonly summary: string;

  constructor(summary: string, details: ErrorDetails = {}) {
    const { code, expected, actual, next, ...options } = details;
    super(formatMessage(summary, { expected, actual, next }), options);
    this.summary = summary;
    this.code = code ?? "BELLJAR";
  }
}

/** Renders a summary and its rows as every belljar error shows them. */
export function formatMessage(
  summary: string,
  rows: { expected?: string; actual?: string; next?: string },
): string {
  const lines = Object.entries(rows).flatMap(([key, text]) =>
    text ? [`  ${`${key}:`.padEnd(9)} ${text.replaceAll("\n", "\n            ")}`] : []
  );
  return [summary, ...lines].join("\n");
}

/** Facts about an operation that the guest refused. */
export interface GuestErrorDetails extends ErrorDetails {
  /** Symbolic errno, such as `"ENOENT"`. */
  errno: string;
  /** Operation that failed, such as `"readFile"`. */
  op: string;
  /** Path in the guest that the operation was about. */
  path?: string;
  /** Name of the machine. */
  vm?: string;
}

/** An operation that ran in the guest and failed there. */
export class GuestError extends BelljarError {
  override readonly name = "GuestError";
  /** Symbolic errno, such as `"ENOENT"`. */
  readonly errno: string;
  /** Operation that failed, such as `"readFile"`. */
  readonly op: string;
  /** Path in the guest that the operation was about. */
  readonly path: string | undefined;
  /** Name of the machine. */
  readonly vm: string | undefined;

  constructor(summary: string, details: GuestErrorDetails) {
    const { errno, op, path, vm, ...rest } = details;
    super(summary, { code: errno, ...rest });
    this.errno = errno;
    this.op = op;
    this.path = path;
    this.vm = vm;
  }
}

/** The connection to the agent ended, or what came over it cannot be trusted any more. */
export class AgentLostError extends BelljarError {
  override readonly name = "AgentLostError";

  constructor(summary: string, details: ErrorDetails = {}) {
    super(summary, { code: "AGENT_LOST", ...details });
  }
}

/** An operation was not answered within its limit. */
export class DeadlineError extends BelljarError {
  override readonly name = "DeadlineError";

  constructor(summary: string, details: ErrorDetails = {}) {
    super(summary, { code: "DEADLINE", ...details });
  }
}

/** A resource was used in a state that does not allow it. */
export class StateError extends BelljarError {
  override readonly name = "StateError";

  constructor(summary: string, details: ErrorDetails = {}) {
    super(summary, { code: "STATE", ...details });
  }
}

/** How far a machine came before its boot failed. */
export type BootStage = "launch" | "firmware" | "kernel" | "init" | "agent";

/** Facts about a failed boot. */
export interface BootErrorDetails extends ErrorDetails {
  /** How far the machine came. */
  stage: BootStage;
  /** Path of the complete console log, when there is one. */
  consolePath?: string;
  /** Last lines of the console, at most 40. */
  consoleTail?: string;
  /** What the machine monitor wrote to its standard error. */
  stderr?: string;
}

/** A machine did not come up. */
export class BootError extends BelljarError {
  override readonly name = "BootError";
  /** How far the machine came. */
  readonly stage: BootStage;
  /** Path of the complete console log. */
  readonly consolePath: string | undefined;
  /** Last lines of the console. */
  readonly consoleTail: string;
  /** What the machine monitor wrote to its standard error. */
  readonly stderr: string;

  constructor(summary: string, details: BootErrorDetails) {
    const { stage, consolePath, consoleTail, stderr, ...rest } = details;
    super(summary, { code: "BOOT", ...rest });
    this.stage = stage;
    this.consolePath = consolePath;
    this.consoleTail = consoleTail ?? "";
    this.stderr = stderr ?? "";
  }
}

/** The host cannot do what was asked: no QEMU, too little memory, a missing tool. */
export class HostError extends BelljarError {
  override readonly name = "HostError";

  constructor(summary: string, details: ErrorDetails = {}) {
    super(summary, { code: "HOST", ...details });
  }
}

/** An image cannot be found, read or built. */
export class ImageError extends BelljarError {
  override readonly name = "ImageError";

  constructor(summary: string, details: ErrorDetails = {}) {
    super(summary, { code: "IMAGE", ...details });
  }
}

/** A machine was started while test files are only listed. */
export class ListingError extends BelljarError {
  override readonly name = "ListingError";

  constructor(summary: string, details: ErrorDetails = {}) {
    super(summary, { code: "LISTING", ...details });
  }
}

/** Facts about a condition that did not come true in time. */
export interface WaitUntilErrorDetails extends ErrorDetails {
  /** What was waited for. */
  desc: string;
  /** How often the condition was tried. */
  attempts: number;
  /** Seconds that passed. */
  elapsed: number;
}

/** A condition did not come true in time. */
export class WaitUntilError extends BelljarError {
  override readonly name = "WaitUntilError";
  /** What was waited for. */
  readonly desc: string;
  /** How often the condition was tried. */
  readonly attempts: number;
  /** Seconds that passed. */
  readonly elapsed: number;

  constructor(summary: string, details: WaitUntilErrorDetails) {
    const { desc, attempts, elapsed, ...rest } = details;
    super(summary, { code: "WAIT_UNTIL", ...rest });
    this.desc = desc;
    this.attempts = attempts;
    this.elapsed = elapsed;
  }
}
