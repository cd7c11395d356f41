import { formatSeconds } from "../values/mod.ts";
import { escapeControl, escapeLine } from "./escape.ts";
import type {
  ClosedInfo,
  ErrorInfo,
  FileFinished,
  Log,
  OpInfo,
  Place,
  TestFinished,
} from "./events.ts";
import type { Style } from "./style.ts";

/** How a failure is shown. */
export interface FailureStyle {
  style: Style;
  /** Paths below it are shown relative to it. */
  cwd: string;
  /** The command that runs a test again, without its operands. */
  command?: string;
  /** Most lines of a test's output. @default {20} */
  outputLines?: number;
}

const CONSOLE_LINES = 20;
/** A kernel that panics writes its registers and stack after what matters. */
const GUEST_CONSOLE_LINES = 80;
const HISTORY = 5;

/** All that is known about a failed test, as lines for a terminal or a log. */
export function renderFailure(event: TestFinished, output: Log[], view: FailureStyle): string[] {
  const { style } = view;
  const head = `${style.red(style.bold("FAILED"))} ${style.bold(testTitle(event))}` +
    style.dim(`  (${event.class ?? "test"}, ${duration(event.durationMs)}${attempt(event)})`);
  return [head, ...indented(failureBody(event, output, view))];
}

/** The same without the line that names the test. */
export function failureBody(event: TestFinished, output: Log[], view: FailureStyle): string[] {
  const { style } = view;
  const body: string[] = [];
  if (event.error) body.push(...renderError(event.error, view, event.place));
  for (const error of event.errors ?? []) {
    body.push(
      "",
      ...titled(style.bold(`also, ${error.phase ?? "in the test"}:`), renderError(error, view)),
    );
  }
  body.push(...operations(event, view), ...resources(event, view), ...consoles(event, view));
  body.push(...machines(event, view), ...renderOutput(output, view));
  if (event.seed !== undefined) body.push(style.dim(`seed: ${event.seed}`));
  body.push(`${style.dim("run again:")} ${rerunLine(event.file, event.test, view)}`);
  return body;
}

/** What went wrong in a file outside of its tests. */
export function renderFileFailure(
  event: FileFinished,
  output: Log[],
  view: FailureStyle,
): string[] {
  const { style } = view;
  const head = `${style.red(style.bold("FAILED"))} ${style.bold(escapeLine(event.file))}` +
    style.dim(`  (file ${event.status}${event.class ? `, ${event.class}` : ""})`);
  return [head, ...indented(fileFailureBody(event, output, view))];
}

/** The same without the line that names the file. */
export function fileFailureBody(event: FileFinished, output: Log[], view: FailureStyle): string[] {
  const { style } = view;
  const body: string[] = [];
  if (event.reason) body.push(...escapeControl(event.reason).split("\n"));
  if (event.error) {
    body.push(...renderError(event.error, view));
    for (const error of event.error.errors ?? []) {
      if (error.phase === undefined || error.phase === "closing") continue;
      body.push("", ...titled(style.bold(`also, ${error.phase}:`), renderError(error, view)));
    }
  }
  body.push(...renderOutput(output, view));
  body.push(`${style.dim("run again:")} ${view.command ?? "belljar run"} ${quote(event.file)}`);
  return body;
}

function indented(lines: string[]): string[] {
  return lines.map((line) => line === "" ? "" : `  ${line}`);
}

/** `file > test`, with everything escaped. */
export function testTitle({ file, test }: { file: string; test: string }): string {
  return `${escapeLine(file)} > ${escapeLine(test)}`;
}

/** The command that runs exactly this test again. */
export function rerunLine(file: string, test: string, view: { command?: string }): string {
  const pattern = `/^${test.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")}$/`;
  return `${view.command ?? "belljar run"} ${quote(file)} --filter ${quote(pattern)}`;
}

