// Whether event streams of the same tests tell the same story, whatever ran them:
//   deno run --allow-read scripts/same_streams.ts BY_DENO_TEST.jsonl BY_DENO_RUN.jsonl BY_BINARY.jsonl
// Equal means: the same files, tests, steps, operations, machines, failures and closings, each with the same fields and places.
// Left out are times, ids and ports, and what only a parent that runs many files can tell (discovery, the pool, the run itself).
// In order are the events that a test's own lines cause one after the other; what ends beside them (a process that is
// reaped, a service that stops with others) only has to be there. A poll counts once, however often it was asked.

type Fields = Record<string, unknown>;

/** Events about the whole run: `deno test` has no parent that could tell them. */
const OF_THE_PARENT = new Set([
  "run_started",
  "file_discovered",
  "file_loaded",
  "pool",
  "estimate",
  "run_finished",
]);

/** Fields that differ from run to run by their nature. */
const OF_THE_RUN = new Set([
  "v",
  "ts",
  "run",
  "pid",
  "seed",
  "attempts",
  "durationMs",
  "startMs",
  "timeoutMs",
  "elapsed",
  "readyIn",
  "timings",
  "consolePath",
  "stack", // places in belljar itself; `frames` has those of the author
]);

const UNORDERED = /^(service_\w+|resource_closed by user|console|template_built)$/;

function plain(value: unknown): unknown {
  if (typeof value === "string") {
    return value
      .replace(/^\d+ `/, "N `") // the pid of a process
      .replace(/\bJob \d+/g, "Job N")
      .replace(/(\/proc\/|\bprocess )\d+/g, "$1N")
      .replace(/\b(127\.0\.0\.1|localhost):\d+/g, "$1:N")
      .replace(/\/tmp\/belljar-[^ ]*/g, "/tmp/…")
      .replace(/\b\d+(\.\d+)? (ms|s|min)\b/g, "N $2");
  }
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => !OF_THE_RUN.has(key));
  return Object.fromEntries(entries.toSorted().map(([key, inner]) => [key, plain(inner)]));
}

/** The story of one stream: each file's tests with their lines. */
function story(text: string): Map<string, string[]> {
  const ordered = new Map<string, string[]>();
  const beside = new Map<string, Set<string>>();
  for (const line of text.split("\n").filter((line) => line !== "")) {
    const event = JSON.parse(line) as Fields;
    const kind = event.kind === "resource_closed" ? `resource_closed by ${event.by}` : event.kind;
    if (OF_THE_PARENT.has(String(kind))) continue;
    const key = [event.file, event.test ?? "(the file itself)"].join(" > ");
    const shown = JSON.stringify(plain(event));
    if (UNORDERED.test(String(kind))) {
      beside.set(key, (beside.get(key) ?? new Set()).add(shown));
    } else {
      const lines = ordered.get(key) ?? [];
      if (kind !== "op" || lines.at(-1) !== shown) lines.push(shown);
      ordered.set(key, lines);
    }
  }
  const keys = new Set([...ordered.keys(), ...beside.keys()]);
  return new Map(
    [...keys].toSorted().map((key) => [key, [
      ...ordered.get(key) ?? [],
      ...[...beside.get(key) ?? []].toSorted(),
    ]]),
  );
}

/** The first difference between two streams, or nothing. */
export function difference(one: string, other: string): string | undefined {
  const [left, right] = [story(one), story(other)];
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    const [a, b] = [left.get(key) ?? [], right.get(key) ?? []];
    const at = a.findIndex((line, index) => line !== b[index]);
    if (at < 0 && a.length === b.length) continue;
    const index = at < 0 ? a.length : at;
    return `${key}, event ${index + 1}:\n  ${a[index] ?? "(nothing)"}\n  ${
      b[index] ?? "(nothing)"
    }`;
  }
  return undefined;
}

/** How many files, tests and events a stream tells of. */
function size(text: string): string {
  const keys = [...story(text)];
  const tests = keys.filter(([key]) => !key.endsWith("(the file itself)")).length;
  return `${tests} tests, ${keys.reduce((sum, [, lines]) => sum + lines.length, 0)} events`;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main([first, ...others]: string[]): Promise<number> {
  if (!first || others.length === 0) {
    say("usage: same_streams.ts STREAM.jsonl STREAM.jsonl …");
    return 2;
  }
  const reference = await Deno.readTextFile(first);
  say(`${first}: ${size(reference)}`);
  let status = 0;
  for (const path of others) {
    const text = await Deno.readTextFile(path);
    const found = difference(reference, text);
    if (found) status = 1;
    say(found ? `${path} differs from ${first} in ${found}` : `${path}: the same, ${size(text)}`);
  }
  return status;
}

function say(line: string): void {
  // deno-lint-ignore no-console -- a command; its output is its result
  console.log(line);
}
