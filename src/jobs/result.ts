import { formatSeconds, signalName } from "../values/mod.ts";
import { JobFailedError, quote } from "./errors.ts";
import { lastLines } from "./_text.ts";
import type { JobId, JobResult, JobState, JobStatus, ProcInfo } from "./types.ts";

const TAIL_LINES = 20;

/** The status text of a state; the only place where the two are joined. */
export function statusOf(state: JobState, exitCode: number): JobStatus {
  switch (state) {
    case "done":
      return "done:0";
    case "failed":
      return `failed:${exitCode}`;
    case "killed":
      return `killed:${exitCode}`;
    default:
      return state;
  }
}

/** Whether a state never changes again. */
export function isTerminal(state: JobState): boolean {
  return state !== "running" && state !== "stopped";
}

/** Exit code and signal as results show them, from what the system reported. */
export function exitOf(exit: { code?: number; sig?: number }): {
  exitCode: number;
  signal: Deno.Signal | null;
} {
  return exit.sig
    ? { exitCode: 128 + exit.sig, signal: signalName(exit.sig) }
    : { exitCode: exit.code ?? -1, signal: null };
}

/** The facts of a {@linkcode JobResult}. */
export type ResultFacts = Omit<JobResult, "status" | "running" | "ok" | "assertOk">;

/** Outcome of a job, or how far it is. */
export class Result implements JobResult {
  id: JobId;
  command: string;
  state: JobState;
  status: JobStatus;
  running: boolean;
  exitCode: number;
  signal: Deno.Signal | null;
  ok: boolean;
  stdout: string;
  stderr: string;
  stdoutBytes: Uint8Array;
  stderrBytes: Uint8Array;
  truncated: { stdout: number; stderr: number };
  outputComplete: boolean;
  survivors: ProcInfo[];
  startedAt: Date;
  finishedAt?: Date;
  elapsed: number;
  outputFile?: string;

  constructor(facts: ResultFacts) {
    this.id = facts.id;
    this.command = facts.command;
    this.state = facts.state;
    this.status = statusOf(facts.state, facts.exitCode);
    this.running = !isTerminal(facts.state);
    this.exitCode = facts.exitCode;
    this.signal = facts.signal;
    this.ok = facts.exitCode === 0;
    this.stdout = facts.stdout;
    this.stderr = facts.stderr;
    this.stdoutBytes = facts.stdoutBytes;
    this.stderrBytes = facts.stderrBytes;
    this.truncated = facts.truncated;
    this.outputComplete = facts.outputComplete;
    this.survivors = facts.survivors;
    this.startedAt = facts.startedAt;
    if (facts.finishedAt) this.finishedAt = facts.finishedAt;
    this.elapsed = facts.elapsed;
    if (facts.outputFile !== undefined) this.outputFile = facts.outputFile;
  }

  assertOk(message?: string): this {
    if (this.ok) return this;
    const what = `Job ${this.id} ${quote(this.command)} ${outcome(this)}`;
    throw new JobFailedError(message ? `${message}: ${what}` : what, this, {
      expected: "exit code 0",
      actual: [this.status, ...tails(this)].join("\n"),
      next: this.running ? "wait longer, or kill() it" : undefined,
    });
  }
}

/** How a job ended, as the end of a sentence. */
export function outcome(result: JobResult): string {
  if (result.state === "stopped") return `is stopped after ${formatSeconds(result.elapsed)}`;
  if (result.running) return `is still running after ${formatSeconds(result.elapsed)}`;
  if (result.state === "lost") return "was lost before it had a result";
  if (result.signal) return `was ended by ${result.signal}`;
  return `${
    result.state === "killed" ? "was killed and ended" : "ended"
  } with exit code ${result.exitCode}`;
}

function tails(result: JobResult): string[] {
  const rows: string[] = [];
  for (const name of ["stdout", "stderr"] as const) {
    const tail = lastLines(result[name], TAIL_LINES);
    if (tail) rows.push(`${name} ends with`, ...tail.split("\n").map((line) => `  ${line}`));
  }
  return rows.length > 0 ? rows : ["there was no output"];
}
