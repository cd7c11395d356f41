import type { HttpAnswer, HttpRequest } from "./http_exchange.ts";
import type { PortOwner } from "./service_types.ts";
import type { ProcessJob } from "./process_job.ts";
import type { BackgroundOptions, JobResult } from "./types.ts";

/** Where a probe connects to. */
export type Target =
  | { port: number; host?: string }
  | { unix: string };

/** Options for a command that a place runs. */
export interface PlaceRunOptions {
  cwd?: string;
  env?: Record<string, string>;
  timeoutMs: number;
  signal?: AbortSignal;
}

/** A port that the host reaches. */
export interface Forwarded {
  /** Its number on the host. */
  readonly port: number;
  close(): Promise<void>;
}

/** Where services run: on this host, or in a guest. */
export interface ServicePlace {
  readonly kind: "host" | "guest";
  /** The machine, if it is one; conditions of the author get it. */
  readonly vm?: unknown;
  /** Starts a process that is in the job table but in no scope: its service ends it. */
  background(command: string | readonly string[], options: BackgroundOptions): Promise<ProcessJob>;
  /** Runs a command to its end, and kills it, whole, when the time is over or `signal` aborts. */
  run(command: string | readonly string[], options: PlaceRunOptions): Promise<JobResult>;
  /** Size of a file; `undefined` if there is none. */
  fileSize(path: string): Promise<number | undefined>;
  readFile(path: string): Promise<Uint8Array>;
  /** Resolves if somebody takes connections there. */
  connect(target: Target, signal: AbortSignal): Promise<void>;
  http(
    target: Target & { tls?: { insecure: boolean } },
    request: HttpRequest,
    signal: AbortSignal,
  ): Promise<HttpAnswer>;
  /** Whether nobody listens on a port. */
  isPortFree(port: number): Promise<boolean>;
  /** A port on which nobody listens at this moment. */
  choosePort(): Promise<number>;
  /** Who listens on a port; `undefined` if that cannot be seen. */
  portOwners(port: number): Promise<PortOwner[] | undefined>;
  /** Ends whoever listens on a port. */
  clearPort(port: number): Promise<void>;
  /** Makes a port reachable from the host, until that is closed. */
  forward?(port: number, hostPort: number | "auto"): Promise<Forwarded>;
  /** A socket on which a service says that it is ready. */
  notifySocket?(): Promise<{ path: string; ready: Promise<void>; close(): void }>;
}
