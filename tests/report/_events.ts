import {
  type BelljarEvent,
  type EventFields,
  type KnownKind,
  makeReporter,
  type ReporterName,
} from "../../src/report/mod.ts";

/** Everything that a hostile guest may write, in one line. */
export const HOSTILE =
  "a<script>alert(1)</script> ]]> & \"q\" 'a' \x1b[31mred\x1b[0m \x00 \x07 \u202e \ud800 # \\ %0A end";

let ts = 1_700_000_000_000;

/** An event of a kind, with the fields that every event has. */
export function event<K extends KnownKind>(kind: K, fields: EventFields<K>): BelljarEvent {
  return { v: 1, ts: ts += 10, run: "r1", kind, ...fields } as unknown as BelljarEvent;
}

const meta = { tags: ["a"], spec: HOSTILE };
const file = "tests/a.test.ts";

/** A run with one test of each kind, whose texts are hostile. */
export function sampleRun(): BelljarEvent[] {
  const ended = { file, meta, attempt: 1, durationMs: 12.3456 };
  const error = {
    name: "AssertionError",
    message: `Values are not equal: ${HOSTILE}\n\n-   1\n+   2`,
    frames: [{ file: "/w/tests/helper.ts", line: 5, column: 3 }, {
      file: `/w/${file}`,
      line: 9,
      column: 2,
    }],
    code: {
      file: "/w/tests/helper.ts",
      line: 5,
      column: 3,
      lines: [{ n: 4, text: "// before" }, { n: 5, text: `  t.assertEquals(a, "${HOSTILE}");` }],
    },
    cause: { name: "Error", message: HOSTILE },
  };
  return [
    event("run_started", {
      versions: { belljar: "0.1.0", deno: "2.7.11" },
      host: { os: "linux", arch: "x86_64", cpus: 2, memoryBytes: 1 },
      budget: { jobs: 2 },
      seed: 42,
      files: 2,
      cwd: "/w",
    }),
    event("file_discovered", { file, estimateMs: 1000 }),
    event("file_discovered", { file: "tests/b.test.ts" }),
    event("file_started", { file, pid: 10, attempt: 1 }),
    event("log", { file, stream: "stdout", text: `at load ${HOSTILE}` }),
    event("file_loaded", { file, tests: ["passes", "fails"], defined: 2, timeoutMs: 1000 }),
    event("test_started", { file, test: "passes", meta, attempt: 1, timeoutMs: 1000 }),
    event("test_finished", { ...ended, test: "passes", status: "passed" }),
    event("test_started", { file, test: `fails ${HOSTILE}`, meta, attempt: 1, timeoutMs: 1000 }),
    event("vm_started", { file, test: `fails ${HOSTILE}`, vm: "db" }),
    event("log", { file, test: `fails ${HOSTILE}`, stream: "stdout", text: `out ${HOSTILE}` }),
    event("log", { file, test: `fails ${HOSTILE}`, stream: "stderr", text: `err ${HOSTILE}` }),
    event("attachment", {
      file,
      test: `fails ${HOSTILE}`,
      name: "x",
      mediaType: "text/plain",
      size: 3,
      path: `/out/x ${HOSTILE}`,
    }),
    event("test_finished", {
      ...ended,
      test: `fails ${HOSTILE}`,
      status: "failed",
      class: "test",
      error,
      errors: [{ name: "ScopeError", message: HOSTILE, phase: "closing" }],
      inProgress: [{ op: `run("${HOSTILE}")`, vm: "db", durationMs: 5 }],
      history: [{ op: "boot(tiny)", vm: "db", durationMs: 50, ok: true }],
      closed: [{
        kind: "process",
        name: `7 ${HOSTILE}`,
        site: "/w/x.ts:1:2",
        leaked: true,
        durationMs: 1,
      }],
      consoles: [{ vm: "db", path: "/run/console", lines: ["boot", `console ${HOSTILE}`] }],
      machines: [{
        vm: "db",
        image: "tiny",
        how: "clone",
        transport: "serial",
        accel: "tcg",
        why: HOSTILE,
      }],
      seed: 42,
    }),
    event("test_finished", {
      ...ended,
      test: "slow",
      status: "failed",
      class: "timeout",
      error: { name: "T", message: "late" },
    }),
    event("test_finished", {
      ...ended,
      test: "shaky",
      status: "failed",
      willRetry: true,
      class: "test",
      error,
    }),
    event("test_finished", { ...ended, test: "shaky", status: "flaky", attempt: 2 }),
    event("test_finished", { ...ended, test: "absent", status: "skipped", reason: HOSTILE }),
    event("file_finished", { file, status: "failed", durationMs: 100, class: "test" }),
    event("file_started", { file: "tests/b.test.ts", pid: 11, attempt: 1 }),
    event("file_finished", {
      file: "tests/b.test.ts",
      status: "crashed",
      durationMs: 1234.5,
      class: "host",
      reason: `killed ${HOSTILE}`,
      exit: { code: 137, signal: "SIGKILL" },
    }),
    event("warning", { message: HOSTILE, next: HOSTILE }),
    { v: 1, ts: ts += 1, run: "r1", kind: "of_the_future", anything: [HOSTILE] },
    event("run_finished", {
      status: "failed",
      exitCode: 1,
      durationMs: 1500,
      counts: { passed: 1, failed: 2, skipped: 1, flaky: 1, files: 2, failedFiles: 1 },
    }),
  ];
}

/** What a reporter writes about events. */
export async function report(
  name: ReporterName,
  events: readonly BelljarEvent[],
  options: { color?: boolean; columns?: number; quiet?: boolean; verbose?: boolean } = {},
): Promise<string> {
  let text = "";
  const { color = false, columns = 80, ...rest } = options;
  const reporter = makeReporter(name, {
    write: (part) => text += part,
    color,
    columns,
    cwd: "/w",
    ...rest,
  });
  for (const one of events) reporter.event(one);
  await reporter.end?.();
  return text;
}

/** Runs a program with text as its standard input's file. */
export async function check(
  command: string[],
  text: string,
  suffix: string,
): Promise<{ code: number; out: string }> {
  const path = await Deno.makeTempFile({ suffix });
  try {
    await Deno.writeTextFile(path, text);
    const [program, ...args] = command as [string, ...string[]];
    const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args, path] })
      .output();
    const decoder = new TextDecoder();
    return { code, out: decoder.decode(stdout) + decoder.decode(stderr) };
  } finally {
    await Deno.remove(path);
  }
}
