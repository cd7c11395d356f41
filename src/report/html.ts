import { APP } from "./_html_app.ts";
import { STYLE } from "./_html_style.ts";
import { stripColors } from "./error_info.ts";
import {
  type Attachment,
  type BelljarEvent,
  type ErrorInfo,
  type FileFinished,
  isKind,
  type MachineStart,
  type OpInfo,
  type RunFinished,
  type RunStarted,
  type TestFinished,
} from "./events.ts";
import { escapeControl, escapeXml } from "./escape.ts";
import { duration, rerunLine, showPlace } from "./render_failure.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";
import { makeStyle } from "./style.ts";
import { renderCounts } from "./summary.ts";
import { testKey } from "./tally.ts";

/** Most items of one lane, and most characters of one text: 1,000 tests have to stay below 5 MB. */
const MAX_ITEMS = 300;
const MAX_PASSED_ITEMS = 30;
const MAX_TEXT = 400;

interface Tick {
  at: number;
  text: string;
}

/** What the page shows of a test; times in milliseconds from its start. */
interface Page {
  id: number;
  file: string;
  name: string;
  status: string;
  class?: string;
  reason?: string;
  durationMs: number;
  attempt: number;
  tags: string[];
  meta: Record<string, unknown>;
  error?: ErrorInfo;
  errors?: ErrorInfo[];
  inProgress?: OpInfo[];
  machines?: MachineStart[];
  consoles?: TestFinished["consoles"];
  seed?: number;
  rerun: string;
  steps: { path: string[]; start: number; ms: number; status: string }[];
  ops: { op: string; vm?: string; start: number; ms: number; ok: boolean }[];
  machineTimes: { start: number; end: number; text: string }[];
  logs: (Tick & { stream: string })[];
  console: Tick[];
  faults: Tick[];
  closed: (Tick & { by: string; leaked: boolean })[];
  attachments: Pick<Attachment, "name" | "mediaType" | "size" | "text" | "path">[];
}

/** One file that shows a run in a browser: tests with search and filters, their errors, and what happened when. */
export class HtmlReporter implements Reporter {
  #out: ReporterOutput;
  #started: RunStarted | undefined;
  #finished: RunFinished | undefined;
  #files: FileFinished[] = [];
  #pages: Page[] = [];
  /** Events of tests that have not ended, by test. */
  #open = new Map<string, BelljarEvent[]>();

  constructor(out: ReporterOutput) {
    this.#out = out;
  }

  event(event: BelljarEvent): void {
    if (isKind(event, "run_started")) this.#started = event;
    else if (isKind(event, "run_finished")) this.#finished = event;
    else if (isKind(event, "file_finished")) this.#files.push(event);
    else if (isKind(event, "test_finished")) this.#test(event);
    else if ("file" in event && "test" in event) {
      const key = testKey(String(event.file), String(event.test));
      if (isKind(event, "test_started")) this.#open.set(key, []);
      const events = this.#open.get(key);
      if (events && events.length < 20 * MAX_ITEMS) events.push(event);
    }
  }

