import { BelljarError, type ErrorDetails } from "../errors.ts";
import type { JobId, JobResult, JobState, ProcInfo } from "./types.ts";

/** No job of the table has this number, or it was removed. */
export class JobNotFoundError extends BelljarError {
  override readonly name = "JobNotFoundError";
  readonly id: JobId;

  constructor(id: JobId, details: ErrorDetails = {}) {
    super(`Cannot find job ${id}: no job of this table has that number`, {
      code: "JOB_NOT_FOUND",
      ...details,
    });
    this.id = id;
  }
}

/** Why a process could not be started. */
export type SpawnFailure = "notFound" | "permission" | "cwd" | "limit" | "other";

/** A process could not be started. */
export class JobSpawnError extends BelljarError {
  override readonly name = "JobSpawnError";
  readonly command: string;
  readonly reason: SpawnFailure;

  constructor(command: string, reason: SpawnFailure, details: ErrorDetails = {}) {
    super(`Cannot start ${quote(command)}: ${SPAWN_TEXT[reason]}`, {
      code: "JOB_SPAWN",
      ...details,
    });
    this.command = command;
    this.reason = reason;
  }
}

const SPAWN_TEXT: Record<SpawnFailure, string> = {
  notFound: "there is no such program",
  permission: "it is not permitted",
  cwd: "its working directory cannot be entered",
  limit: "a limit of the system is reached",
  other: "the system refused",
};

/** A wait without limit on a job that is stopped. */
export class JobStoppedError extends BelljarError {
  override readonly name = "JobStoppedError";
  readonly id: JobId;

  constructor(id: JobId, command: string) {
    super(`Cannot wait without limit for job ${id} ${quote(command)}: it is stopped`, {
      code: "JOB_STOPPED",
      next: "resume() it, give wait() a timeout, or pass throughStop: true",
    });
    this.id = id;
  }
}

/** What was asked for is not possible in the job's state. */
export class JobStateError extends BelljarError {
  override readonly name = "JobStateError";
  readonly id: JobId;
  readonly state: JobState;

  constructor(action: string, id: JobId, state: JobState, next?: string) {
    super(`Cannot ${action} job ${id}: it is ${state}`, { code: "JOB_STATE", next });
    this.id = id;
    this.state = state;
  }
}

/** A job ended with another exit code than 0, or has not ended; thrown by `result.assertOk()`. */
export class JobFailedError extends BelljarError {
  override readonly name = "JobFailedError";
  readonly result: JobResult;

  constructor(summary: string, result: JobResult, details: ErrorDetails = {}) {
    super(summary, { code: "JOB_FAILED", ...details });
    this.result = result;
  }
}

/** The machine, agent or process that held the job went away before there was a result. */
export class JobLostError extends BelljarError {
  override readonly name = "JobLostError";
  readonly id: JobId;

  constructor(id: JobId, command: string, cause?: unknown) {
    super(`Job ${id} ${quote(command)} was lost before it had a result`, {
      code: "JOB_LOST",
      actual: cause === undefined ? undefined : firstLine(cause),
      cause,
    });
    this.id = id;
  }
}

/** Something of the job survived SIGKILL, or a task did not react to its cancellation. */
export class JobUnkillableError extends BelljarError {
  override readonly name = "JobUnkillableError";
  readonly id: JobId;
  readonly survivors: ProcInfo[];

  constructor(id: JobId, command: string, survivors: ProcInfo[], details: ErrorDetails = {}) {
    const left = survivors.map((p) => `pid ${p.pid} (${p.state}) ${quote(p.command)}`).join(", ");
    super(`Cannot kill job ${id} ${quote(command)}: it is still there`, {
      code: "JOB_UNKILLABLE",
      actual: left || undefined,
      ...details,
    });
    this.id = id;
    this.survivors = survivors;
  }
}

/** Shows a command in quotes, shortened to a line. */
export function quote(command: string, limit = 80): string {
  const text = command.length > limit ? `${command.slice(0, limit - 1)}…` : command;
  return JSON.stringify(text);
}

/** The first line of what was thrown. */
export function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.split("\n")[0]!;
}
