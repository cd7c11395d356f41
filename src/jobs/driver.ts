/**
 * What runs the processes of jobs: an agent in a guest, or this host. A driver reports what happens; what it means is
 * decided in one place, {@linkcode ProcessJob}.
 *
 * @module
 */
import type { ProcInfo } from "./types.ts";

/** How a process ended. */
export interface ProcessExit {
  /** Exit code; missing after death by a signal. */
  code?: number;
  /** Number of the signal that ended it. */
  sig?: number;
  /** Members of its group that live on. */
  alive: number;
}

/** Receives what happens to a process, in order. */
export interface DriverEvents {
  output(stream: "stdout" | "stderr", chunk: Uint8Array): void;
  /** The last writer closed the pipe. */
  outputEnded(stream: "stdout" | "stderr"): void;
  exited(exit: ProcessExit): void;
  /** No member is left; never before the exit. Not every driver can tell. */
  emptied(): void;
  stopped(): void;
  continued(): void;
  /**
   * There will be no result: whoever held the process is gone or, with `reachable`, nobody can tell how it ended, while its
   * members can still be looked at and ended.
   */
  lost(error: unknown, options?: { reachable?: boolean }): void;
}

/** Who gets a signal. */
export type SignalTarget = "group" | "leader";

/** Runs one process. */
export interface ProcessDriver {
  readonly pid: number;
  readonly pgid: number;
  /** Whether stops are not reported, so that somebody has to look. */
  readonly mustLookForStops: boolean;
  /** Standard input, if it is to be written by the user. */
  readonly stdin?: WritableStream<Uint8Array>;
  /** Begins to report; before this nothing is lost, only kept. */
  start(events: DriverEvents): void;
  /** Sends a signal, and returns how many processes got it; 0 when none is left. */
  signal(sig: number, target: SignalTarget): Promise<number>;
  /** Live members of its group, cgroup or token; zombies do not count. */
  members(): Promise<ProcInfo[]>;
  /** Resolves when no member is left; rejects with the reason of `signal`. */
  whenEmpty(signal: AbortSignal): Promise<void>;
  /** Looks whether it is stopped, where nobody reports that. */
  refresh(): Promise<void>;
  /** Tells its terminal another size; missing where there are none. */
  resize?(size: { cols: number; rows: number }): Promise<void>;
  /** Adds a process group to the members. */
  addGroup?(pgid: number): void;
  /** Drops what is still to be read. */
  discardOutput(): void;
  /** Forgets the process: it has ended, and its members are gone or shall live on. */
  release(): void;
}

/**
 * Whether none of them runs. A shell that has just forked waits, in state D, for a child that was stopped before its exec:
 * the kernel neither stops nor reports the shell until the child goes on.
 */
export function isStopped(members: readonly ProcInfo[]): boolean {
  return members.some(({ state }) => state === "T") &&
    members.every(({ state }) => state === "T" || state === "D");
}
