import { type BelljarEvent, isKind, type TestStatus } from "./events.ts";
import { renderFailure, renderFileFailure } from "./render_failure.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";
import { makeStyle, type Style } from "./style.ts";
import { renderSummary } from "./summary.ts";
import { Tally } from "./tally.ts";

/** One sign per test; failures and counts at the end. */
export class DotReporter implements Reporter {
  #out: ReporterOutput;
  #style: Style;
  #tally = new Tally();
  #column = 0;

  constructor(out: ReporterOutput) {
    this.#out = out;
    this.#style = makeStyle(out.color);
  }

  event(event: BelljarEvent): void {
    this.#tally.add(event);
    if (isKind(event, "test_finished") && !event.willRetry) this.#sign(event.status);
    else if (isKind(event, "run_finished")) {
      if (this.#column > 0) this.#out.write("\n");
      const { cwd, command } = this.#out;
      const view = { style: this.#style, cwd, command };
      const blocks = [
        ...this.#tally.failures.map(({ event, output }) => renderFailure(event, output, view)),
        ...this.#tally.failedFiles.map((file) =>
          renderFileFailure(file, this.#tally.outputOf(file.file), view)
        ),
      ];
      for (const lines of blocks) this.#out.write(`${lines.join("\n")}\n`);
      this.#out.write(`${renderSummary(event, this.#style)}\n`);
    }
  }

  #sign(status: TestStatus): void {
    const { red, yellow } = this.#style;
    const signs: Record<TestStatus, string> = {
      passed: ".",
      failed: red("F"),
      skipped: yellow("s"),
      flaky: yellow("f"),
    };
    this.#out.write(signs[status] ?? "?");
    if (++this.#column >= this.#out.columns) {
      this.#out.write("\n");
      this.#column = 0;
    }
  }
}
