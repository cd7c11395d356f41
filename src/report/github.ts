import {
  type BelljarEvent,
  isKind,
  type Place,
  type RunFinished,
  type TestFinished,
} from "./events.ts";
import { escapeControl, escapeLine } from "./escape.ts";
import { PlainReporter } from "./plain.ts";
import { duration, failureBody } from "./render_failure.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";
import { makeStyle } from "./style.ts";
import { isOwnFailure, Tally } from "./tally.ts";

/** GitHub shows ten annotations of a kind per step. */
const MAX_ANNOTATIONS = 10;
/** A step's summary may have 1 MiB. */
const MAX_SUMMARY = 900_000;

/** The plain report, with annotations at the authors' lines and a summary of the step. */
export class GithubReporter implements Reporter {
  #out: ReporterOutput;
  #plain: PlainReporter;
  #tally = new Tally();
  #finished: RunFinished | undefined;
  #summaryPath: string | undefined;

  constructor(
    out: ReporterOutput,
    summaryPath: string | undefined = Deno.env.get("GITHUB_STEP_SUMMARY"),
  ) {
    this.#out = out;
    this.#plain = new PlainReporter(out);
    this.#summaryPath = summaryPath || undefined;
  }

  event(event: BelljarEvent): void {
    this.#tally.add(event);
    this.#plain.event(event);
    if (isKind(event, "run_finished")) this.#finished = event;
  }

  end(): void {
    const { failures, failedFiles } = this.#tally;
    const lines: string[] = [];
    for (const { event } of failures) {
      const place = event.error?.frames?.[0] ?? event.place;
      lines.push(this.#annotation(`${event.test}`, event.error?.message ?? "failed", place));
    }
    for (const event of failedFiles.filter(isOwnFailure)) {
      const place = event.error?.frames?.[0] ?? { file: event.file, line: 1, column: 1 };
      lines.push(
        this.#annotation(event.file, event.error?.message ?? event.reason ?? event.status, place),
      );
    }
    for (const line of lines.slice(0, MAX_ANNOTATIONS)) this.#out.write(`${line}\n`);
    if (this.#summaryPath !== undefined) {
      Deno.writeTextFileSync(this.#summaryPath, this.#summary(), { append: true, create: true });
    }
  }

  #annotation(title: string, message: string, place: Place | undefined): string {
    const facts: Record<string, string> = { title };
    if (place) {
      const { cwd } = this.#out;
      facts.file = place.file.startsWith(`${cwd}/`) ? place.file.slice(cwd.length + 1) : place.file;
      facts.line = String(place.line);
      facts.col = String(place.column);
    }
    const text = Object.entries(facts).map(([key, value]) =>
      `${key}=${property(escapeLine(value))}`
    ).join(",");
    return `::error ${text}::${data(escapeControl(message))}`;
  }

  #summary(): string {
    const { counts, failures, failedFiles } = this.#tally;
    const word = this.#finished?.status ?? "unfinished";
    const time = this.#finished ? ` in ${duration(this.#finished.durationMs)}` : "";
    const lines = [
      `### belljar: ${word}${time}`,
      "",
      "| passed | failed | flaky | skipped | files |",
      "| ---: | ---: | ---: | ---: | ---: |",
      `| ${counts.passed} | ${counts.failed} | ${counts.flaky} | ${counts.skipped} | ${counts.files} |`,
      "",
    ];
    for (const { file, reason, status } of failedFiles) {
      lines.push(`- ${markdown(file)}: ${markdown(reason ?? status)}`);
    }
    for (const { event, output } of failures) lines.push(...this.#details(event, output));
    const text = lines.join("\n");
    return `${text.slice(0, MAX_SUMMARY)}\n`;
  }

  #details(event: TestFinished, output: Parameters<typeof failureBody>[1]): string[] {
    const view = { style: makeStyle(false), cwd: this.#out.cwd, command: this.#out.command };
    const text = failureBody(event, output, view).join("\n");
    return [
      `<details><summary>${markdown(`${event.file} > ${event.test}`)}</summary>`,
      "",
      `<pre>${html(text)}</pre>`,
      "",
      "</details>",
      "",
    ];
  }
}

function data(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function property(text: string): string {
  return data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}

function html(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Text that means nothing but itself in Markdown: GitHub would also link `@name` and `#1`. */
function markdown(text: string): string {
  return html(escapeLine(text)).replace(
    /[\\`*_{}[\]()#+.!|~@-]/g,
    (sign) => `&#${sign.charCodeAt(0)};`,
  );
}
