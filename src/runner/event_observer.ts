import {
  type AttachedData,
  type Failure,
  type FileObserver,
  type StepOutcome,
  type TestInfo,
  type TestOutcome,
  type Whereabouts,
  whereabouts,
} from "../dsl/mod.ts";
import { codeFrame, errorInfo, placeOf } from "../report/error_info.ts";
import type { ErrorInfo, EventFields, KnownKind, OpInfo } from "../report/events.ts";
import { formatSite, type TrackedOperation } from "../scope/mod.ts";
import { storeAttachment } from "./attachments.ts";
import type { Emit } from "./emit.ts";
import { MachineLog } from "./machine_log.ts";

/** Options for {@linkcode EventObserver}. */
export interface EventObserverOptions {
  /** Name of the file in events. */
  file: string;
  seed: number;
  emit: Emit;
  /** Folder for attachments. */
  artifacts?: string;
  /** Called before a test begins and after it has ended; what it returns is awaited. */
  onBoundary?: (test: string | undefined) => void | Promise<void>;
}

/** Turns what happens to the tests of a file, and below them, into events. */
export class EventObserver implements FileObserver {
  #file: string;
  #seed: number;
  #emit: Emit;
  #artifacts: string | undefined;
  #onBoundary: (test: string | undefined) => void | Promise<void>;
  #machines = new MachineLog();

  constructor(options: EventObserverOptions) {
    this.#file = options.file;
    this.#seed = options.seed;
    this.#emit = options.emit;
    this.#artifacts = options.artifacts;
    this.#onBoundary = options.onBoundary ?? (() => {});
  }

  /** Takes an event of the rooms below: adds whose it is. */
  readonly sink = (kind: string, fields: Record<string, unknown>): void => {
    const at = whereabouts();
    this.#machines.add(kind, fields, at?.test);
    const { kind: resource, ...rest } = fields;
    if (kind === "service_log") {
      const text = String(fields.text);
      const service = String(fields.service);
      return this.#emit("log", {
        file: this.#file,
        ...at && { test: at.test },
        stream: "service",
        service,
        text,
      });
    }
    this.#emit(kind as KnownKind, {
      file: this.#file,
      ...at && { test: at.test },
      ...at && at.steps.length > 0 && { step: [...at.steps] },
      ...rest,
      ...resource !== undefined && { resource },
    } as never);
  };

  async testStarted(info: TestInfo): Promise<void> {
    this.#emit("test_started", {
      file: this.#file,
      test: info.name,
      meta: jsonSafe(info.meta),
      attempt: info.attempt,
      timeoutMs: info.timeoutMs,
      ...info.site && { place: placeOf(info.site) },
    });
    // After the event: when this resolves both have left, even if the test blocks from its first line on.
    await this.#onBoundary(info.name);
  }

  async testFinished(outcome: TestOutcome): Promise<void> {
    const { failure, others, status, inProgress, history } = outcome;
    const failed = status === "failed";
    const error = failure && infoOf(failure);
    if (error && !error.frames) showOperation(error, outcome);
    const fields: EventFields<"test_finished"> = {
      file: this.#file,
      test: outcome.name,
      status,
      durationMs: rounded(outcome.durationMs),
      meta: jsonSafe(outcome.meta),
      attempt: outcome.attempt,
      ...outcome.reason !== undefined && { reason: outcome.reason },
      ...outcome.class && { class: outcome.class },
      ...error && { error },
      ...others.length > 0 && { errors: others.map(infoOf) },
      ...outcome.willRetry && { willRetry: true },
      ...outcome.site && { place: placeOf(outcome.site) },
    };
    if (outcome.closed.length > 0) {
      fields.closed = outcome.closed.map(({ site, durationMs, ...rest }) => ({
        ...rest,
        site: formatSite(site),
        durationMs: rounded(durationMs),
      }));
    }
    if (failed) {
      const now = performance.now();
      if (inProgress.length > 0) fields.inProgress = inProgress.map((op) => opInfo(op, now));
      if (history.length > 0) fields.history = history.map((op) => opInfo(op, now));
      const machines = this.#machines.of(outcome.name);
      if (machines.length > 0) {
        fields.machines = machines.map(({ start }) => start);
        fields.consoles = await this.#machines.consoles(outcome.name);
      }
      fields.seed = this.#seed;
    }
    this.#machines.endTest(outcome.name);
    await this.#onBoundary(undefined);
    this.#emit("test_finished", fields);
  }

  stepStarted({ test, steps }: Whereabouts): void {
    this.#emit("step_started", { file: this.#file, test, step: [...steps] });
  }

  stepFinished({ test, steps }: Whereabouts, outcome: StepOutcome): void {
    this.#emit("step_finished", {
      file: this.#file,
      test,
      step: [...steps],
      status: outcome.status,
      durationMs: rounded(outcome.durationMs),
      ...outcome.reason !== undefined && { reason: outcome.reason },
      ...outcome.error !== undefined && { error: errorInfo(outcome.error) },
    });
  }

  log({ test, steps }: Whereabouts, text: string): void {
    this.#emit("log", { ...this.#at(test, steps), stream: "test", text });
  }

  attached({ test, steps }: Whereabouts, data: AttachedData): void {
    const fields = storeAttachment(data, this.#artifacts, this.#file, test);
    this.#emit("attachment", { ...this.#at(test, steps), ...fields });
  }

  #at(test: string, steps: readonly string[]): { file: string; test: string; step?: string[] } {
    return { file: this.#file, test, ...steps.length > 0 && { step: [...steps] } };
  }
}

/** Errors that come from a machine often have no frame of the author's: then it is where the operation was called. */
function showOperation(error: ErrorInfo, { inProgress, history }: TestOutcome): void {
  const site = (inProgress.at(-1) ?? history.findLast(({ ok }) => ok === false))?.site;
  if (!site) return;
  const place = placeOf(site);
  const code = codeFrame(place);
  error.frames = [place];
  if (code) error.code = code;
}

function infoOf({ error, phase }: Failure): ErrorInfo {
  return errorInfo(error, phase);
}

function opInfo({ op, vm, site, startMs, durationMs, ok }: TrackedOperation, now: number): OpInfo {
  return {
    op,
    ...vm !== undefined && { vm },
    ...site && { site: formatSite(site) },
    durationMs: rounded(durationMs ?? now - startMs),
    ...ok !== undefined && { ok },
  };
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** Meta data as JSON can hold it: an author may put anything there. */
export function jsonSafe(meta: Record<string, unknown>): Record<string, unknown> {
  try {
    return JSON.parse(JSON.stringify(meta, (_, value) => {
      if (typeof value === "bigint") return `${value}`;
      return typeof value === "function" || typeof value === "symbol" ? String(value) : value;
    }));
  } catch {
    return Object.fromEntries(
      Object.entries(meta).map(([key, value]) => [key, Deno.inspect(value)]),
    );
  }
}
