import type { RunFileOptions } from "../dsl/mod.ts";
import type { BelljarEvent, ErrorInfo, FailureClass, FileStatus } from "../report/events.ts";
import type { Refusal } from "./pool.ts";

/** What the parent tells the process of a file, one JSON object per line; this one first. */
export interface StartMessage {
  type: "start";
  /** Absolute path of the test file. */
  path: string;
  /** Its name in events. */
  file: string;
  run: string;
  seed: number;
  attempt: number;
  /** Marks the lines by which the output of tests is told apart. */
  mark: string;
  /** Whether to load the file and name its tests, without running any. */
  list: boolean;
  options: Omit<RunFileOptions, "interrupt" | "unmet">;
  /** What the run says about all its machines, as variables of the environment. */
  environment: Record<string, string>;
  strict: boolean;
  artifacts?: string;
  stage: { dir: string; cacheDir?: string };
}

/** What the parent tells the process of a file. */
export type ToChild =
  | StartMessage
  | { type: "interrupt" }
  | { type: "ping"; n: number }
  | { type: "granted"; id: number }
  | { type: "refused"; id: number; refusal: Refusal }
  /** The answer to `spare`. */
  | { type: "spared"; id: number; granted: boolean }
  /** Somebody waits for what was spared: it is to be given back. */
  | { type: "reclaim"; id: number };

/** A test as `belljar list` shows it. */
export interface ListedTest {
  name: string;
  meta: Record<string, unknown>;
  skip?: string;
  line?: number;
}

/** What the process of a file tells the parent. */
export type FromChild =
  | { type: "event"; event: BelljarEvent }
  /** What was written before this has passed mark `n` on both outputs. */
  | { type: "mark"; n: number }
  | { type: "pong"; n: number; overdueMs: number }
  /** Asks the run's pool for the resources of machines. */
  | { type: "reserve"; id: number; memoryBytes: number; cpus: number; names: string[] }
  /** Asks for memory that can be given back at any time; it is granted at once or refused. */
  | { type: "spare"; id: number; memoryBytes: number }
  /** What was reserved serves one clone, run by the process `pid`. */
  | { type: "clone"; id: number; pid: number }
  /** Gives them back, or does not want them any more. */
  | { type: "release"; id: number }
  | { type: "listed"; tests: ListedTest[]; note?: string }
  | { type: "done"; result: ChildResult };

/** How a file ended, as its process sees it. */
export interface ChildResult {
  status: FileStatus;
  class?: FailureClass;
  reason?: string;
  error?: ErrorInfo;
}

/** What is put on both outputs of a file's process where another test's output begins, or nobody's. */
export function markLine(mark: string, n: number, test: string | undefined): string {
  return `\x1e${mark}:${n}:${
    test === undefined ? "" : encodeURIComponent(test.toWellFormed())
  }\x1e\n`;
}

/** Finds a mark in a line; `before` is what was written on that line before it. */
export function readMark(
  mark: string,
  line: string,
): { before: string; n: number; test: string | undefined } | undefined {
  const start = line.indexOf(`\x1e${mark}:`);
  if (start < 0) return undefined;
  const [content = ""] = line.slice(start + mark.length + 2).split("\x1e", 1);
  const [n = "", test = ""] = content.split(":");
  return {
    before: line.slice(0, start),
    n: Number(n),
    test: test === "" ? undefined : decodeURIComponent(test),
  };
}
