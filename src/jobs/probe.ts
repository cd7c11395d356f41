import { bindToScope } from "../scope/mod.ts";
import { type Duration, registerOptions, seconds } from "../values/mod.ts";
import { PROBE_BASE } from "./_probe_options.ts";
import { commandProbe, fileProbe } from "./_probe_local.ts";
import { logProbe } from "./_probe_log.ts";
import { httpProbe, type HttpProbeOptions, tcpProbe, unixProbe } from "./_probe_network.ts";
import { notifyProbe } from "./_probe_notify.ts";
import type { ServicePlace } from "./service_place.ts";
import type { Job } from "./types.ts";

/** When and how often a probe is tried. */
export interface ProbeBase {
  /** Time between the end of a try and the next. @default {0.1} */
  interval?: Duration;
  /** Longest time of one try. @default {1} */
  attemptTimeout?: Duration;
  /** Time before the first try. @default {0} */
  initialDelay?: Duration;
  /** How many tries in a row have to succeed. @default {1} */
  successThreshold?: number;
}

/** What a probe looks at. */
export interface ProbeContext {
  readonly job: Job;
  /** Ports of the service by name. */
  readonly ports: Record<string, number>;
  /** Aborts when the try, or the whole wait, ends. */
  readonly signal: AbortSignal;
  /** The machine, for services of a guest. */
  readonly vm?: unknown;
  /** Where the service runs. */
  readonly place: ServicePlace;
  /** Environment and folder of the service, for commands. */
  readonly env: Record<string, string>;
  readonly cwd?: string;
  /** Process ids of the service, to tell its listeners from others. */
  isOwn(pid: number): Promise<boolean>;
  /** Takes named groups for `service.match`. */
  matched(groups: Record<string, string>): void;
}

/** Outcome of one try. */
export interface ProbeOutcome {
  ok: boolean;
  /** Why not. */
  reason?: string;
  /** It can never become true any more. */
  hopeless?: boolean;
}

/** A condition of a service. */
export interface Probe extends ProbeBase {
  readonly kind: string;
  /** What is looked at, as errors name it. */
  describe(): string;
  check(context: ProbeContext): Promise<ProbeOutcome>;
  /** Resolves when a try is worthwhile before the interval is over. */
  wake?(context: ProbeContext): Promise<void>;
  /** What has to be there before the process is started. */
  prepare?(place: ServicePlace): Promise<{ env: Record<string, string>; close(): void }>;
}

/** One try of a probe, as errors list it. */
export interface ProbeAttempt {
  probe: string;
  /** Seconds since the start of the service. */
  at: number;
  ok: boolean;
  reason?: string;
}

/** Options of {@linkcode probe.tcp}. */
export interface TcpProbeOptions extends ProbeBase {
  /** Number, or name of a port of the service. */
  port: number | string;
  /** @default {"localhost"} 127.0.0.1 and ::1 */
  host?: string;
}

/** Options of {@linkcode probe.log}. */
export interface LogProbeOptions extends ProbeBase {
  /** @default {"both"} */
  stream?: "stdout" | "stderr" | "both";
  /** How many matches there must be in one stream. @default {1} */
  times?: number;
  /** @default {true} */
  stripAnsi?: boolean;
}

/** Options of {@linkcode probe.file}. */
export interface FileProbeOptions extends ProbeBase {
  /** Bytes that it must have. @default {0} */
  minSize?: number;
  contains?: string | RegExp;
  /** How long its size must stay the same. */
  stableFor?: Duration;
}

/** Options of {@linkcode probe.command}. */
export interface CommandProbeOptions extends ProbeBase {
  /** @default {0} */
  exitCode?: number;
  /** What its output must contain. */
  stdout?: string | RegExp;
}

const checkFn = registerOptions<ProbeBase>("probe.fn()", PROBE_BASE);

