/** A signal by name, with or without `SIG` and in any case, or by number. */
export type SignalLike = Deno.Signal | (string & Record<never, never>) | number;

/** A signal that does not exist, or a value that cannot name one. */
export class SignalError extends TypeError {
  override readonly name = "SignalError";
}

/** Signal names of Linux on x86_64 and aarch64, by number (signal(7)). */
const NAMES = [
  "",
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGILL",
  "SIGTRAP",
  "SIGABRT",
  "SIGBUS",
  "SIGFPE",
  "SIGKILL",
  "SIGUSR1",
  "SIGSEGV",
  "SIGUSR2",
  "SIGPIPE",
  "SIGALRM",
  "SIGTERM",
  "SIGSTKFLT",
  "SIGCHLD",
  "SIGCONT",
  "SIGSTOP",
  "SIGTSTP",
  "SIGTTIN",
  "SIGTTOU",
  "SIGURG",
  "SIGXCPU",
  "SIGXFSZ",
  "SIGVTALRM",
  "SIGPROF",
  "SIGWINCH",
  "SIGIO",
  "SIGPWR",
  "SIGSYS",
] as const;

const ALIASES: Record<string, number> = { SIGPOLL: 29, SIGIOT: 6, SIGCLD: 17 };

/** Highest signal number of Linux, `SIGRTMAX`. */
const MAX_SIGNAL = 64;

/**
 * Reads a signal as its number.
 *
 * @param label What the signal is for, named in errors.
 * @throws {SignalError} If there is no such signal, or the value is neither a name nor a number.
 */
export function signalNumber(signal: SignalLike, label = "signal"): number {
  if (typeof signal === "number") {
    if (Number.isInteger(signal) && signal >= 1 && signal <= MAX_SIGNAL) return signal;
    throw new SignalError(
      `Cannot use ${signal} as a signal: expected a whole number from 1 to ${MAX_SIGNAL}, or a name such as "SIGTERM"`,
    );
  }
  if (typeof signal !== "string") {
    throw new SignalError(`${label} must be a name or a number, got ${typeName(signal)}`);
  }
  const upper = signal.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  const number = signal === "" ? -1 : ALIASES[name] ?? (NAMES as readonly string[]).indexOf(name);
  if (number > 0) return number;
  const realtime = /^SIGRTM(?:IN(?:\+(\d+))?|AX(?:-(\d+))?)$/.exec(name);
  if (realtime) {
    const value = name.startsWith("SIGRTMIN")
      ? 34 + Number(realtime[1] ?? 0)
      : MAX_SIGNAL - Number(realtime[2] ?? 0);
    if (value >= 34 && value <= MAX_SIGNAL) return value;
  }
  throw new SignalError(
    `Unknown signal ${
      JSON.stringify(signal)
    }: expected a name such as "SIGTERM" or "term", or a number`,
  );
}

/** The name of a signal number: `15` is `"SIGTERM"`, `34` is `"SIGRTMIN"`. */
export function signalName(number: number): Deno.Signal {
  const name = NAMES[number];
  if (name) return name as Deno.Signal;
  return (number === 34 ? "SIGRTMIN" : `SIGRTMIN+${number - 34}`) as Deno.Signal;
}

/** The exit code that shells give to death by a signal. */
export function signalExitCode(number: number): number {
  return 128 + number;
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}
