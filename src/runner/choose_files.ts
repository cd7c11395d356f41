import { shuffled } from "../dsl/mod.ts";
import type { TestFile } from "./discover.ts";
import type { FileRecord, History } from "./history.ts";
import { type Shard, takeShard } from "./shard.ts";

/** Which files of a run are run, and in which order. */
export interface ChooseFilesOptions {
  files: readonly TestFile[];
  shard?: Shard;
  /** How long files took, in milliseconds; the same on all nodes of a sharded run. */
  timings?: Record<string, number>;
  rerunFailed?: boolean;
  shuffle?: boolean;
}

/** The files of a run in the order in which they start: the longest first, so that none of them is left to run alone. */
export function chooseFiles(
  options: ChooseFilesOptions,
  history: History,
  seed: number,
): TestFile[] {
  const { files, rerunFailed, shard, shuffle, timings = {} } = options;
  const given = ({ file }: TestFile) => Object.hasOwn(timings, file) ? timings[file] : undefined;
  const estimate = (file: TestFile) => given(file) ?? history.files[file.file]?.durationMs;
  let chosen = [...files];
  // What this host recorded plays no part: every node has to divide the files alike.
  if (shard) chosen = takeShard(chosen, shard, given);
  if (rerunFailed) chosen = chosen.filter(({ file }) => isFailed(history.files[file]));
  if (shuffle) return shuffled(chosen.sort(byName), seed);
  const known = chosen.map(estimate).filter((ms) => ms !== undefined).sort((a, b) => a - b);
  const median = known[Math.floor(known.length / 2)] ?? 0;
  return chosen.map((file, index) => ({ file, index, ms: estimate(file) ?? median }))
    .sort((a, b) => b.ms - a.ms || a.index - b.index)
    .map(({ file }) => file);
}

function isFailed(record: FileRecord | undefined): boolean {
  return record !== undefined && (record.failed.length > 0 || record.broken === true);
}

function byName(a: TestFile, b: TestFile): number {
  return a.file < b.file ? -1 : 1;
}
