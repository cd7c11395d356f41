import { authorFrames, type Site } from "../scope/mod.ts";
import type { CodeFrame, ErrorInfo, Place } from "./events.ts";

const MAX_DEPTH = 6;
const MAX_ERRORS = 20;
const MAX_MESSAGE = 64 * 1024;
const MAX_FRAMES = 8;
const MAX_FACTS = 20;
const MAX_FACT = 500;
const CONTEXT_LINES = 2;
const MAX_SOURCE_LINE = 300;

/** Turns anything that was thrown into data, with the source around the author's frame. Never throws. */
export function errorInfo(thrown: unknown, phase?: string): ErrorInfo {
  const info = unfold(thrown, 0, new Set());
  return phase === undefined ? info : { ...info, phase };
}

function unfold(thrown: unknown, depth: number, seen: Set<unknown>): ErrorInfo {
  if (depth > MAX_DEPTH || (typeof thrown === "object" && seen.has(thrown))) {
    return { name: "Error", message: "(more errors within)" };
  }
  if (!(thrown instanceof Error)) return { name: kindOf(thrown), message: textOf(thrown) };
  seen.add(thrown);
  if (isSuppressed(thrown)) {
    // Its printed form names neither error: the body's comes first, what closing threw beside it.
    const body = unfold(thrown.suppressed, depth, seen);
    const closing = { ...unfold(thrown.error, depth + 1, seen), phase: "closing" };
    return { ...body, errors: [...body.errors ?? [], closing] };
  }
  const stack = stackOf(thrown);
  const frames = authorFrames(stack).slice(0, MAX_FRAMES).map(placeOf);
  const code = frames[0] && codeFrame(frames[0]);
  const facts = factsOf(thrown);
  const info: ErrorInfo = {
    name: String(thrown.name || thrown.constructor?.name || "Error"),
    message: clean(messageOf(thrown)),
    ...stack && { stack },
    ...frames.length > 0 && { frames },
    ...code && { code },
    ...facts && { facts },
  };
  if (thrown.cause !== undefined) info.cause = unfold(thrown.cause, depth + 1, seen);
  const errors = errorsOf(thrown);
  if (errors) {
    info.errors = errors.slice(0, MAX_ERRORS).map((error) => unfold(error, depth + 1, seen));
  }
  return info;
}

/** A site as a place: URLs of files become paths. */
export function placeOf({ file, line, column }: Site): Place {
  if (!file.startsWith("file://")) return { file, line, column };
  try {
    return { file: decodeURIComponent(new URL(file).pathname), line, column };
  } catch {
    return { file, line, column }; // Shown as the trace has it.
  }
}

/** The lines around a place, or `undefined` if its file cannot be read any more. */
export function codeFrame(place: Place): CodeFrame | undefined {
  let text: string;
  try {
    text = Deno.readTextFileSync(place.file);
  } catch {
    return undefined; // The place is shown without its source.
  }
  const all = text.split("\n");
  if (place.line > all.length) return undefined;
  const first = Math.max(1, place.line - CONTEXT_LINES);
  const last = Math.min(all.length, place.line + CONTEXT_LINES);
  const lines = all.slice(first - 1, last).map((line, i) => ({
    n: first + i,
    text: line.replaceAll("\t", "  ").slice(0, MAX_SOURCE_LINE),
  }));
  return { ...place, lines };
}

/** Removes colours, which `@std/assert` writes into its messages. */
export function stripColors(text: string): string {
  // deno-lint-ignore no-control-regex -- this is what colours are made of
  return text.replace(/\x1b\[[0-9;]*m/g, "");
}

function clean(text: string): string {
  const plain = stripColors(text);
  return plain.length <= MAX_MESSAGE
    ? plain
    : `${plain.slice(0, MAX_MESSAGE)}\n(${plain.length - MAX_MESSAGE} more characters)`;
}

function messageOf(error: Error): string {
  try {
    return String(error.message);
  } catch {
    return "(its message cannot be read)";
  }
}

/** The frames alone: the message is a field of its own. */
function stackOf(error: Error): string {
  const stack = typeof error.stack === "string" ? error.stack : "";
  const at = stack.search(/^\s+at /m);
  return at < 0 ? "" : stripColors(stack.slice(at)).replace(/^\n+/, "");
}

function isSuppressed(error: Error): error is Error & { error: unknown; suppressed: unknown } {
  return error.name === "SuppressedError" && "suppressed" in error && "error" in error;
}

function errorsOf(error: Error): unknown[] | undefined {
  const errors = (error as { errors?: unknown }).errors;
  return Array.isArray(errors) && errors.length > 0 ? errors : undefined;
}

const NO_FACTS: ReadonlySet<string> = new Set([
  ..."name message stack cause errors code summary consoleTail stderr timeoutMs".split(" "),
]);

function factsOf(error: Error): ErrorInfo["facts"] | undefined {
  const facts: NonNullable<ErrorInfo["facts"]> = {};
  for (const [key, value] of Object.entries(error).slice(0, MAX_FACTS)) {
    if (NO_FACTS.has(key)) continue;
    if (typeof value === "string") facts[key] = clean(value).slice(0, MAX_FACT);
    else if (typeof value === "number" || typeof value === "boolean") facts[key] = value;
    else if (typeof value === "bigint") facts[key] = `${value}`;
  }
  return Object.keys(facts).length > 0 ? facts : undefined;
}

function kindOf(thrown: unknown): string {
  return thrown === null ? "null" : typeof thrown;
}

function textOf(thrown: unknown): string {
  return `a value that is no error was thrown: ${clean(Deno.inspect(thrown))}`;
}
