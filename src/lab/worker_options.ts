import { optionTable, registerOptions } from "../values/mod.ts";
import { type OpRequest, toBytes } from "../wire/mod.ts";

/** Capabilities by number, as in linux/capability.h. */
const CAPS = [
  "chown",
  "dac_override",
  "dac_read_search",
  "fowner",
  "fsetid",
  "kill",
  "setgid",
  "setuid",
  "setpcap",
  "linux_immutable",
  "net_bind_service",
  "net_broadcast",
  "net_admin",
  "net_raw",
  "ipc_lock",
  "ipc_owner",
  "sys_module",
  "sys_rawio",
  "sys_chroot",
  "sys_ptrace",
  "sys_pacct",
  "sys_admin",
  "sys_boot",
  "sys_nice",
  "sys_resource",
  "sys_time",
  "sys_tty_config",
  "mknod",
  "lease",
  "audit_write",
  "audit_control",
  "setfcap",
  "mac_override",
  "mac_admin",
  "syslog",
  "wake_alarm",
  "block_suspend",
  "audit_read",
  "perfmon",
  "bpf",
  "checkpoint_restore",
] as const;

/** Name of a capability, in lower case and without its prefix. */
export type CapName = (typeof CAPS)[number];

/** CLONE_NEW* flags of linux/sched.h. */
const NAMESPACES = {
  time: 0x80,
  mount: 0x20000,
  cgroup: 0x2000000,
  uts: 0x4000000,
  ipc: 0x8000000,
  user: 0x10000000,
  pid: 0x20000000,
  net: 0x40000000,
} as const;

/** A kind of namespace. */
export type NamespaceName = keyof typeof NAMESPACES;

/** Options of `vm.spawnWorker()`. */
export interface WorkerOptions {
  /** User to run as. */
  uid?: number;
  /** Group to run as. */
  gid?: number;
  /** Further groups. */
  groups?: readonly number[];
  /** Capabilities that stay, by name or number; without this all that the user leaves. */
  caps?: readonly (CapName | (string & Record<never, never>) | number)[];
  /** Working directory. */
  cwd?: string;
  umask?: number;
  /** Namespaces of its own. */
  unshare?: readonly NamespaceName[];
  /** Variables that are added to its environment and that of what it starts. */
  env?: Record<string, string>;
  /** Always a process of its own: `true` is refused. @default {false} */
  thread?: false;
  /** Ends the start early; the call rejects with its reason. */
  signal?: AbortSignal;
}

const id = (value: unknown, name: string) => {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32 - 1) {
    return;
  }
  throw new RangeError(`Option ${name} must be a whole number from 0, got ${String(value)}`);
};

const check = registerOptions<WorkerOptions>(
  "vm.spawnWorker()",
  optionTable<WorkerOptions>()(
    {
      uid: id,
      gid: id,
      groups: (value, name) => {
        if (!Array.isArray(value)) {
          throw new TypeError(`Option ${name} must be an array of numbers`);
        }
        for (const group of value) id(group, name);
      },
      caps: (value, name) => {
        if (!Array.isArray(value)) throw new TypeError(`Option ${name} must be an array of names`);
        for (const cap of value) capNumber(cap, name);
      },
      cwd: "string",
      umask: (value, name) => {
        if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0o777) {
          return;
        }
        throw new RangeError(`Option ${name} must be from 0 to 0o777, got ${String(value)}`);
      },
      unshare: (value, name) => {
        const known = Object.keys(NAMESPACES);
        const bad = Array.isArray(value) ? value.find((kind) => !known.includes(kind)) : value;
        if (bad === undefined) return;
        throw new TypeError(
          `Option ${name} must be an array of ${known.join(", ")}; got ${JSON.stringify(bad)}`,
        );
      },
      env: "stringRecord",
      thread: [false],
      signal: "abortSignal",
    } as const,
  ),
);

/**
 * Checks the options of a worker and returns them as the wire carries them.
 *
 * @throws {TypeError} If one is unknown or of the wrong type.
 */
export function workerRequest(options: WorkerOptions): Omit<OpRequest<"workerSpawn">, "worker"> {
  if ((options as { thread?: unknown } | undefined)?.thread === true) {
    throw new TypeError(
      "Option thread of vm.spawnWorker() must be false: a worker is always a process of its own. " +
        "For a system call that must not hold up others use vm.syscallAsync(), for a command vm.runAsync()",
    );
  }
  check(options);
  const { uid, gid, groups, caps, cwd, umask, unshare, env } = options;
  return {
    uid,
    gid,
    groups: groups && [...groups],
    caps: caps?.map((cap) => capNumber(cap, "caps of vm.spawnWorker()")),
    cwd: cwd === undefined ? undefined : toBytes(cwd),
    umask,
    unshare: unshare?.reduce((sum, name) => sum | NAMESPACES[name], 0),
    env: env && Object.entries(env).map(([key, value]) => toBytes(`${key}=${value}`)),
  };
}

function capNumber(cap: unknown, name: string): number {
  if (typeof cap === "number" && Number.isInteger(cap) && cap >= 0 && cap < 64) return cap;
  if (typeof cap === "string") {
    const number = (CAPS as readonly string[]).indexOf(cap.toLowerCase().replace(/^cap_/, ""));
    if (number >= 0) return number;
  }
  throw new TypeError(
    `Option ${name} takes names such as "net_admin" or numbers, got ${JSON.stringify(cap)}`,
  );
}
