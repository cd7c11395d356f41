import { type BelljarEvent, isKind, type RunFinished } from "./events.ts";
import { escapeLine } from "./escape.ts";
import { renderCounts } from "./summary.ts";
import { duration, showPlace, testTitle } from "./render_failure.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";
import { makeStyle } from "./style.ts";
import { Tally } from "./tally.ts";

/** Most characters of a digest. */
const MAX_LENGTH = 2_000;
const MAX_LINE = 220;
/** Kept free for the line that counts what did not fit. */
const RESERVE = 40;

/** Counts and first lines of failures in less than 2,000 characters, for logs and bots. */
export class DigestReporter implements Reporter {
  #out: ReporterOutput;
  #tally = new Tally();
  #finished: RunFinished | undefined;

  constructor(out: ReporterOutput) {
    this.#out = out;
  }

  event(event: BelljarEvent): void {
    this.#tally.add(event);
    if (isKind(event, "run_finished")) this.#finished = event;
  }

  end(): void {
    const { counts, failures, failedFiles } = this.#tally;
    const status = this.#finished?.status ?? "unfinished";
    const time = this.#finished ? `, ${duration(this.#finished.durationMs)}` : "";
    let text = `belljar: ${status}: ${renderCounts(counts, makeStyle(false))}${time}\n`;
    const lines = [
      ...failedFiles.map(({ file, reason, status }) =>
        `- ${escapeLine(file)}: ${escapeLine(reason ?? status)}`
      ),
      ...failures.map(({ event }) => {
        const place = event.error?.frames?.[0] ?? event.place;
        const where = place ? ` (${showPlace(place, this.#out.cwd)})` : "";
        const first = escapeLine(event.error?.message.split("\n")[0] ?? "");
        return `- ${testTitle(event)}${where}: [${event.class ?? "test"}] ${first}`;
      }),
    ];
    for (const [index, line] of lines.entries()) {
      const shown = line.length > MAX_LINE ? `${line.slice(0, MAX_LINE - 3)}...` : line;
      if (text.length + shown.length + 1 > MAX_LENGTH - RESERVE) {
        text += `and ${lines.length - index} more failures\n`;
        break;
      }
      text += `${shown}\n`;
    }
    this.#out.write(text);
  }
}
