import type { RunCounts, RunFinished } from "./events.ts";
import { duration } from "./render_failure.ts";
import type { Style } from "./style.ts";

/** `12 passed, 1 failed, 2 skipped`. */
export function renderCounts(counts: RunCounts, style: Style): string {
  const { passed, failed, skipped, flaky, failedFiles } = counts;
  const parts = [style.green(`${passed} passed`)];
  if (failed > 0) parts.push(style.red(`${failed} failed`));
  if (flaky > 0) parts.push(style.yellow(`${flaky} flaky`));
  if (skipped > 0) parts.push(style.yellow(`${skipped} skipped`));
  if (failedFiles > 0) {
    parts.push(style.red(`${failedFiles} file${failedFiles === 1 ? "" : "s"} failed`));
  }
  return parts.join(", ");
}

const WORDS: Record<RunFinished["status"], string> = {
  passed: "PASSED",
  failed: "FAILED",
  error: "ERROR",
  interrupted: "INTERRUPTED",
};

/** The last line of a run. */
export function renderSummary(event: RunFinished, style: Style): string {
  const word = WORDS[event.status] ?? event.status;
  const color = event.status === "passed" ? style.green : style.red;
  const files = `${event.counts.files} file${event.counts.files === 1 ? "" : "s"}`;
  return `${color(style.bold(word))} ${renderCounts(event.counts, style)} in ${files}, ${
    duration(event.durationMs)
  }`;
}
