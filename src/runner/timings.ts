import type { BelljarEvent } from "../report/events.ts";
import { isKind } from "../report/events.ts";

/** How long files take, for dividing them into shards. */
export interface Timings {
  v: 1;
  /** Milliseconds by file. */
  files: Record<string, number>;
}

/** A file of timings that cannot be used. */
export class TimingsError extends Error {
  override readonly name = "TimingsError";
}

/**
 * Reads a file of timings.
 *
 * @throws {TimingsError} If it cannot be read, or holds something else.
 */
export async function readTimings(path: string): Promise<Record<string, number>> {
  let timings: Partial<Timings>;
  try {
    timings = JSON.parse(await Deno.readTextFile(path));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new TimingsError(`Cannot read timings from ${JSON.stringify(path)}: ${why}`, { cause });
  }
  const { v, files } = timings ?? {};
  const isRight = v === 1 && typeof files === "object" && files !== null &&
    Object.values(files).every((ms) => typeof ms === "number" && ms >= 0);
  if (isRight) return files;
  throw new TimingsError(
    `Cannot use ${
      JSON.stringify(path)
    } as timings: expected what \`belljar report --timings\` writes`,
  );
}

/** The timings of saved runs; of a file that ran several times, the longest. */
export function timingsOf(events: Iterable<BelljarEvent>): Timings {
  const files: Record<string, number> = {};
  for (const event of events) {
    if (!isKind(event, "file_finished") || event.status === "interrupted") continue;
    files[event.file] = Math.max(files[event.file] ?? 0, Math.round(event.durationMs));
  }
  return { v: 1, files };
}
