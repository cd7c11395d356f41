import { HostError } from "../errors.ts";
import { timeScale } from "../scope/mod.ts";
import {
  bytes,
  checkOptions,
  closest,
  type Duration,
  milliseconds,
  optionTable,
  registerOptions,
  type Size,
} from "../values/mod.ts";
import type { DiskSpec, MachineSpec, TransportChoice } from "../vmm/mod.ts";
import { toBytes } from "../wire/mod.ts";
import { modeBits } from "./open_flags.ts";

/** A file that is in the guest when it boots, in place of the image's. */
export interface BootFileOptions {
  /** Absolute path in the guest. */
  path: string;
  /** Its content; exactly one of `content` and `from`. */
  content?: string | Uint8Array;
  /** File of the host with its content. */
  from?: string | URL;
  /** Permission bits. @default {0o644} */
  mode?: number;
}

/** A disk of a machine, seen in the guest as `/dev/disk/by-id/virtio-<id>`. Exactly one of `path`, `scratch`, `template`. */
export interface DiskOptions {
  /** At most 20 characters. */
  id: string;
  /** A file of the host that exists and is written to. */
  path?: string;
  /** Size of an empty disk that goes with the machine. */
  scratch?: Size;
  /** A file of the host that is never written: the machine's changes go with the machine. */
  template?: string;
  /** @default {false} */
  readonly?: boolean;
}

/** Options of `vm.boot()`. */
export interface BootOptions {
  files?: readonly BootFileOptions[];
  /** Kernel arguments in place of the image's. */
  cmdline?: string;
  /** Kernel arguments that come last. */
  cmdlineAppend?: string;
  disks?: readonly DiskOptions[];
  /** What the guest's clock says at the start: a Date, or seconds since 1970; the host's time when missing. */
  time?: Date | number;
  /** Mixed into the guest's random numbers; drawn anew when missing. */
  seed?: string | number | Uint8Array;
  /** Longest wait for the agent; 30 s (stretched by the accelerator's factor) when missing. */
  agentTimeout?: Duration;
  /** Whether to boot even if a clone would do. @default {false} */
  cold?: boolean;
  /** With `"no-agent"` the machine is returned as soon as it runs, with its console only. @default {"agent"} */
  expect?: "agent" | "no-agent";
  /** Which way to talk to the agent. @default {"auto"} */
  transport?: TransportChoice;
  /** Ends the boot early; the call rejects with its reason. */
  signal?: AbortSignal;
}

/** Options of `lab.vm()`: what the machine is, and defaults of its boot. */
export interface VmOptions extends Omit<BootOptions, "signal"> {
  /** @default {"256M"} */
  memory?: Size;
  /** Processors. @default {1} */
  cpus?: number;
}

const DEFAULT_AGENT_MS = 30_000;
const MAX_DISK_ID = 20;

const FILE = optionTable<BootFileOptions>()(
  {
    path: (value, name) => {
      if (typeof value === "string" && value.startsWith("/") && !value.includes("\0")) return;
      throw new TypeError(`Option ${name} must be an absolute path, got ${JSON.stringify(value)}`);
    },
    content: "bytes",
    from: (value, name) => {
      if (typeof value === "string" || value instanceof URL) return;
      throw new TypeError(`Option ${name} must be a path or URL of the host, got ${typeof value}`);
    },
    mode: (value, name) => void modeBits(value as number, `Option ${name}`),
  } as const,
);

const DISK = optionTable<DiskOptions>()(
  {
    id: (value, name) => {
      if (typeof value === "string" && /^[\w.-]+$/.test(value) && value.length <= MAX_DISK_ID) {
        return;
      }
      throw new RangeError(
        `Option ${name} must be 1 to ${MAX_DISK_ID} letters, digits, "_", "-" and ".": the guest sees no ` +
          `more of a serial number; got ${JSON.stringify(value)}`,
      );
    },
    path: "string",
    scratch: "size",
    template: "string",
    readonly: "boolean",
  } as const,
);

const each = (call: string, check: (item: unknown, name: string) => void) =>
(
  value: unknown,
  name: string,
) => {
  if (!Array.isArray(value)) throw new TypeError(`Option ${name} must be an array`);
  value.forEach((item, i) => check(item, `${call}[${i}]`));
};

