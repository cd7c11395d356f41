import {
  type BelljarEvent,
  type FileFinished,
  isKind,
  type Log,
  type TestFinished,
} from "./events.ts";
import { escapeControl, escapeLine } from "./escape.ts";
import {
  closedLine,
  duration,
  type FailureStyle,
  renderFailure,
  renderFileFailure,
  testTitle,
} from "./render_failure.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";
import { makeStyle, type Style } from "./style.ts";
import { renderSummary } from "./summary.ts";
import { isOwnFailure, Tally } from "./tally.ts";

/** One line per test and all about failures; nothing that needs a cursor. */
export class PlainReporter implements Reporter {
  #out: ReporterOutput;
  #style: Style;
  #view: FailureStyle;
  #tally = new Tally();

  constructor(out: ReporterOutput) {
    this.#out = out;
    this.#style = makeStyle(out.color);
    this.#view = { style: this.#style, cwd: out.cwd, command: out.command };
  }

  event(event: BelljarEvent): void {
    const output = isKind(event, "test_finished")
      ? this.#tally.outputOf(event.file, event.test)
      : isKind(event, "file_finished")
      ? this.#tally.outputOf(event.file)
      : [];
    this.#tally.add(event);
    if (isKind(event, "run_started")) {
      if (this.#out.quiet) return;
      const versions = Object.entries(event.versions).map(([name, version]) =>
        `${name} ${version}`
      );
      const files = `${event.files} file${event.files === 1 ? "" : "s"}`;
      this.#line(this.#style.dim(`${versions.join(", ")}; ${files}, seed ${event.seed}`));
    } else if (isKind(event, "test_finished")) this.#test(event, output);
    else if (isKind(event, "file_finished")) this.#file(event, output);
    else if (isKind(event, "warning")) {
      const next = event.next ? ` (${event.next})` : "";
      this.#line(`${this.#style.yellow("warning")} ${escapeLine(`${event.message}${next}`)}`);
    } else if (isKind(event, "log") && this.#out.verbose) this.#log(event);
    else if (isKind(event, "run_finished")) {
      this.#again();
      this.#line(renderSummary(event, this.#style));
    }
  }

  #test(event: TestFinished, output: Log[]): void {
    const { style } = this.#view;
    const title = testTitle(event);
    const time = style.dim(`(${duration(event.durationMs)})`);
    if (event.status === "failed" && !event.willRetry) {
      for (const line of renderFailure(event, output, this.#view)) this.#line(line);
      return;
    }
    if (this.#out.quiet) return;
    if (event.willRetry) {
      const first = escapeLine(event.error?.message.split("\n")[0] ?? "");
      this.#line(`${style.yellow("retry  ")} ${title} ${time} ${first}`);
    } else if (event.status === "skipped") {
      this.#line(`${style.yellow("skipped")} ${title}: ${escapeLine(event.reason ?? "")}`);
    } else if (event.status === "flaky") {
      this.#line(`${style.yellow("flaky  ")} ${title} ${time} passed on attempt ${event.attempt}`);
    } else this.#line(`${style.green("ok     ")} ${title} ${time}`);
    for (const one of (event.closed ?? []).filter(({ leaked }) => leaked)) {
      const line = escapeLine(closedLine(one, this.#out.cwd));
      this.#line(style.dim(`        closed for you: ${line}`));
    }
  }

  #file(event: FileFinished, output: Log[]): void {
    if (!isOwnFailure(event)) return;
    for (const line of renderFileFailure(event, output, this.#view)) this.#line(line);
  }

  #log(event: Log): void {
    const text = escapeControl(event.text.replace(/\n$/, ""));
    for (const line of text.split("\n")) {
      this.#line(
        `        ${this.#style.dim(`${escapeLine(event.service ?? event.stream)}|`)} ${line}`,
      );
    }
  }

  /** The names of what failed once more, where the details are far above. */
  #again(): void {
    const { failures, failedFiles } = this.#tally;
    if (failures.length + failedFiles.length < 2) return;
    this.#line("");
    for (const { event } of failures) {
      const first = escapeLine(event.error?.message.split("\n")[0] ?? "");
      this.#line(`${this.#style.red("FAILED ")} ${testTitle(event)}: ${first}`);
    }
    for (const { file, reason, status } of failedFiles) {
      this.#line(
        `${this.#style.red("FAILED ")} ${escapeLine(file)}: ${escapeLine(reason ?? status)}`,
      );
    }
  }

  #line(line: string): void {
    this.#out.write(`${line}\n`);
  }
}