/** An error with its place, source and causes. */
export function renderError(error: ErrorInfo, view: FailureStyle, fallback?: Place): string[] {
  const { style } = view;
  const [first = "", ...rest] = escapeControl(error.message).split("\n");
  const lines = [
    `${style.red(style.bold(escapeLine(error.name)))}${style.red(":")} ${first}`,
    ...trimmed(rest).map((line) => colorDiff(line, style)),
  ];
  const places = error.frames ?? [];
  const place = places[0] ?? fallback;
  if (place) {
    const verb = places[0] ? "at" : "in the test at";
    lines.push(`${verb} ${style.cyan(showPlace(place, view.cwd))}`, ...sourceOf(error, style));
    for (const outer of places.slice(1, 5)) {
      lines.push(style.dim(`called from ${showPlace(outer, view.cwd)}`));
    }
  }
  if (error.facts) lines.push(...factLines(error.facts, error.message).map(style.dim));
  for (
    const inner of (error.errors ?? []).filter(({ phase }) =>
      phase === undefined || phase === "closing"
    )
  ) {
    lines.push(...titled(style.dim("with"), renderError(inner, view)));
  }
  if (error.cause) lines.push(...titled(style.dim("caused by"), renderError(error.cause, view)));
  return lines;
}

/** `path:line:column`, below the working directory without it. */
export function showPlace({ file, line, column }: Place, cwd: string): string {
  const shown = file.startsWith(`${cwd}/`) ? file.slice(cwd.length + 1) : file;
  return `${escapeLine(shown)}:${line}:${column}`;
}

/** Milliseconds as a person reads them. */
export function duration(ms: number): string {
  return formatSeconds(ms / 1000);
}

