import { type BelljarEvent, type FileFinished, isKind, type TestFinished } from "./events.ts";
import { escapeLine } from "./escape.ts";
import { failureBody, fileFailureBody, testTitle } from "./render_failure.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";
import { makeStyle } from "./style.ts";
import { isOwnFailure } from "./tally.ts";

/**
 * The Test Anything Protocol. What is written is the same in versions 13 and 14; it says 13, because the `prove` of Debian 12
 * refuses to read what says 14.
 */
export class TapReporter implements Reporter {
  #out: ReporterOutput;
  #count = 0;
  #begun = false;

  constructor(out: ReporterOutput) {
    this.#out = out;
  }

  event(event: BelljarEvent): void {
    if (isKind(event, "test_finished") && !event.willRetry) this.#test(event);
    else if (isKind(event, "file_finished") && isOwnFailure(event)) this.#file(event);
    else if (isKind(event, "run_finished") && event.status === "interrupted") {
      this.#line("Bail out! interrupted");
    }
  }

  end(): void {
    this.#line(`1..${this.#count}`);
  }

  #test(event: TestFinished): void {
    const title = description(testTitle(event));
    const word = event.status === "failed" ? "not ok" : "ok";
    const skip = event.status === "skipped" ? ` # SKIP ${escapeLine(event.reason ?? "")}` : "";
    const flaky = event.status === "flaky" ? ` (passed on attempt ${event.attempt})` : "";
    this.#line(`${word} ${++this.#count} - ${title}${flaky}${skip}`);
    if (event.status === "failed") {
      const view = { style: makeStyle(false), cwd: this.#out.cwd, command: this.#out.command };
      this.#diagnostics(
        { class: event.class ?? "test", duration_ms: event.durationMs },
        failureBody(event, [], view),
      );
    }
  }

  #file(event: FileFinished): void {
    this.#line(`not ok ${++this.#count} - ${description(`${escapeLine(event.file)} > (file)`)}`);
    const view = { style: makeStyle(false), cwd: this.#out.cwd, command: this.#out.command };
    this.#diagnostics(
      { class: event.class ?? "test", status: event.status },
      fileFailureBody(event, [], view),
    );
  }

  /** Facts as the protocol's YAML, the rest as comments: readers differ in how much YAML they take. */
  #diagnostics(facts: Record<string, string | number>, details: string[]): void {
    this.#line("  ---");
    for (const [key, value] of Object.entries(facts)) this.#line(`  ${key}: ${value}`);
    this.#line("  ...");
    for (const line of details) this.#line(`# ${line}`);
  }

  #line(line: string): void {
    if (!this.#begun) {
      this.#begun = true;
      this.#out.write("TAP version 13\n");
    }
    this.#out.write(`${line.trimEnd()}\n`);
  }
}

/** In a description `#` begins a directive. */
function description(text: string): string {
  return text.replace(/[\\#]/g, "\\$&");
}
