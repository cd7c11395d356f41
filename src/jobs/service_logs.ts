import { emitEvent } from "../scope/mod.ts";
import type { BaseJob } from "./base_job.ts";
import { lastLines } from "./_text.ts";

/** Characters of an unfinished line after which it is shown all the same. */
const MAX_LINE = 64 * 1024;

/** The last lines of both outputs of a job, errors last. */
export function logTail(job: BaseJob, lines: number): string {
  return [job.stdout, job.stderr].map((buffer) => lastLines(buffer.text(), lines))
    .filter((text) => text !== "").join("\n");
}

/** Everything that is retained of a job's output: the beginning, a mark for what is missing, the end. */
export function wholeLog(job: BaseJob): string {
  return [job.stdout, job.stderr].map((buffer) => {
    const { totalWritten, currentSize } = buffer.stats();
    const head = buffer.head();
    const missing = totalWritten - currentSize - head.length;
    if (missing <= 0) {
      const before = head.subarray(0, Math.max(0, totalWritten - currentSize));
      return `${new TextDecoder().decode(before)}${buffer.text()}`;
    }
    return `${new TextDecoder().decode(head)}\n[… ${missing} bytes left out …]\n${buffer.text()}`;
  }).filter((text) => text !== "").join("\n");
}

/** Shows the output of a service as it comes, line by line; it is not shown again later. */
export function forwardLogs(service: string, job: BaseJob): void {
  shown.add(job);
  for (const buffer of [job.stdout, job.stderr]) {
    const decoder = new TextDecoder();
    let line = "";
    buffer.tap((chunk) => {
      const text = line + (chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode());
      const end = chunk && text.length < MAX_LINE ? text.lastIndexOf("\n") + 1 : text.length;
      line = text.slice(end);
      if (end > 0) emitEvent("service_log", { service, text: text.slice(0, end) });
    });
  }
}

/** Shows the output of a service under its name. */
export function showLogs(service: string, job: BaseJob): void {
  if (shown.has(job)) return;
  shown.add(job);
  emitEvent("service_log", { service, text: wholeLog(job) });
}

const shown = new WeakSet<BaseJob>();