/** Conditions of services. */
export const probe = {
  /** An HTTP server answers with a status (200-399) and body that are asked for. Text is the path. */
  http: (options: string | HttpProbeOptions): Probe => httpProbe(options),
  /** Somebody takes connections on a port. */
  tcp: (options: number | string | TcpProbeOptions): Probe => tcpProbe(options),
  /** Somebody takes connections on a unix socket. */
  unix: (path: string, options: ProbeBase = {}): Probe => unixProbe(path, options),
  /** The output since this start has a text or pattern; named groups go to `service.match`. */
  log: (pattern: string | RegExp, options: LogProbeOptions = {}): Probe =>
    logProbe(pattern, options),
  /** A file is there, large enough, with some content, and stable. */
  file: (path: string, options: FileProbeOptions = {}): Probe => fileProbe(path, options),
  /** A command succeeds; it runs where the service runs. */
  command: (command: string | string[], options: CommandProbeOptions = {}): Probe =>
    commandProbe(command, options),
  /** The process has ended with this code. */
  exit: (code: number = 0): Probe => exitProbe(code),
  /** The process has sent `READY=1` to the socket in `NOTIFY_SOCKET`. */
  notify: (options: ProbeBase = {}): Probe => notifyProbe(options),
  /** The author's own condition; what it throws counts as not yet. */
  fn(
    desc: string,
    condition: (context: ProbeContext) => unknown,
    options: ProbeBase = {},
  ): Probe {
    checkFn(options);
    if (typeof condition !== "function") {
      throw new TypeError(`probe.fn() takes a function, got ${typeof condition}`);
    }
    const bound = bindToScope(condition);
    const check = async (context: ProbeContext) => ({ ok: Boolean(await bound(context)) });
    return { kind: "fn", describe: () => desc, check, ...options };
  },
  /** Some time has passed since the process was started. */
  delay(duration: Duration): Probe {
    const wanted = seconds(duration);
    return {
      kind: "delay",
      initialDelay: wanted,
      describe: () => `${wanted} s have passed`,
      check: () => Promise.resolve({ ok: true }),
    };
  },
  /** All of them hold at the same time. */
  all: (...probes: Probe[]): Probe => combined("all", probes),
  /** At least one of them holds. */
  any: (...probes: Probe[]): Probe => combined("any", probes),
  /** It does not hold. */
  not: (inner: Probe): Probe => ({
    kind: "not",
    describe: () => `not (${inner.describe()})`,
    async check(context) {
      const { ok } = await inner.check(context);
      return ok ? { ok: false, reason: "it holds" } : { ok: true };
    },
    ...timing([inner]),
    ...preparation([inner]),
  }),
};

function exitProbe(code: number): Probe {
  if (!Number.isInteger(code)) throw new TypeError(`probe.exit() takes an exit code, got ${code}`);
  return {
    kind: "exit",
    describe: () => `exit code ${code}`,
    check({ job }) {
      const result = job.result();
      if (!result) return Promise.resolve({ ok: false, reason: "it still runs" });
      const ok = result.exitCode === code;
      return Promise.resolve(
        ok ? { ok } : { ok, hopeless: true, reason: `it ended ${result.status}` },
      );
    },
    async wake({ job, signal }) {
      await job.wait(undefined, { signal, throughStop: true });
    },
  };
}

function combined(kind: "all" | "any", probes: Probe[]): Probe {
  if (probes.length === 0) throw new TypeError(`probe.${kind}() takes at least one probe`);
  const word = kind === "all" ? " and " : " or ";
  return {
    kind,
    describe: () => probes.map((one) => one.describe()).join(word),
    async check(context) {
      const outcomes = await Promise.all(probes.map((one) => guarded(one, context)));
      const ok = kind === "all" ? outcomes.every((one) => one.ok) : outcomes.some((one) => one.ok);
      if (ok) return { ok };
      const hopeless = kind === "all"
        ? outcomes.some((one) => one.hopeless)
        : outcomes.every((one) => one.hopeless);
      const reason = outcomes.flatMap((one, i) =>
        one.ok ? [] : [`${probes[i]!.describe()}: ${one.reason ?? "not yet"}`]
      ).join("; ");
      return { ok, hopeless, reason };
    },
    ...timing(probes),
    ...preparation(probes),
  };
}

async function guarded(one: Probe, context: ProbeContext): Promise<ProbeOutcome> {
  try {
    return await one.check(context);
  } catch (error) {
    context.signal.throwIfAborted();
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Several probes are tried as the most patient of them asks for, and as soon as one of them wakes. */
function timing(
  probes: Probe[],
): Pick<Probe, "interval" | "attemptTimeout" | "initialDelay" | "wake"> {
  const longest = (key: "attemptTimeout" | "initialDelay", otherwise: number) =>
    Math.max(...probes.map((one) => seconds(one[key] ?? otherwise)));
  const isLimited = probes.some(({ attemptTimeout }) => attemptTimeout !== undefined);
  const wakes = probes.flatMap((one) => one.wake ? [one.wake.bind(one)] : []);
  return {
    interval: Math.min(...probes.map((one) => seconds(one.interval ?? 0.1))),
    ...isLimited ? { attemptTimeout: longest("attemptTimeout", 1) } : {},
    initialDelay: longest("initialDelay", 0),
    ...wakes.length > 0
      ? { wake: (context) => Promise.race(wakes.map((wake) => wake(context))) }
      : {},
  };
}

function preparation(probes: Probe[]): Pick<Probe, "prepare"> {
  const [first] = probes.flatMap((one) => one.prepare ? [one.prepare.bind(one)] : []);
  return first ? { prepare: first } : {};
}
