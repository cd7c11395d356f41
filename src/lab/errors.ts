import { BelljarError, type ErrorDetails } from "../errors.ts";

/** Facts about output that did not come. */
export interface ExpectErrorDetails extends ErrorDetails {
  /** What was waited for, as the author wrote it. */
  patterns: readonly (string | RegExp)[];
  /** Last lines of what came instead, at most 20. */
  tail: string;
  /** Whether the stream had ended, so that the match can never come. */
  ended: boolean;
}

/** Output did not contain what was waited for: in time, or ever. */
export class ExpectError extends BelljarError {
  override readonly name = "ExpectError";
  /** What was waited for, as the author wrote it. */
  readonly patterns: readonly (string | RegExp)[];
  /** Last lines of what came instead, at most 20. */
  readonly tail: string;
  /** Whether the stream had ended, so that the match can never come. */
  readonly ended: boolean;

  constructor(summary: string, details: ExpectErrorDetails) {
    const { patterns, tail, ended, ...rest } = details;
    super(summary, { code: "EXPECT", ...rest });
    this.patterns = patterns;
    this.tail = tail;
    this.ended = ended;
  }
}

/** What a console rule found. */
export type ConsoleFindingKind =
  | "panic"
  | "oops"
  | "kasan"
  | "lockdep"
  | "oom"
  | "readOnlyRemount";

/** Facts about something that the kernel complained about. */
export interface ConsoleRuleErrorDetails extends ErrorDetails {
  /** Name of the machine. */
  vm: string;
  /** Which rule matched. */
  kind: ConsoleFindingKind;
  /** The line that matched. */
  line: string;
}

/** The kernel of a machine complained on the console: a panic, an oops, a memory error, a lock error. */
export class ConsoleRuleError extends BelljarError {
  override readonly name = "ConsoleRuleError";
  /** Name of the machine. */
  readonly vm: string;
  /** Which rule matched. */
  readonly kind: ConsoleFindingKind;
  /** The line that matched. */
  readonly line: string;

  constructor(summary: string, details: ConsoleRuleErrorDetails) {
    const { vm, kind, line, ...rest } = details;
    super(summary, { code: "CONSOLE_RULE", ...rest });
    this.vm = vm;
    this.kind = kind;
    this.line = line;
  }
}

/** Facts about an operation on several machines of which some failed. */
export interface LabErrorDetails extends ErrorDetails {
  /** What went wrong, by the name of the machine. */
  failures: ReadonlyMap<string, unknown>;
}

/** An operation on all members of a lab failed for at least one of them. */
export class LabError extends BelljarError {
  override readonly name = "LabError";
  /** What went wrong, by the name of the machine. */
  readonly failures: ReadonlyMap<string, unknown>;
  /** The same errors in the order of the members. */
  readonly errors: unknown[];

  constructor(summary: string, details: LabErrorDetails) {
    const { failures, ...rest } = details;
    super(summary, { code: "LAB", ...rest });
    this.failures = failures;
    this.errors = [...failures.values()];
  }
}

/** Facts about a system call that failed in the guest. */
export interface SyscallErrorDetails extends ErrorDetails {
  /** Symbolic errno, such as `"EINVAL"`. */
  errno: string;
  /** Name or number of the call. */
  call: string;
}

/** A system call returned an error and its result was `check()`ed. */
export class SyscallError extends BelljarError {
  override readonly name = "SyscallError";
  /** Symbolic errno, such as `"EINVAL"`. */
  readonly errno: string;
  /** Name or number of the call. */
  readonly call: string;

  constructor(summary: string, details: SyscallErrorDetails) {
    const { errno, call, ...rest } = details;
    super(summary, { code: errno, ...rest });
    this.errno = errno;
    this.call = call;
  }
}
