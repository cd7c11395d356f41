import { type BelljarError, BootError, HostError } from "../../errors.ts";
import { type GuardedProcess, pause, type Run } from "../../host/mod.ts";
import { formatSeconds } from "../../values/duration.ts";
import { collectText } from "../_collect_text.ts";
import type { QemuBinary } from "./binary.ts";
import { QmpClient } from "./qmp.ts";

/** What {@linkcode startQemu} needs. */
export interface StartQemuOptions {
  run: Run;
  qemu: QemuBinary;
  /** Name of the machine, for errors. */
  machine: string;
  /** Folder of the machine: its sockets lie there. */
  dir: string;
  /** Arguments, given the sockets' paths. */
  args: (sockets: { qmp: string; control: string; console: string }) => string[];
  /** Longest wait until QEMU has connected. @default {30_000} */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** A QEMU that has connected to everything and has its machine ready. */
export interface QemuProcess {
  process: GuardedProcess;
  qmp: QmpClient;
  control: Deno.Conn;
  console: Deno.Conn;
  /** What it wrote to its standard error so far: the beginning and the end of it. */
  stderr: () => string;
  /** Milliseconds from the start until it had connected. */
  spawnMs: number;
}

const START_TIMEOUT_MS = 30_000;
/** Between the end of QEMU's connections and the news of its own end. */
const HANG_UP_MS = 2_000;

/**
 * Starts QEMU and takes its connections: the harness listens before QEMU exists, so nothing has to be tried twice.
 *
 * @throws {HostError} If QEMU ends before it has connected, or does not connect in time.
 */
export async function startQemu(options: StartQemuOptions): Promise<QemuProcess> {
  const { run, qemu, dir, signal } = options;
  const started = performance.now();
  signal?.throwIfAborted();
  await using opened = new AsyncDisposableStack();
  const listen = (name: string) => {
    const path = `${dir}/${name}`;
    const listener = Deno.listen({ transport: "unix", path });
    opened.defer(async () => {
      closeQuietly(listener);
      await Deno.remove(path).catch(() => {}); // the machine's folder is removed anyway
    });
    return { path, listener };
  };
  const sockets = { qmp: listen("q"), control: listen("c"), console: listen("t") };
  const process = await run.spawnGuarded(qemu.path, {
    args: options.args({
      qmp: sockets.qmp.path,
      control: sockets.control.path,
      console: sockets.console.path,
    }),
    cwd: dir,
    env: heapInLargePages(),
    stdout: "null",
    stderr: "piped",
    signal,
  });
  const failed = new AsyncDisposableStack();
  failed.use(process);
  const stderr = collectText(process.stderr);
  const stop = Promise.withResolvers<never>();
  const onAbort = () => stop.reject(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const timeoutMs = options.timeoutMs ?? START_TIMEOUT_MS;
  const timer = setTimeout(() => stop.reject(notConnected(options, timeoutMs)), timeoutMs);
  let connected = false;
  process.status.then(async (status) => {
    await stderr.settled();
    if (!connected) stop.reject(endedEarly(options, status, stderr.text()));
  });
  const accept = async ({ listener }: { listener: Deno.Listener }) => {
    const conn = await listener.accept();
    failed.defer(() => closeQuietly(conn));
    return conn;
  };
  const all = Promise.all([
    accept(sockets.qmp),
    accept(sockets.control),
    accept(sockets.console),
  ]);
  try {
    const [monitor, control, console] = await Promise.race([all, stop.promise]);
    const qmp = new QmpClient(monitor);
    failed.defer(() => qmp.close());
    // Answered once the machine is made: memory, devices, kernel and all.
    await Promise.race([negotiate(qmp, timeoutMs, stop.promise), stop.promise]);
    connected = true;
    failed.move(); // the caller's from here on
    return {
      process,
      qmp,
      control,
      console,
      stderr: stderr.text,
      spawnMs: performance.now() - started,
    };
  } catch (error) {
    all.catch(() => {}); // its listeners are closed under it
    await failed.disposeAsync();
    throw error;
  } finally {
    stop.promise.catch(() => {}); // lost the race
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/**
 * Has glibc (2.35 or later; others pass over it) ask for large pages for QEMU's heap: half of the page faults before a
 * machine runs are for its 12 MiB, and nearly all while a state is loaded.
 */
export function heapInLargePages(
  given: string | undefined = Deno.env.get("GLIBC_TUNABLES"),
): Record<string, string> {
  const name = "glibc.malloc.hugetlb";
  if (given?.split(":").some((setting) => setting.startsWith(`${name}=`))) return {};
  return { GLIBC_TUNABLES: [...given ? [given] : [], `${name}=1`].join(":") };
}

/** A monitor that hangs up is a QEMU that ends: its status says why. */
async function negotiate(qmp: QmpClient, timeoutMs: number, ended: Promise<never>): Promise<void> {
  try {
    await qmp.negotiate({ timeoutMs });
  } catch (error) {
    const late = new AbortController();
    await Promise.race([ended, pause(HANG_UP_MS, late.signal)]).finally(() => late.abort());
    throw error;
  }
}

function notConnected({ machine, qemu }: StartQemuOptions, timeoutMs: number): BelljarError {
  return new HostError(`Cannot start machine "${machine}": QEMU did not connect`, {
    code: "QEMU_SILENT",
    expected: `"${qemu.path}" to connect within ${formatSeconds(timeoutMs / 1000)}`,
    actual: "it runs, but did not",
    next: "see whether the host is overloaded; run belljar doctor --probe",
  });
}

/** Code of the error when another machine of the host has the address that was drawn. */
export const CID_TAKEN = "CID_TAKEN";

/** What to do about what QEMU says before it ends. */
const ADVICE: readonly (readonly [pattern: RegExp, code: string, next: string])[] = [
  [
    /unable to set guest cid: Address (?:already )?in use/i,
    CID_TAKEN,
    "start it again: another address is drawn",
  ],
  [
    /vhost-vsock: (?:failed to open|vhost_(?:vsock|dev)|unable)/i,
    "VSOCK_UNAVAILABLE",
    'run with transport "serial", or see the kernel\'s log about vhost_vsock',
  ],
  [
    /cannot set up guest memory|Cannot allocate memory|unable to map backing store.*memory|Insufficient free host memory/i,
    "NO_MEMORY",
    "lower `memory` of the machine, or run fewer machines at once",
  ],
  [
    /Could not access KVM|failed to initialize kvm|ioctl\(KVM/i,
    "KVM_REFUSED",
    "run with --accel tcg, or give this user access to /dev/kvm",
  ],
  [
    /could not (?:load|open)|Failed to load|No such file or directory|Permission denied|read error/i,
    "IMAGE_UNREADABLE",
    "build the image again (belljar image build), or make its files readable",
  ],
  [
    /unsupported machine type|is not a valid (?:device|machine)|Property .* not found|invalid (?:accelerator|option)|Invalid parameter/i,
    "QEMU_UNSUITABLE",
    "install QEMU 7.2 or later with its x86 devices",
  ],
];

function endedEarly(
  { machine, qemu, signal }: StartQemuOptions,
  status: Deno.CommandStatus,
  stderr: string,
): unknown {
  if (signal?.aborted) return signal.reason;
  const how = status.signal ? `was ended by ${status.signal}` : `ended with code ${status.code}`;
  const said = stderr.trim();
  const actual = `"${qemu.path}" ${how} before the machine ran${said ? `:\n${said}` : ""}`;
  const advice = ADVICE.find(([pattern]) => pattern.test(said));
  if (advice) {
    const [, code, next] = advice;
    return new HostError(`Cannot start machine "${machine}"`, { code, actual, next });
  }
  return new BootError(`Cannot start machine "${machine}": QEMU ${how}`, {
    code: status.signal ? "QEMU_KILLED" : "QEMU_FAILED",
    stage: "launch",
    stderr: said,
    actual,
    next: status.signal === "SIGKILL"
      ? "see the kernel's log for an out-of-memory kill (dmesg), or who else sent it"
      : `run belljar doctor; what "${qemu.path}" wrote is above`,
  });
}

/** Closes what its other end may have closed already. */
export function closeQuietly(resource: { close(): void }): void {
  try {
    resource.close();
  } catch {
    // Closed already by its other end.
  }
}
