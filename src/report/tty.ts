import { cutToWidth } from "./_width.ts";
import { type BelljarEvent, type FileFinished, isKind, type TestFinished } from "./events.ts";
import { escapeLine } from "./escape.ts";
import {
  closedLine,
  duration,
  renderFailure,
  renderFileFailure,
  testTitle,
} from "./render_failure.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";
import { makeStyle, type Style } from "./style.ts";
import { renderSummary } from "./summary.ts";
import { isOwnFailure, Tally } from "./tally.ts";

/** Time between two pictures, in milliseconds. */
const FRAME_MS = 100;
const BAR_WIDTH = 24;
/** Most lines of running files; more are counted. */
const MAX_LIVE = 12;

interface LiveFile {
  file: string;
  startedAt: number;
  /** Tests that run, with the time of their start. */
  tests: Map<string, number>;
  machines: Set<string>;
  done: number;
  total: number | undefined;
}

/** What happens now, on a few lines that are drawn again; what failed above them, at once. */
export class TtyReporter implements Reporter {
  #out: ReporterOutput;
  #style: Style;
  #tally = new Tally();
  #live = new Map<string, LiveFile>();
  #estimates = new Map<string, number | undefined>();
  #jobs = 1;
  #startedAt = Date.now();
  #drawn = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(out: ReporterOutput) {
    this.#out = out;
    this.#style = makeStyle(out.color);
  }

  event(event: BelljarEvent): void {
    const output = isKind(event, "test_finished")
      ? this.#tally.outputOf(event.file, event.test)
      : isKind(event, "file_finished")
      ? this.#tally.outputOf(event.file)
      : [];
    this.#tally.add(event);
    if (isKind(event, "run_started")) {
      this.#startedAt = event.ts;
      this.#jobs = event.budget.jobs;
      this.#timer = setInterval(() => this.#draw(), FRAME_MS);
      // The picture alone must not keep the process alive.
      Deno.unrefTimer(this.#timer as unknown as number);
      if (!this.#out.quiet) {
        const versions = Object.entries(event.versions).map(([name, version]) =>
          `${name} ${version}`
        );
        this.#print([this.#style.dim(`${versions.join(", ")}; seed ${event.seed}`)]);
      }
    } else if (isKind(event, "file_discovered")) this.#estimates.set(event.file, event.estimateMs);
    else if (isKind(event, "file_started")) {
      const { file, ts } = event;
      const live = {
        file,
        startedAt: ts,
        tests: new Map(),
        machines: new Set<string>(),
        done: 0,
        total: undefined,
      };
      this.#live.set(file, live);
    } else if (isKind(event, "file_loaded")) {
      this.#on(event.file, (live) => live.total = event.tests.length);
    } else if (isKind(event, "test_started")) {
      this.#on(event.file, (live) => live.tests.set(event.test, event.ts));
    } else if (isKind(event, "vm_started")) {
      this.#on(event.file, (live) => live.machines.add(event.vm));
    } else if (isKind(event, "vm_stopped")) {
      this.#on(event.file, (live) => live.machines.delete(event.vm));
    } else if (isKind(event, "test_finished")) this.#test(event, output);
    else if (isKind(event, "file_finished")) this.#file(event, output);
    else if (isKind(event, "warning")) {
      const next = event.next ? ` (${event.next})` : "";
      this.#print([`${this.#style.yellow("warning")} ${escapeLine(`${event.message}${next}`)}`]);
    } else if (isKind(event, "run_finished")) {
      this.#stop();
      this.#again();
      this.#print([renderSummary(event, this.#style)]);
    }
  }

  end(): void {
    this.#stop();
  }

  #on(file: string | undefined, change: (live: LiveFile) => void): void {
    const live = file === undefined ? undefined : this.#live.get(file);
    if (live) change(live);
  }

  #test(event: TestFinished, output: Parameters<typeof renderFailure>[1]): void {
    this.#on(event.file, (live) => {
      live.tests.delete(event.test);
      if (!event.willRetry) live.done++;
    });
    const { style } = this;
    if (event.willRetry) {
      const first = escapeLine(event.error?.message.split("\n")[0] ?? "");
      this.#print([`${style.yellow("retry")} ${testTitle(event)}: ${first}`]);
    } else if (event.status === "failed") this.#print(renderFailure(event, output, this.#view()));
    else if (event.status === "flaky") {
      this.#print([
        `${style.yellow("flaky")} ${testTitle(event)}: passed on attempt ${event.attempt}`,
      ]);
    } else if (this.#out.verbose && event.status === "passed") {
      this.#print([
        `${style.green("ok")} ${testTitle(event)} ${style.dim(`(${duration(event.durationMs)})`)}`,
      ]);
    } else if (this.#out.verbose) {
      this.#print([
        `${style.yellow("skipped")} ${testTitle(event)}: ${escapeLine(event.reason ?? "")}`,
      ]);
    }
    const left = (event.closed ?? []).filter(({ leaked }) => leaked);
    if (event.status !== "failed" && left.length > 0) {
      const names = left.map((one) => `  ${closedLine(one, this.#out.cwd)}`);
      this.#print([
        style.dim(`closed for ${testTitle(event)}:`),
        ...names.map(escapeLine).map(style.dim),
      ]);
    }
  }

  #file(event: FileFinished, output: Parameters<typeof renderFileFailure>[1]): void {
    const live = this.#live.get(event.file);
    this.#live.delete(event.file);
    this.#estimates.delete(event.file);
    const { style } = this;
    if (isOwnFailure(event)) return this.#print(renderFileFailure(event, output, this.#view()));
    if (this.#out.quiet) return;
    const words: Record<string, string> = {
      passed: style.green("ok"),
      failed: style.red("failed"),
      skipped: style.yellow("skipped"),
    };
    const tests = `${live?.done ?? 0} test${live?.done === 1 ? "" : "s"}`;
    const word = words[event.status] ?? style.yellow(event.status);
    this.#print([
      `${word} ${escapeLine(event.file)} ${style.dim(`${tests}, ${duration(event.durationMs)}`)}`,
    ]);
  }

  /** The names of what failed once more, where the details may have scrolled away. */
  #again(): void {
    const { failures, failedFiles } = this.#tally;
    if (failures.length + failedFiles.length < 2) return;
    const lines = [
      ...failures.map(({ event }) => {
        const first = escapeLine(event.error?.message.split("\n")[0] ?? "");
        return `${this.#style.red("FAILED")} ${testTitle(event)}: ${first}`;
      }),
      ...failedFiles.map(({ file, reason, status }) =>
        `${this.#style.red("FAILED")} ${escapeLine(file)}: ${escapeLine(reason ?? status)}`
      ),
    ];
    this.#print(["", ...lines]);
  }

  get style(): Style {
    return this.#style;
  }

  #view(): { style: Style; cwd: string; command: string | undefined } {
    return { style: this.#style, cwd: this.#out.cwd, command: this.#out.command };
  }

  #print(lines: string[]): void {
    this.#out.write(`${this.#erase()}${lines.join("\n")}\n`);
    this.#draw();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#out.write(this.#erase());
  }

  /** Back to where the live lines begin, and all below is gone. */
  #erase(): string {
    // A terminal echoes what is typed meanwhile, such as ^C: the cursor may not be in the first column.
    const up = this.#drawn > 0 ? `\r\x1b[${this.#drawn}A\x1b[J` : "";
    this.#drawn = 0;
    return up;
  }

  #draw(): void {
    if (this.#timer === undefined) return;
    const lines = this.#lines(Date.now());
    this.#out.write(`${this.#erase()}${lines.map((line) => `${line}\n`).join("")}`);
    this.#drawn = lines.length;
  }

  #lines(now: number): string[] {
    // One column less: a full line would wrap in some terminals, and the erasing would miss it.
    const columns = Math.max(20, this.#out.columns - 1);
    const files = [...this.#live.values()];
    const lines = files.slice(0, MAX_LIVE).map((live) => cutToWidth(fileLine(live, now), columns));
    if (files.length > MAX_LIVE) lines.push(`  and ${files.length - MAX_LIVE} more files`);
    return [...lines.map(this.#style.cyan), this.#progress(now, columns)];
  }

  #progress(now: number, columns: number): string {
    const { counts } = this.#tally;
    const total = counts.files + this.#estimates.size;
    const share = this.#share(now);
    const filled = Math.round(share * BAR_WIDTH);
    const bar = `${"█".repeat(filled)}${"░".repeat(BAR_WIDTH - filled)}`;
    const left = this.#leftMs(now);
    const parts = [`${counts.files}/${total} files`, `${counts.passed + counts.flaky} passed`];
    if (counts.failed > 0) parts.push(`${counts.failed} failed`);
    if (counts.skipped > 0) parts.push(`${counts.skipped} skipped`);
    parts.push(duration(now - this.#startedAt));
    if (left !== undefined) parts.push(`about ${duration(left)} left`);
    const text = cutToWidth(` ${parts.join(", ")}`, Math.max(1, columns - BAR_WIDTH));
    return `${(counts.failed > 0 ? this.#style.red : this.#style.green)(bar)}${text}`;
  }

  #share(now: number): number {
    const total = this.#tally.counts.files + this.#estimates.size;
    if (total === 0) return 0;
    let done = this.#tally.counts.files;
    for (const live of this.#live.values()) {
      const estimate = this.#estimates.get(live.file);
      if (estimate) done += Math.min(0.95, (now - live.startedAt) / estimate);
      else if (live.total) done += Math.min(0.95, live.done / live.total);
    }
    return Math.min(1, done / total);
  }

  /** From the times of earlier runs; nothing where most files have none. */
  #leftMs(now: number): number | undefined {
    const known = [...this.#estimates.values()].filter((ms) => ms !== undefined);
    if (known.length === 0 || known.length < this.#estimates.size / 2) return undefined;
    const average = known.reduce((sum, ms) => sum + ms, 0) / known.length;
    let left = 0;
    let longest = 0;
    for (const [file, estimate = average] of this.#estimates) {
      const live = this.#live.get(file);
      const rest = Math.max(0, estimate - (live ? now - live.startedAt : 0));
      left += rest;
      longest = Math.max(longest, rest);
    }
    return Math.max(longest, left / this.#jobs);
  }
}

function fileLine(live: LiveFile, now: number): string {
  const { file, tests, machines, startedAt, done, total } = live;
  const count = total === undefined ? "" : ` ${done}/${total}`;
  const [test] = tests;
  const what = test ? `> ${escapeLine(test[0])} ` : total === undefined ? "loading " : "";
  const time = duration(now - (test?.[1] ?? startedAt));
  const vms = machines.size > 0 ? ` [${[...machines].map(escapeLine).join(", ")}]` : "";
  return `  ${escapeLine(file)}${count} ${what}${time}${vms}`;
}