const BOOT = optionTable<Omit<BootOptions, "signal">>()(
  {
    files: each("files", (file, name) => {
      checkOptions(name, file, FILE);
      const { path, content, from } = file as BootFileOptions;
      if (path === undefined) throw new TypeError(`${name} needs the option path`);
      exactlyOne(name, { content, from });
    }),
    cmdline: "string",
    cmdlineAppend: "string",
    disks: (value: unknown, name: string) => {
      each("disks", checkDisk)(value, name);
      const ids = (value as DiskOptions[]).map(({ id }) => id);
      const twice = ids.find((id, i) => ids.indexOf(id) !== i);
      if (twice !== undefined) {
        throw new RangeError(`Option ${name} has two disks with the id "${twice}"`);
      }
    },
    time: (value, name) => {
      const ms = value instanceof Date ? value.getTime() : typeof value === "number" ? value : NaN;
      if (Number.isFinite(ms) && ms >= 0) return;
      throw new TypeError(
        `Option ${name} must be a valid Date or seconds since 1970, got ${String(value)}`,
      );
    },
    seed: (value, name) => {
      const fits = typeof value === "string" || value instanceof Uint8Array ||
        (typeof value === "number" && Number.isFinite(value));
      if (!fits) throw new TypeError(`Option ${name} must be text, a number or bytes`);
    },
    agentTimeout: "duration",
    cold: "boolean",
    expect: ["agent", "no-agent"],
    transport: ["auto", "vsock", "serial"],
  } as const,
);

/** Checks what describes a disk; `at` is what errors call it. */
export function checkDisk(disk: unknown, at: string): void {
  checkOptions(at, disk, DISK);
  const { id, path, scratch, template } = disk as DiskOptions;
  if (id === undefined) throw new TypeError(`${at} needs the option id`);
  exactlyOne(at, { path, scratch, template });
}

/** Checks the options of `vm.boot()`. */
export const checkBoot: (options: unknown) => void = registerOptions<BootOptions>("vm.boot()", {
  ...BOOT,
  signal: "abortSignal",
});

/** Checks the options of `lab.vm()`. */
export const checkVm: (options: unknown) => void = registerOptions<VmOptions>("lab.vm()", {
  ...BOOT,
  memory: "size",
  cpus: (value, name) => {
    if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 255) return;
    throw new RangeError(
      `Option ${name} must be a whole number from 1 to 255, got ${String(value)}`,
    );
  },
});

function exactlyOne(at: string, sources: Record<string, unknown>): void {
  const names = Object.keys(sources);
  const given = names.filter((name) => sources[name] !== undefined);
  if (given.length === 1) return;
  const got = given.length === 0 ? "none" : given.join(" and ");
  throw new TypeError(`${at} takes exactly one of ${names.join(", ")}; got ${got}`);
}

/** What the monitor is told, without the image. */
export async function machineSpec(
  options: VmOptions & BootOptions,
): Promise<Omit<MachineSpec, "name" | "image" | "signal">> {
  const { files = [], disks = [], time, seed, agentTimeout } = options;
  return {
    memoryBytes: bytes(options.memory ?? "256M", "memory"),
    cpus: options.cpus ?? 1,
    ...(options.cmdline === undefined ? {} : { cmdline: options.cmdline }),
    ...(options.cmdlineAppend === undefined ? {} : { cmdlineAppend: options.cmdlineAppend }),
    files: await Promise.all(files.map(readBootFile)),
    disks: disks.map(diskSpec),
    ...(time === undefined ? {} : { timeMs: time instanceof Date ? time.getTime() : time * 1000 }),
    ...(seed === undefined ? {} : { seed: seedBytes(seed) }),
    agentTimeoutMs: agentTimeout === undefined
      ? DEFAULT_AGENT_MS * timeScale()
      : milliseconds(agentTimeout),
    cold: options.cold ?? false,
    expect: options.expect ?? "agent",
    transport: options.transport ?? "auto",
  };
}

async function readBootFile({ path, content, from, mode = 0o644 }: BootFileOptions) {
  if (from === undefined) return { path, mode, content: toBytes(content!) };
  try {
    return { path, mode, content: await Deno.readFile(from) };
  } catch (cause) {
    throw new HostError(`Cannot read "${from}" for "${path}" of the guest`, {
      actual: (cause as Error).message,
      next: "check the option from of the boot file; relative paths begin at the current folder",
      cause,
    });
  }
}

/** What the monitor is told of a disk. */
export function diskSpec({ id, path, scratch, template, readonly = false }: DiskOptions): DiskSpec {
  const source: DiskSpec["source"] = path !== undefined
    ? { kind: "path", path, format: formatOf(path) }
    : template !== undefined
    ? { kind: "template", path: template, format: formatOf(template) }
    : { kind: "scratch", bytes: bytes(scratch!, "scratch") };
  return { id, source, readonly };
}

/** What is no qcow2 by its name is taken as it is: guessing by content would let a guest change what its disk is. */
function formatOf(path: string): "raw" | "qcow2" {
  return path.endsWith(".qcow2") ? "qcow2" : "raw";
}

function seedBytes(seed: string | number | Uint8Array): Uint8Array {
  return seed instanceof Uint8Array ? seed : toBytes(String(seed));
}

/** The name nearest to one that is not there, as the end of a sentence. */
export function hintFor(name: string, candidates: Iterable<string>): string {
  const all = [...candidates];
  const near = closest(name, all);
  if (near) return `did you mean "${near}"?`;
  return all.length === 0
    ? "there is none yet"
    : `there are ${all.map((n) => `"${n}"`).join(", ")}`;
}