/** A word for the shell. */
export function quote(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  // deno-lint-ignore no-control-regex -- a terminal must not be steered by a name
  if (/[\x00-\x1f\x7f-\x9f]/.test(word)) return `$'${escapeLine(word.replace(/[\\']/g, "\\$&"))}'`;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function attempt({ attempt }: TestFinished): string {
  return attempt > 1 ? `, attempt ${attempt}` : "";
}

function trimmed(lines: string[]): string[] {
  const isBlank = (line: string) => line.trim() === "";
  let start = 0;
  let end = lines.length;
  while (start < end && isBlank(lines[start]!)) start++;
  while (end > start && isBlank(lines[end - 1]!)) end--;
  // `@std/assert` puts several blank lines around its differences.
  return lines.slice(start, end).filter((line, i, all) =>
    !isBlank(line) || !isBlank(all[i - 1] ?? "")
  );
}

function colorDiff(line: string, style: Style): string {
  const text = line.trimStart();
  if (text.startsWith("[Diff]")) {
    return line.replace("Actual", style.red("Actual")).replace("Expected", style.green("Expected"));
  }
  if (/^-\s/.test(line) || line === "-") return style.red(line);
  if (/^\+\s/.test(line) || line === "+") return style.green(line);
  return line;
}

/** Most columns of a source line that are shown; of a longer one, those around the place. */
const SOURCE_COLUMNS = 96;

function sourceOf({ code }: ErrorInfo, style: Style): string[] {
  if (!code) return [];
  const width = String(code.lines.at(-1)?.n ?? 0).length;
  const from = Math.max(0, code.column + 16 - SOURCE_COLUMNS);
  return code.lines.flatMap(({ n, text }) => {
    const number = String(n).padStart(width);
    const shown = escapeControl(cut(text, n === code.line ? from : 0));
    if (n !== code.line) return [style.dim(`    ${number} | ${shown}`.trimEnd())];
    const mark = " ".repeat(width + 6 + Math.max(0, code.column - 1 - from));
    return [
      `  ${style.red(">")} ${style.bold(number)} ${style.dim("|")} ${shown}`,
      `${mark} ${style.red("^")}`,
    ];
  });
}

function cut(text: string, from: number): string {
  const part = text.slice(from, from + SOURCE_COLUMNS);
  return `${from > 0 ? "…" : ""}${from > 0 ? part.slice(1) : part}${
    from + SOURCE_COLUMNS < text.length ? "…" : ""
  }`;
}

function factLines(facts: NonNullable<ErrorInfo["facts"]>, message: string): string[] {
  return Object.entries(facts)
    .filter(([, value]) => !message.includes(String(value)))
    .map(([key, value]) => `${escapeLine(key)}: ${escapeLine(String(value))}`);
}

function titled(title: string, lines: string[]): string[] {
  return [title, ...lines.map((line) => line === "" ? "" : `  ${line}`)];
}

/** `process 7 `sleep 9`, created at tests/a.test.ts:3:9`, still to be escaped. */
export function closedLine({ kind, name, site }: ClosedInfo, cwd: string): string {
  return `${kind} ${name}, created at ${shortSite(site, cwd)}`;
}

/** A site as text, below the working directory without it. */
function shortSite(site: string, cwd: string): string {
  return site.startsWith(`${cwd}/`) ? site.slice(cwd.length + 1) : site;
}

function operation({ op, vm, durationMs, ok, site }: OpInfo, cwd: string): string {
  const where = vm === undefined ? "" : `machine "${vm}": `;
  const state = ok === undefined ? "in progress for" : ok ? "took" : "failed after";
  return escapeLine(
    `${where}${op}, ${state} ${duration(durationMs)}${
      site ? `, called at ${shortSite(site, cwd)}` : ""
    }`,
  );
}

function operations(
  { inProgress = [], history = [] }: TestFinished,
  { style, cwd }: FailureStyle,
): string[] {
  const lines: string[] = [];
  if (inProgress.length > 0) {
    lines.push(
      "",
      ...titled(
        style.bold("in progress when it failed:"),
        inProgress.map((op) => operation(op, cwd)),
      ),
    );
  }
  if (history.length > 0) {
    const last = history.slice(-HISTORY);
    lines.push(
      "",
      ...titled(style.bold("operations before:"), last.map((op) => operation(op, cwd))),
    );
  }
  return lines;
}

function resources({ closed = [] }: TestFinished, { style, cwd }: FailureStyle): string[] {
  const left = closed.filter(({ leaked }) => leaked);
  if (left.length === 0) return [];
  return [
    "",
    ...titled(
      style.bold("closed for you:"),
      left.map((one) => escapeLine(closedLine(one, cwd))),
    ),
  ];
}

function consoles(event: TestFinished, { style }: FailureStyle): string[] {
  const { consoles = [] } = event;
  const limit = event.class === "guest" ? GUEST_CONSOLE_LINES : CONSOLE_LINES;
  return consoles.filter(({ lines }) => lines.length > 0).flatMap(({ vm, path, lines }) => [
    "",
    style.bold(
      `console of "${escapeLine(vm)}", last lines${path ? ` of ${escapeLine(path)}` : ""}:`,
    ),
    ...lines.slice(-limit).map((line) => `${style.dim("|")} ${escapeLine(line)}`),
  ]);
}

function machines({ machines = [] }: TestFinished, { style }: FailureStyle): string[] {
  const byText = new Map<string, string[]>();
  for (const { vm, image, how, transport, accel, why } of machines) {
    const parts = [image, how, transport, accel].filter((part) => part !== undefined).join(", ");
    const text = `${parts}${why ? ` (${why})` : ""}`;
    byText.set(text, [...byText.get(text) ?? [], JSON.stringify(vm)]);
  }
  return [...byText].map(([text, names]) =>
    style.dim(escapeLine(`machine${names.length === 1 ? "" : "s"} ${names.join(", ")}: ${text}`))
  );
}

function renderOutput(output: Log[], { style, outputLines = 20 }: FailureStyle): string[] {
  if (output.length === 0) return [];
  const all = output.flatMap(({ stream, service, text }) =>
    text.replace(/\n$/, "").split("\n").map((line) =>
      `${style.dim(`${escapeLine(service ?? stream)}|`)} ${escapeLine(line)}`
    )
  );
  const hidden = all.length - outputLines;
  const more = hidden > 0 ? [style.dim(`(${hidden} lines before)`)] : [];
  return ["", style.bold("output:"), ...more, ...all.slice(-outputLines)];
}
