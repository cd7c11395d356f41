import { join } from "node:path";
import type { RunFileOptions } from "../dsl/mod.ts";
import { cacheDir } from "../host/mod.ts";
import type { TestFile } from "./discover.ts";
import type { FileRecord } from "./history.ts";
import { machineEnvironment } from "./machine_defaults.ts";
import type { StartMessage } from "./protocol.ts";

/** What the processes of all files of a run are told. */
export interface StartOptions {
  file: Omit<RunFileOptions, "interrupt" | "unmet">;
  strict?: boolean;
  artifacts?: string;
  rerunFailed?: boolean;
  bail?: number;
  shuffle?: boolean;
}

/** What the process of one file is told beside. */
export interface StartParts {
  file: TestFile;
  /** What earlier runs showed about it. */
  record: FileRecord | undefined;
  /** Identifier, folder and seed of the run. */
  run: string;
  dir: string;
  seed: number;
  /** Whether to name the tests instead of running them. */
  list?: boolean;
  /** Number of the attempt, and the tests that the one before left undone. */
  attempt?: number;
  names?: readonly string[];
}

/** The first message to the process of a file. */
export async function startMessage(
  options: StartOptions,
  parts: StartParts,
): Promise<StartMessage> {
  const { strict = false, artifacts, rerunFailed, bail, shuffle } = options;
  const { file, record, run, dir, seed, list = false, attempt = 1 } = parts;
  const failed = rerunFailed && record && !record.broken ? record.failed : undefined;
  const names = parts.names ?? failed;
  return {
    type: "start",
    path: file.path,
    file: file.file,
    run,
    seed,
    attempt,
    mark: crypto.randomUUID(),
    list,
    environment: machineEnvironment(),
    strict,
    ...artifacts !== undefined && { artifacts },
    options: {
      ...options.file,
      ...names && { selection: { ...options.file.selection, names: [...names] } },
      ...bail !== undefined && { maxFailures: bail },
      ...shuffle && { shuffleSeed: seed },
    },
    stage: { dir: join(dir, "stage"), cacheDir: join(await cacheDir(), "stage") },
  };
}
