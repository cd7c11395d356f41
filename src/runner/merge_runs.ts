import {
  type BelljarEvent,
  isKind,
  type RunCounts,
  type RunFinished,
  type RunStatus,
} from "../report/events.ts";
import { Tally } from "../report/tally.ts";

/** Which end of a part counts for the whole, worst first. */
const WORST: readonly RunStatus[] = ["interrupted", "failed", "error", "passed"];

/**
 * Makes one stream of several: of the shards of a run, or of one run alone, which stays as it is. Events are ordered by time;
 * the counts are made anew.
 */
export function mergeRuns(streams: readonly BelljarEvent[][]): BelljarEvent[] {
  if (streams.length === 1) return streams[0]!;
  const all = streams.flat().sort((a, b) => a.ts - b.ts);
  const starts = all.filter((event) => isKind(event, "run_started"));
  const ends = all.filter((event) => isKind(event, "run_finished"));
  const middle = all.filter((event) =>
    !isKind(event, "run_started") && !isKind(event, "run_finished")
  );
  const merged: BelljarEvent[] = [];
  const [first] = starts;
  if (first) {
    const { shard: _, ...rest } = first;
    merged.push({ ...rest, files: starts.reduce((sum, { files }) => sum + files, 0) });
  }
  merged.push(...middle);
  // A part whose end is missing was killed: then the whole has no end either.
  if (ends.length === streams.length) merged.push(endOf(ends, middle));
  return merged;
}

function endOf(ends: readonly RunFinished[], middle: readonly BelljarEvent[]): RunFinished {
  const last = ends.at(-1)!;
  const worst = ends.reduce((a, b) => WORST.indexOf(b.status) < WORST.indexOf(a.status) ? b : a);
  return {
    ...last,
    status: worst.status,
    exitCode: worst.exitCode,
    durationMs: Math.max(...ends.map(({ durationMs }) => durationMs)),
    counts: countsOf(middle),
  };
}

function countsOf(events: readonly BelljarEvent[]): RunCounts {
  const tally = new Tally();
  for (const event of events) tally.add(event);
  return { ...tally.counts };
}
