import { BelljarError, GuestError } from "../errors.ts";
import { runScope } from "../scope/mod.ts";
import { type AgentClient, toBytes } from "../wire/mod.ts";
import { commandArgv, commandText } from "./command.ts";
import { startGuestJob } from "./guest_driver.ts";
import { decodeAnswer, encodeRequest, type HttpAnswer, type HttpRequest } from "./http_exchange.ts";
import { parseListeners } from "./_listeners.ts";
import { runToEnd } from "./_place_run.ts";
import type { ProcessJob } from "./process_job.ts";
import type { Forwarded, PlaceRunOptions, ServicePlace, Target } from "./service_place.ts";
import type { PortOwner } from "./service_types.ts";
import type { BackgroundOptions, JobResult } from "./types.ts";

/** What {@linkcode guestPlace} needs of a machine. */
export interface GuestPlaceOptions {
  /** The conversation with its agent, as it is at the moment. */
  client: () => AgentClient;
  /** What conditions of the author get as `vm`. */
  vm?: unknown;
  /** Makes a port of the guest reachable from the host. */
  forward?: (port: number, hostPort: number | "auto") => Promise<Forwarded>;
}

/** First and last port that are chosen in a guest: above those of well-known services, below those of its own clients. */
const AUTO_PORTS = { first: 20_000, last: 32_000 };
const LISTENING = "00010000";

/** Services in a guest. Everything goes through its agent; only HTTP probes need a program there, `nc`. */
export function guestPlace({ client, vm, forward }: GuestPlaceOptions): ServicePlace {
  const readFile = (path: string) => readWhole(client(), path);
  const listeners = async () => {
    const tables = ["/proc/net/tcp", "/proc/net/tcp6"].map((path) => readFile(path).catch(missing));
    return (await Promise.all(tables)).flatMap((bytes) =>
      parseListeners(new TextDecoder().decode(bytes))
    );
  };
  const isPortFree = async (port: number) => !(await listeners()).some((one) => one.port === port);
  const place: ServicePlace = {
    kind: "guest",
    vm,
    ...forward ? { forward } : {},

    background: (
      command: string | readonly string[],
      options: BackgroundOptions,
    ): Promise<ProcessJob> =>
      startGuestJob(client(), 0, {
        ...options,
        argv: commandArgv(command),
        command: commandText(command),
        scope: runScope(),
        keep: true,
      }),

    run: (command: string | readonly string[], options: PlaceRunOptions): Promise<JobResult> =>
      runToEnd(place, command, options),

    async fileSize(path: string): Promise<number | undefined> {
      try {
        const { size } = await client().request("stat", { path: toBytes(path), follow: true });
        return Number(size);
      } catch (error) {
        if (error instanceof GuestError && error.errno === "ENOENT") return undefined;
        throw error;
      }
    },

    readFile,

    // A listening socket takes connections, whether or not its server gets round to them.
    async connect(target: Target): Promise<void> {
      if ("unix" in target) {
        const table = new TextDecoder().decode(await readFile("/proc/net/unix"));
        const found = table.split("\n").some((line) => {
          const [, , , flags, , , , path] = line.trim().split(/\s+/);
          return path === target.unix && flags === LISTENING;
        });
        if (!found) throw new Error(`nobody listens on ${target.unix}`);
      } else if (target.host !== undefined && target.host !== "localhost") {
        const { host, port } = target;
        const command = ["nc", "-z", host, String(port)];
        const result = await place.run(command, { timeoutMs: 10_000 });
        if (!result.ok) throw new Error(`nobody takes connections on ${host}:${port}`);
      } else if (await isPortFree(target.port)) {
        throw new Error(`nobody listens on port ${target.port}`);
      }
    },

    async http(
      target: Target & { tls?: { insecure: boolean } },
      request: HttpRequest,
      signal: AbortSignal,
    ): Promise<HttpAnswer> {
      if (target.tls || "unix" in target) {
        throw new BelljarError("Cannot probe https or unix sockets over HTTP in a guest", {
          code: "NOT_IMPLEMENTED",
          next: "use probe.command() with a client that the image has",
        });
      }
      const host = target.host ?? "127.0.0.1";
      const job = await place.background(["nc", host, String(target.port)], {
        stdin: encodeRequest(request),
        killGrace: 0,
      });
      try {
        const result = await job.wait(undefined, { signal, throughStop: true });
        const answer = decodeAnswer(result.stdoutBytes);
        if (answer) return answer;
        throw new Error(result.stderr.trim() || "the answer is not HTTP");
      } finally {
        await job[Symbol.asyncDispose]();
      }
    },

    isPortFree,

    async choosePort(): Promise<number> {
      const taken = new Set((await listeners()).map(({ port }) => port));
      const { first, last } = AUTO_PORTS;
      while (true) {
        const port = first + Math.floor(Math.random() * (last - first));
        if (!taken.has(port)) return port;
      }
    },

    portOwners: (): Promise<PortOwner[] | undefined> => Promise.resolve(undefined),

    clearPort(port: number): Promise<void> {
      return Promise.reject(
        new BelljarError(`Cannot clear port ${port} of a guest`, {
          code: "NOT_IMPLEMENTED",
          next: 'stop its owner in the guest, or use an "auto" port',
        }),
      );
    },
  };
  return place;
}

function missing(error: unknown): Uint8Array {
  if (error instanceof GuestError && error.errno === "ENOENT") return new Uint8Array(0); // No IPv6.
  throw error;
}

async function readWhole(client: AgentClient, path: string): Promise<Uint8Array> {
  const stream = client.openStream("in");
  const [bytes] = await Promise.all([
    stream.collect(),
    client.request("readFile", { path: toBytes(path), stream: stream.id }).catch((error) => {
      client.dropStream(stream);
      throw error;
    }),
  ]);
  return bytes;
}
