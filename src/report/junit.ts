import {
  type Attachment,
  type BelljarEvent,
  type ErrorInfo,
  type FileFinished,
  isKind,
  type Log,
  type TestFinished,
} from "./events.ts";
import { escapeXml } from "./escape.ts";
import { failureBody, fileFailureBody, renderError } from "./render_failure.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";
import { makeStyle } from "./style.ts";
import { isOwnFailure, testKey } from "./tally.ts";

interface Case {
  event: TestFinished;
  /** Earlier attempts that failed. */
  attempts: TestFinished[];
  output: Log[];
  attachments: Attachment[];
}

interface Suite {
  file: string;
  startedAt: number;
  cases: Map<string, Case>;
  output: Log[];
  finished?: FileFinished;
}

/** XML that CI engines read: a `testsuite` per file, a `testcase` per test. Written when the run has ended. */
export class JunitReporter implements Reporter {
  #out: ReporterOutput;
  #suites = new Map<string, Suite>();
  #attempts = new Map<string, TestFinished[]>();
  #logs = new Map<string, Log[]>();
  #attachments = new Map<string, Attachment[]>();
  #hostname = "localhost";
  #durationMs = 0;
  #started = false;

  constructor(out: ReporterOutput) {
    this.#out = out;
    try {
      this.#hostname = Deno.hostname();
    } catch {
      // Not permitted: the name is only a comfort.
    }
  }

