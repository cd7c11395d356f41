import { hostRun } from "./host_run.ts";
import { BelljarError } from "../errors.ts";
import { startHostJob } from "./host_driver.ts";
import { exchange, type HttpAnswer, type HttpRequest } from "./http_exchange.ts";
import { listenersOn, ownersOf } from "./_listeners.ts";
import { clearPort, freePort, isPortFree } from "./ports.ts";
import type { PlaceRunOptions, ServicePlace, Target } from "./service_place.ts";
import { runToEnd } from "./_place_run.ts";
import { secureExchange } from "./_secure_exchange.ts";
import type { PortOwner } from "./service_types.ts";
import type { ProcessJob } from "./process_job.ts";
import type { BackgroundOptions, JobResult } from "./types.ts";

/** Services on this host. */
export const hostPlace: ServicePlace = {
  kind: "host",

  background(command: string | readonly string[], options: BackgroundOptions): Promise<ProcessJob> {
    return startHostJob(command, { ...options, unregistered: true });
  },

  run(command: string | readonly string[], options: PlaceRunOptions): Promise<JobResult> {
    return runToEnd(hostPlace, command, options);
  },

  async fileSize(path: string): Promise<number | undefined> {
    try {
      return (await Deno.stat(path)).size;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  },

  readFile: (path: string) => Deno.readFile(path),

  async connect(target: Target, signal: AbortSignal): Promise<void> {
    (await dial(target, signal)).close();
  },

  async http(
    target: Target & { tls?: { insecure: boolean } },
    request: HttpRequest,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    if (target.tls) return await secureExchange(target, request, target.tls.insecure, signal);
    return await exchange(await dial(target, signal), request, signal);
  },

  isPortFree,
  choosePort: freePort,

  async portOwners(port: number): Promise<PortOwner[] | undefined> {
    const owners = await ownersOf(await listenersOn(port));
    return owners.length > 0 ? owners : undefined;
  },

  async clearPort(port: number): Promise<void> {
    await clearPort(port, { only: "any" });
  },

  async notifySocket(): Promise<{ path: string; ready: Promise<void>; close(): void }> {
    const { listenDatagram } = Deno as unknown as { listenDatagram?: typeof Deno.listen };
    if (typeof listenDatagram !== "function") {
      throw new BelljarError("Cannot listen for READY=1: this Deno has no datagram sockets", {
        code: "NO_DATAGRAM",
        next: 'add "net" to "unstable" in deno.json, or use another probe',
      });
    }
    const run = await hostRun();
    const path = `${run.dir}/n${crypto.randomUUID().slice(0, 8)}`;
    const socket = (listenDatagram as unknown as (options: unknown) => DatagramSocket)({
      transport: "unixpacket",
      path,
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    (async () => {
      for await (const [data] of socket) {
        if (new TextDecoder().decode(data).split("\n").includes("READY=1")) resolve();
      }
    })();
    return {
      path,
      ready: promise,
      close: () => {
        socket.close();
        Deno.remove(path).catch(() => {}); // The run's folder goes as a whole.
      },
    };
  },
};

/** Unix datagrams are behind a flag of Deno, and so are their types. */
type DatagramSocket = AsyncIterable<[Uint8Array, unknown]> & { close(): void };

/** Connects; without a host that is the loopback of either family. */
async function dial(target: Target, signal: AbortSignal): Promise<Deno.Conn> {
  if ("unix" in target) {
    return await guard(Deno.connect({ transport: "unix", path: target.unix }), signal);
  }
  const { port, host } = target;
  if (host !== undefined && host !== "localhost") {
    return await guard(Deno.connect({ hostname: host, port }), signal);
  }
  const tries = ["127.0.0.1", "::1"].map((hostname) =>
    guard(Deno.connect({ hostname, port }), signal)
  );
  const settled = await Promise.allSettled(tries);
  const conns = settled.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
  for (const extra of conns.slice(1)) extra.close();
  if (conns[0]) return conns[0];
  throw (settled[0] as PromiseRejectedResult).reason;
}

/** A connection that comes after the abort is closed at once. */
async function guard(dialing: Promise<Deno.Conn>, signal: AbortSignal): Promise<Deno.Conn> {
  const conn = await dialing;
  if (!signal.aborted) return conn;
  conn.close();
  throw signal.reason;
}
