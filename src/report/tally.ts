import {
  type BelljarEvent,
  type FileFinished,
  isKind,
  type Log,
  type RunCounts,
  type TestFinished,
} from "./events.ts";

/** Most output of one test that is kept for its failure. */
const MAX_OUTPUT_LINES = 200;

/** A test that failed, with what it had written. */
export interface FailedTest {
  event: TestFinished;
  output: Log[];
}

/** Identifies a test within a run. */
export function testKey(file: string, test: string): string {
  return `${file}\0${test}`;
}

/** What all reporters count. */
export class Tally {
  readonly counts: RunCounts = {
    passed: 0,
    failed: 0,
    skipped: 0,
    flaky: 0,
    files: 0,
    failedFiles: 0,
  };
  readonly failures: FailedTest[] = [];
  readonly failedFiles: FileFinished[] = [];
  #output = new Map<string, Log[]>();

  /** Takes an event in. */
  add(event: BelljarEvent): void {
    if (isKind(event, "log")) this.#log(event);
    else if (isKind(event, "test_finished")) this.#test(event);
    else if (isKind(event, "file_finished")) this.#file(event);
  }

  /** What a test, or a file outside of its tests, has written so far. */
  outputOf(file: string, test = ""): Log[] {
    return this.#output.get(testKey(file, test)) ?? [];
  }

  #log(event: Log): void {
    if (event.file === undefined) return;
    const key = testKey(event.file, event.test ?? "");
    const lines = this.#output.get(key) ?? [];
    lines.push(event);
    if (lines.length > MAX_OUTPUT_LINES) lines.shift();
    this.#output.set(key, lines);
  }

  #test(event: TestFinished): void {
    const output = this.outputOf(event.file, event.test);
    this.#output.delete(testKey(event.file, event.test));
    if (event.willRetry) return;
    this.counts[event.status]++;
    if (event.status === "failed") this.failures.push({ event, output });
  }

  #file(event: FileFinished): void {
    this.counts.files++;
    if (isOwnFailure(event)) {
      this.counts.failedFiles++;
      this.failedFiles.push(event);
    }
  }
}

/** Whether a file failed by itself, and not only because a test in it did. */
export function isOwnFailure(event: FileFinished): boolean {
  return event.error !== undefined || event.status === "crashed" || event.status === "timeout";
}
