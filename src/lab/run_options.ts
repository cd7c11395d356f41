import type { JobStdin } from "../jobs/mod.ts";
import {
  bytes,
  checkValue,
  type Duration,
  optionTable,
  registerOptions,
  type Size,
} from "../values/mod.ts";

/** Resources that a process can be limited in, with their numbers in asm-generic/resource.h. */
const RESOURCES = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
} as const;

/** A resource of setrlimit(2), in lower case and without its prefix. */
export type LimitName = keyof typeof RESOURCES;
/** A limit: a number or size, or no limit at all. */
export type LimitValue = Size | "unlimited";
/** Limits of setrlimit(2), both soft and hard. */
export type Limits = Partial<Record<LimitName, LimitValue>>;

/** RLIM_INFINITY: all bits set. */
const UNLIMITED = 2n ** 64n - 1n;

/** What starting a process in the guest can be told. */
export interface StartOptions {
  /** Arguments: the command is then the program itself, and no shell looks at it. */
  args?: readonly string[];
  /** Variables that are added to the environment. */
  env?: Record<string, string>;
  /** Whether only `env` is in the environment. @default {false} */
  clearEnv?: boolean;
  /** Working directory. */
  cwd?: string;
  /** User to run as: a name or a number. */
  user?: string | number;
  /** What it reads: text, bytes, a stream, `"null"` for nothing, or `"piped"` to write it later. */
  stdin?: JobStdin;
  /** Whether it runs in a terminal of its own: `true` for 80 columns and 24 rows. @default {false} */
  pty?: boolean | { cols: number; rows: number };
  /** Limits of setrlimit(2). */
  limits?: Limits;
  /** Ends it when it aborts; the call rejects with its reason. */
  signal?: AbortSignal;
}

/** Options of `vm.run()`. */
export interface RunOptions extends StartOptions {
  /** Kills the whole process group when it is over; the result says `timedOut`. */
  timeout?: Duration;
  /** Whether an exit code other than 0 is an error, as by `assertOk()`. @default {false} */
  check?: boolean;
  /** Whether what outlives the command is left to the machine instead of being ended with the scope. @default {false} */
  keep?: boolean;
}

/** Options of `vm.runAsync()`. */
export interface RunAsyncOptions extends StartOptions {
  /** Whether standard error goes into standard output. @default {false} */
  mergeStderr?: boolean;
  /** Whether the process is left to the machine instead of being ended with the scope. @default {false} */
  keep?: boolean;
}

const userKind = (value: unknown, name: string) => {
  if (typeof value === "string" && value !== "") return;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return;
  throw new TypeError(`Option ${name} must be a user's name or number, got ${shown(value)}`);
};
const stdinKind = (value: unknown, name: string) => {
  if (typeof value === "string" || value instanceof Uint8Array || value instanceof ReadableStream) {
    return;
  }
  throw new TypeError(`Option ${name} must be text, bytes or a stream, got ${shown(value)}`);
};
const ptyKind = (value: unknown, name: string) => {
  if (typeof value === "boolean") return;
  const { cols, rows } = (value ?? {}) as { cols?: unknown; rows?: unknown };
  for (const size of [cols, rows]) {
    if (typeof size === "number" && Number.isInteger(size) && size > 0 && size < 65536) continue;
    throw new TypeError(`Option ${name} must be true or { cols, rows }, got ${shown(value)}`);
  }
};
const limitsKind = (value: unknown, name: string) => void limitRows(value as Limits, name);

const START = optionTable<StartOptions>()(
  {
    args: "strings",
    env: "stringRecord",
    clearEnv: "boolean",
    cwd: "string",
    user: userKind,
    stdin: stdinKind,
    pty: ptyKind,
    limits: limitsKind,
    signal: "abortSignal",
  } as const,
);

const checkRunTable = registerOptions<RunOptions>("vm.run()", {
  ...START,
  timeout: "durationOrInfinity",
  check: "boolean",
  keep: "boolean",
});
const checkAsyncTable = registerOptions<RunAsyncOptions>("vm.runAsync()", {
  ...START,
  mergeStderr: "boolean",
  keep: "boolean",
});

/** Checks a command and the options of `run()`. */
export function checkRun(command: unknown, options: unknown): void {
  checkCommand(command, "run()");
  checkRunTable(options);
}

/** Checks a command and the options of `runAsync()`. */
export function checkRunAsync(command: unknown, options: unknown): void {
  checkCommand(command, "runAsync()");
  if (typeof options === "object" && options !== null && "timeout" in options) {
    throw new TypeError(
      "Option timeout is not one of vm.runAsync(), which does not wait: pass it to proc.wait(timeout)",
    );
  }
  checkAsyncTable(options);
}

function checkCommand(command: unknown, call: string): void {
  if (typeof command !== "string") {
    const hint = Array.isArray(command)
      ? `: pass the program first and the rest as the option args`
      : "";
    throw new TypeError(`The command of ${call} must be a string, got ${shown(command)}${hint}`);
  }
  if (command === "") throw new TypeError(`The command of ${call} must not be empty`);
}

/** What a start needs in the form of the job layer. */
export function startSpec(command: string, options: StartOptions) {
  const { args, user, pty, limits, env, clearEnv, cwd } = options;
  return {
    argv: args ? [command, ...args] : ["/bin/sh", "-c", command],
    command: args ? [command, ...args].map(quoted).join(" ") : command,
    ...(env === undefined ? {} : { env }),
    ...(clearEnv === undefined ? {} : { clearEnv }),
    ...(cwd === undefined ? {} : { cwd }),
    ...(user === undefined ? {} : { user: String(user) }),
    ...(pty ? { pty: pty === true ? { cols: 80, rows: 24 } : pty } : {}),
    ...(limits ? { limits: limitRows(limits, "limits") } : {}),
  };
}

type LimitRow = readonly [resource: bigint, limit: bigint];

function limitRows(limits: Limits, name: string): LimitRow[] {
  checkValue("object", limits, name);
  return Object.entries(limits).map(([key, value]) => {
    if (!Object.hasOwn(RESOURCES, key)) {
      throw new TypeError(
        `Option ${name} has no resource ${JSON.stringify(key)}: it takes ${
          Object.keys(RESOURCES).join(", ")
        }`,
      );
    }
    const limit = value === "unlimited" ? UNLIMITED : BigInt(bytes(value, `${key} of ${name}`));
    return [BigInt(RESOURCES[key as LimitName]), limit] as const;
  });
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function shown(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value === "string" ? '""' : typeof value;
}
