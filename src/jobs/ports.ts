import { DeadlineError } from "../errors.ts";
import { endProcesses, pause, processesWithToken } from "../host/mod.ts";
import { currentRun } from "../host/mod.ts";
import { type Duration, milliseconds, registerOptions } from "../values/mod.ts";
import { listenersOn, ownersOf } from "./_listeners.ts";
import { processTable } from "./job_table.ts";
import { PortInUseError, showOwners } from "./service_errors.ts";
import type { PortOwner } from "./service_types.ts";

/** A port that is kept for its owner until it is released. */
export interface ReservedPort extends AsyncDisposable {
  readonly port: number;
  /** Gives it free, so that somebody can listen on it. */
  release(): void;
}

/** Options for {@linkcode waitForPortFree}. */
export interface PortWaitOptions {
  /** @default {10} */
  timeout?: Duration;
  signal?: AbortSignal;
}

const MAX_TRIES = 100;
/** Nothing tells when a port gets free. */
const LOOK_MS = 20;
/** Longest time between the end of a process and that of its sockets. */
const CLOSE_MS = 1_000;

const checkReserve = registerOptions<{ host?: string; from?: number }>("reservePort()", {
  host: "string",
  from: "integer",
});
const checkClear = registerOptions<{ only?: "ours" | "any"; grace?: Duration }>("clearPort()", {
  only: ["ours", "any"],
  grace: "duration",
});
const checkWait = registerOptions<PortWaitOptions>("waitForPortFree()", {
  timeout: "durationOrInfinity",
  signal: "abortSignal",
});

/**
 * Reserves a port by listening on it: any free one, or the first free one from `from` on.
 *
 * @throws {PortInUseError} If none of the hundred ports from `from` on is free.
 */
export async function reservePort(
  options: { host?: string; from?: number } = {},
): Promise<ReservedPort> {
  checkReserve(options);
  const { host = "127.0.0.1", from } = options;
  if (from !== undefined) checkPort(from, "reservePort()");
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const port = from === undefined ? 0 : from + tries;
    if (port > 65_535) break;
    try {
      const listener = Deno.listen({ hostname: host, port });
      let held = true;
      const release = () => {
        if (held) listener.close();
        held = false;
      };
      const { port: given } = listener.addr as Deno.NetAddr;
      return { port: given, release, [Symbol.asyncDispose]: () => Promise.resolve(release()) };
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new PortInUseError(from ?? 0, await portOwner(from ?? 0), {
    expected: `a free port from ${from} on`,
  });
}

/** Returns a port that is free at this moment. Another process may take it the next: prefer {@linkcode reservePort}. */
export async function freePort(): Promise<number> {
  await using reserved = await reservePort();
  return reserved.port;
}

/** The processes that listen on a port, not those that are connected to it. */
export async function portOwner(port: number): Promise<PortOwner[]> {
  checkPort(port, "portOwner()", 0);
  const owners = await ownersOf(await listenersOn(port));
  for (const owner of owners) {
    const job = processTable.list({ origin: "host" }).find(({ state, pgids }) =>
      (state === "running" || state === "stopped") && pgids.includes(owner.pgid)
    );
    if (job) owner.jobId = job.id;
  }
  return owners;
}

/**
 * Ends who listens on a port: what this run started, or with `only: "any"` whoever it is.
 *
 * @returns Who was ended.
 * @throws {PortInUseError} If the port is still taken afterwards.
 */
export async function clearPort(
  port: number,
  options: { only?: "ours" | "any"; grace?: Duration } = {},
): Promise<PortOwner[]> {
  checkClear(options);
  checkPort(port, "clearPort()");
  const { only = "ours", grace = 2 } = options;
  const owners = await portOwner(port);
  const ours = only === "any" ? owners : await ownOf(owners);
  const groups = [...new Set(ours.map(({ pgid }) => pgid))];
  await endProcesses({ groups, graceMs: milliseconds(grace) });
  // A process counts as ended when its first thread has; its last one closes the socket.
  const giveUpAt = performance.now() + CLOSE_MS;
  while ((await listenersOn(port)).length > 0) {
    if (performance.now() > giveUpAt || (await portOwner(port)).length > 0) break;
    await pause(LOOK_MS);
  }
  if ((await listenersOn(port)).length === 0) return ours;
  throw new PortInUseError(port, await portOwner(port), {
    next: only === "ours" ? 'stop it, or pass only: "any"' : "run with the rights of its owner",
  });
}

/**
 * Waits until nobody listens on a port.
 *
 * @throws {DeadlineError} If somebody still does when the time is over.
 */
export async function waitForPortFree(
  port: number,
  options: PortWaitOptions = {},
): Promise<void> {
  checkWait(options);
  checkPort(port, "waitForPortFree()");
  const limitMs = milliseconds(options.timeout ?? 10, { infinite: true });
  const deadline = performance.now() + limitMs;
  while (!await isPortFree(port)) {
    if (performance.now() >= deadline) {
      throw new DeadlineError(`Cannot see port ${port} become free`, {
        expected: `nobody on it within ${limitMs} ms`,
        actual: showOwners(await portOwner(port)),
      });
    }
    await pause(LOOK_MS, options.signal);
  }
}

/** Whether nobody listens on a port, on any address. */
export async function isPortFree(port: number): Promise<boolean> {
  if ((await listenersOn(port)).length > 0) return false;
  try {
    Deno.listen({ hostname: "0.0.0.0", port }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}

async function ownOf(owners: PortOwner[]): Promise<PortOwner[]> {
  const run = await currentRun().catch(() => undefined); // Without a run nothing was started.
  const started = run ? await processesWithToken(run.token) : [];
  const pids = new Set(started.map(({ pid }) => pid));
  return owners.filter(({ pid, jobId }) => jobId !== undefined || pids.has(pid));
}

function checkPort(port: number, call: string, lowest = 1): void {
  if (Number.isInteger(port) && port >= lowest && port <= 65_535) return;
  if (typeof port !== "number") {
    throw new TypeError(`The port of ${call} must be a number, got ${typeof port}`);
  }
  throw new RangeError(`The port of ${call} is ${port}: expected ${lowest} to 65535`);
}
