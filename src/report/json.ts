import {
  type BelljarEvent,
  type FileFinished,
  isKind,
  type RunFinished,
  type RunStarted,
  type TestFinished,
} from "./events.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";

/** One JSON object with the results of all tests, written when the run has ended. */
export class JsonReporter implements Reporter {
  #out: ReporterOutput;
  #started: RunStarted | undefined;
  #finished: RunFinished | undefined;
  #tests: TestFinished[] = [];
  #files: FileFinished[] = [];

  constructor(out: ReporterOutput) {
    this.#out = out;
  }

  event(event: BelljarEvent): void {
    if (isKind(event, "run_started")) this.#started = event;
    else if (isKind(event, "run_finished")) this.#finished = event;
    else if (isKind(event, "file_finished")) this.#files.push(event);
    else if (isKind(event, "test_finished") && !event.willRetry) this.#tests.push(event);
  }

  end(): void {
    const { versions, host, seed, shard } = this.#started ?? {};
    const { status, exitCode, durationMs, counts } = this.#finished ?? {};
    const report = {
      v: 1,
      status: status ?? "unfinished",
      exitCode,
      durationMs,
      counts,
      seed,
      shard,
      versions,
      host,
      files: this.#files.map(bare),
      tests: this.#tests.map(bare),
    };
    this.#out.write(`${JSON.stringify(report, null, 2)}\n`);
  }
}

function bare<T extends BelljarEvent>(event: T): Omit<T, "v" | "ts" | "run" | "kind"> {
  const { v: _v, ts: _ts, run: _run, kind: _kind, ...rest } = event;
  return rest;
}