  end(): void {
    const { counts, status, durationMs } = this.#finished ?? {};
    const { versions = {}, seed, host } = this.#started ?? {};
    const data = {
      tests: this.#pages.sort(byOutcome).map((page, id) => ({ ...page, id })),
      files: this.#files.filter(({ reason, error }) => reason !== undefined || error !== undefined)
        .map(({ file, status, reason, error }) => ({
          file,
          status,
          reason,
          error: error && this.#error(error),
        })),
    };
    const facts = [
      ...Object.entries(versions).map(([name, version]) => `${name} ${version}`),
      ...host ? [`${host.cpus} cores, ${host.arch}`] : [],
      ...seed === undefined ? [] : [`seed ${seed}`],
      ...this.#started ? [new Date(this.#started.ts).toISOString()] : [],
    ];
    const title = `belljar: ${status ?? "unfinished"}`;
    const summary = counts
      ? `${renderCounts(counts, makeStyle(false))}, ${duration(durationMs ?? 0)}`
      : "the run did not end";
    this.#out.write(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escapeXml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header><h1>${escapeXml(title)}</h1><div>${escapeXml(summary)}</div><div class="dim">${
      escapeXml(facts.join(" · "))
    }</div></header>
<main><noscript>The report needs JavaScript, which is inside this file.</noscript></main>
<script type="application/json" id="data">${inScript(data)}</script>
<script>${APP}</script>
</body>
</html>
`);
  }

  #test(event: TestFinished): void {
    const key = testKey(event.file, event.test);
    const events = this.#open.get(key) ?? [];
    this.#open.delete(key);
    if (event.willRetry) return;
    const begin = events.find((one) => isKind(one, "test_started"))?.ts ??
      event.ts - event.durationMs;
    const limit = event.status === "passed" ? MAX_PASSED_ITEMS : MAX_ITEMS;
    const { tags } = event.meta;
    const page: Page = {
      id: 0,
      file: text(event.file),
      name: text(event.test),
      status: event.status,
      class: event.class,
      reason: event.reason && text(event.reason),
      durationMs: Math.round(event.durationMs),
      attempt: event.attempt,
      tags: (typeof tags === "string" ? [tags] : Array.isArray(tags) ? tags : []).map(String).map(
        text,
      ),
      meta: event.meta,
      error: event.error && this.#error(event.error),
      errors: event.errors?.map((error) => this.#error(error)),
      inProgress: event.inProgress?.map((op) => ({ ...op, op: text(op.op) })),
      machines: event.machines,
      consoles: event.consoles?.map((one) => ({ ...one, lines: one.lines.map(text) })),
      seed: event.seed,
      rerun: rerunLine(event.file, event.test, this.#out),
      ...timesOf(events, begin, limit, event.ts),
    };
    this.#pages.push(page);
  }

  /** Paths below the working directory without it, and nothing longer than it has to be. */
  #error(error: ErrorInfo): ErrorInfo {
    const { cwd } = this.#out;
    const { stack: _stack, frames, code, cause, errors, message, ...rest } = error;
    const place = <T extends { file: string }>(one: T): T => ({
      ...one,
      file: showPlace({ ...one, line: 0, column: 0 }, cwd).replace(/:0:0$/, ""),
    });
    return {
      ...rest,
      message: escapeControl(stripColors(message)).slice(0, 20 * MAX_TEXT),
      ...frames && { frames: frames.map(place) },
      ...code &&
        {
          code: place({
            ...code,
            lines: code.lines.map(({ n, text }) => ({ n, text: escapeControl(text) })),
          }),
        },
      ...cause && { cause: this.#error(cause) },
      ...errors && { errors: errors.map((inner) => this.#error(inner)) },
    };
  }
}

/** What happened during a test, in lanes. */
function timesOf(
  events: readonly BelljarEvent[],
  begin: number,
  limit: number,
  end: number,
): Pick<
  Page,
  "steps" | "ops" | "machineTimes" | "logs" | "console" | "faults" | "closed" | "attachments"
> {
  const at = (ts: number) => Math.round((ts - begin) * 10) / 10;
  const lanes: ReturnType<typeof timesOf> = {
    steps: [],
    ops: [],
    machineTimes: [],
    logs: [],
    console: [],
    faults: [],
    closed: [],
    attachments: [],
  };
  const put = <T>(lane: T[], item: T) => void (lane.length < limit && lane.push(item));
  const live = new Map<string, { start: number; text: string }>();
  for (const event of events) {
    if (isKind(event, "step_finished")) {
      const ms = Math.round(event.durationMs * 10) / 10;
      put(lanes.steps, {
        path: event.step.map(text),
        start: at(event.ts - event.durationMs),
        ms,
        status: event.status,
      });
    } else if (isKind(event, "op")) {
      const { op, vm, durationMs, ok } = event;
      put(lanes.ops, {
        op: text(op),
        vm,
        start: at(event.ts - durationMs),
        ms: Math.round(durationMs * 10) / 10,
        ok,
      });
    } else if (isKind(event, "log")) {
      for (const line of event.text.replace(/\n$/, "").split("\n")) {
        put(lanes.logs, {
          at: at(event.ts),
          stream: event.service ?? event.stream,
          text: text(line),
        });
      }
    } else if (isKind(event, "attachment")) {
      const { name, mediaType, size, path } = event;
      put(lanes.attachments, {
        name: text(name),
        mediaType,
        size,
        path,
        text: event.text?.slice(0, 50 * MAX_TEXT),
      });
    } else if (isKind(event, "resource_closed")) {
      const { resource, name, by, site, leaked = false } = event;
      put(lanes.closed, {
        at: at(event.ts),
        text: text(`${resource} ${name}, created at ${site}`),
        by,
        leaked,
      });
    } else if (isKind(event, "vm_started")) {
      const what = [event.how, event.transport, event.accel].filter((part) => part !== undefined)
        .join(", ");
      live.set(event.vm, { start: at(event.ts), text: text(`${event.vm}: ${what}`) });
    } else if (isKind(event, "vm_stopped")) {
      const started = live.get(event.vm);
      live.delete(event.vm);
      if (started) put(lanes.machineTimes, { ...started, end: at(event.ts) });
    } else if (isKind(event, "console") && event.text !== undefined) {
      put(lanes.console, { at: at(event.ts), text: text(event.text) });
    } else if (event.kind === "net_fault") {
      const { v: _v, ts: _ts, run: _run, kind: _kind, file: _file, test: _test, ...rest } =
        event as Record<string, unknown>;
      put(lanes.faults, { at: at(event.ts), text: text(JSON.stringify(rest)) });
    }
  }
  for (const machine of live.values()) put(lanes.machineTimes, { ...machine, end: at(end) });
  return lanes;
}

const ORDER = ["failed", "flaky", "passed", "skipped"];

/** What failed first. */
function byOutcome(a: Page, b: Page): number {
  return ORDER.indexOf(a.status) - ORDER.indexOf(b.status) ||
    (a.file < b.file ? -1 : a.file > b.file ? 1 : 0);
}

function text(value: string): string {
  return escapeControl(value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value);
}

/** JSON inside of a script: nothing in it can end the script or begin a comment, and no text steers a terminal or a line. */
function inScript(data: unknown): string {
  const json = JSON.stringify(
    data,
    (_, value) => typeof value === "string" ? escapeControl(value.toWellFormed()) : value,
  );
  return json.replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