  event(event: BelljarEvent): void {
    if (isKind(event, "run_started")) this.#started = true;
    else if (isKind(event, "file_started")) this.#suite(event.file, event.ts);
    else if (isKind(event, "log") && event.file !== undefined) this.#log(event, event.file);
    else if (isKind(event, "attachment") && event.file !== undefined && event.test !== undefined) {
      push(this.#attachments, testKey(event.file, event.test), event);
    } else if (isKind(event, "test_finished")) this.#test(event);
    else if (isKind(event, "file_finished")) this.#suite(event.file, event.ts).finished = event;
    else if (isKind(event, "run_finished")) this.#durationMs = event.durationMs;
  }

  end(): void {
    if (!this.#started && this.#suites.size === 0) return;
    const suites = [...this.#suites.values()];
    const all = suites.map((suite) => this.#renderSuite(suite));
    const sum = (name: "tests" | "failures" | "errors") =>
      all.reduce((total, { counts }) => total + counts[name], 0);
    const head = attributes({
      name: "belljar",
      time: seconds(this.#durationMs),
      tests: sum("tests"),
      failures: sum("failures"),
      errors: sum("errors"),
    });
    this.#out.write(
      `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites${head}>\n${
        all.map(({ text }) => text).join("")
      }</testsuites>\n`,
    );
  }

  #suite(file: string, ts: number): Suite {
    let suite = this.#suites.get(file);
    if (!suite) {
      suite = { file, startedAt: ts, cases: new Map(), output: [] };
      this.#suites.set(file, suite);
    }
    return suite;
  }

  #log(event: Log, file: string): void {
    if (event.test === undefined) this.#suite(file, event.ts).output.push(event);
    else push(this.#logs, testKey(file, event.test), event);
  }

  #test(event: TestFinished): void {
    const key = testKey(event.file, event.test);
    if (event.willRetry) return push(this.#attempts, key, event);
    const suite = this.#suite(event.file, event.ts);
    // A repeated test is a case of its own each time.
    let name = event.test;
    for (let n = 2; suite.cases.has(name); n++) name = `${event.test} [${n}]`;
    suite.cases.set(name, {
      event,
      attempts: this.#attempts.get(key) ?? [],
      output: this.#logs.get(key) ?? [],
      attachments: this.#attachments.get(key) ?? [],
    });
    for (const map of [this.#attempts, this.#logs, this.#attachments]) map.delete(key);
  }

  #renderSuite(suite: Suite): { text: string; counts: SuiteCounts } {
    const cases = [...suite.cases].map(([name, one]) => this.#renderCase(name, one));
    const { finished } = suite;
    const counts: SuiteCounts = { tests: cases.length, failures: 0, errors: 0, skipped: 0 };
    for (const { event } of suite.cases.values()) {
      if (event.status === "skipped") counts.skipped++;
      else if (event.status === "failed") counts[isError(event) ? "errors" : "failures"]++;
    }
    if (finished && isOwnFailure(finished)) {
      counts.tests++;
      counts.errors++;
      cases.push(this.#renderFileCase(suite, finished));
    }
    const head = attributes({
      name: suite.file,
      ...counts,
      time: seconds(finished?.durationMs ?? 0),
      timestamp: new Date(suite.startedAt).toISOString().replace(/\.\d+Z$/, ""),
      hostname: this.#hostname,
      file: suite.file,
    });
    const lines = [`  <testsuite${head}>\n`, properties(suite), ...cases];
    lines.push(outputs(suite.output, [], "    "));
    return { text: `${lines.join("")}  </testsuite>\n`, counts };
  }

  #renderCase(name: string, { event, attempts, output, attachments }: Case): string {
    const head = attributes({
      name,
      classname: className(event.file),
      time: seconds(event.durationMs),
    });
    const inner: string[] = [];
    if (event.status === "skipped") {
      inner.push(`      <skipped${attributes({ message: event.reason ?? "" })}/>\n`);
    } else if (event.status === "failed") {
      const tag = isError(event) ? "error" : "failure";
      const view = { style: makeStyle(false), cwd: this.#out.cwd, command: this.#out.command };
      const text = failureBody(event, [], view).join("\n");
      inner.push(problem(tag, event.error, event.class, text));
    }
    for (const attempt of attempts) {
      const tag = event.status === "flaky" ? "flakyFailure" : "rerunFailure";
      inner.push(problem(tag, attempt.error, attempt.class, this.#errorText(attempt.error)));
    }
    const extra = [
      ...(event.consoles ?? []).flatMap(({ vm, lines }) => [`console of "${vm}":`, ...lines]),
      ...attachments.flatMap(({ path }) => path === undefined ? [] : [`[[ATTACHMENT|${path}]]`]),
    ];
    inner.push(outputs(output, extra, "      "));
    const body = inner.join("");
    return body === ""
      ? `    <testcase${head}/>\n`
      : `    <testcase${head}>\n${body}    </testcase>\n`;
  }

  /** What went wrong outside of tests is a case of its own: engines show nothing else. */
  #renderFileCase(suite: Suite, finished: FileFinished): string {
    const head = attributes({
      name: "(file)",
      classname: className(suite.file),
      time: seconds(finished.durationMs),
    });
    const view = { style: makeStyle(false), cwd: this.#out.cwd, command: this.#out.command };
    const text = fileFailureBody(finished, [], view).join("\n");
    const error = finished.error ?? { name: "Error", message: finished.reason ?? finished.status };
    return `    <testcase${head}>\n${
      problem("error", error, finished.class, text)
    }    </testcase>\n`;
  }

  #errorText(error: ErrorInfo | undefined): string {
    return error
      ? renderError(error, { style: makeStyle(false), cwd: this.#out.cwd }).join("\n")
      : "";
  }
}

interface SuiteCounts {
  tests: number;
  failures: number;
  errors: number;
  skipped: number;
}

/** Whether the test could not do its work, other than that an assertion failed. */
function isError(event: TestFinished): boolean {
  return event.class !== undefined && event.class !== "test" && event.class !== "leak";
}

function problem(
  tag: string,
  error: ErrorInfo | undefined,
  kind: string | undefined,
  text: string,
): string {
  const head = attributes({
    message: error?.message.split("\n")[0] ?? "",
    type: `${kind ?? "test"}: ${error?.name ?? "Error"}`,
  });
  return `      <${tag}${head}>${escapeXml(text)}</${tag}>\n`;
}

/** Meta data of the tests; `testcase` itself can have no properties. */
function properties({ cases }: Suite): string {
  const rows: string[] = [];
  for (const [name, { event }] of cases) {
    for (const [key, value] of Object.entries(event.meta)) {
      const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
      rows.push(`      <property${attributes({ name: `${name}.${key}`, value: text })}/>\n`);
    }
  }
  return rows.length === 0 ? "" : `    <properties>\n${rows.join("")}    </properties>\n`;
}

function outputs(logs: Log[], extra: string[], indent: string): string {
  const text = (isError: boolean) =>
    logs.filter(({ stream }) => (stream === "stderr") === isError).map((log) =>
      log.text.replace(/\n$/, "")
    );
  const out = [...text(false), ...extra];
  const err = text(true);
  return (out.length > 0
    ? `${indent}<system-out>${escapeXml(out.join("\n"))}</system-out>\n`
    : "") +
    (err.length > 0 ? `${indent}<system-err>${escapeXml(err.join("\n"))}</system-err>\n` : "");
}

/** Engines make packages of what stands before dots. */
function className(file: string): string {
  return file.replace(/(\.test)?\.[cm]?[jt]s$/, "").replaceAll("/", ".").replace(/^\.+/, "");
}

function attributes(values: Record<string, string | number>): string {
  return Object.entries(values)
    .map(([key, value]) =>
      ` ${key}="${escapeXml(String(value)).replaceAll("\n", "&#10;").replaceAll("\t", "&#9;")}"`
    )
    .join("");
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
