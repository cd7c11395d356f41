import type { TestOutcome } from "../dsl/mod.ts";
import { escapeLine } from "../report/escape.ts";
import { formatSite } from "../scope/mod.ts";
import { formatSeconds } from "../values/mod.ts";

/** What an outcome's error does not say: operations, and what was closed. Empty if there is nothing. */
export function failureNotes(outcome: TestOutcome): string {
  const { closed, status } = outcome;
  const { inProgress, history } = status === "failed" ? outcome : { inProgress: [], history: [] };
  const lines: string[] = [];
  const now = performance.now();
  for (const { op, vm, startMs } of inProgress) {
    lines.push(`in progress: ${where(vm)}${op}, for ${formatSeconds((now - startMs) / 1000)}`);
  }
  for (const { op, vm, durationMs = 0, ok } of history.slice(-5)) {
    lines.push(
      `before: ${where(vm)}${op}, ${ok ? "took" : "failed after"} ${
        formatSeconds(durationMs / 1000)
      }`,
    );
  }
  for (const { kind, name, site, leaked } of closed) {
    if (leaked) lines.push(`closed for you: ${kind} ${name}, created at ${formatSite(site)}`);
  }
  return lines.map(escapeLine).join("\n");
}

function where(vm: string | undefined): string {
  return vm === undefined ? "" : `machine "${vm}": `;
}
