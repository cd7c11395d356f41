import type { BelljarEvent } from "../report/events.ts";

/** Writes events as JSON lines: each is on disk before the next, so that a killed run leaves a stream that can be read. */
export class EventFile implements Disposable {
  #file: Deno.FsFile;
  #encoder = new TextEncoder();

  constructor(path: string, options: { append?: boolean } = {}) {
    const { append = false } = options;
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: !append, append });
  }

  write(event: BelljarEvent): void {
    const bytes = this.#encoder.encode(`${JSON.stringify(event)}\n`);
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Reads the events of a saved stream; a last line that was cut off is left out. */
export async function readEvents(path: string): Promise<BelljarEvent[]> {
  const events: BelljarEvent[] = [];
  for (const line of (await Deno.readTextFile(path)).split("\n")) {
    if (line.trim() === "") continue;
    const event = parse(line);
    if (event) events.push(event);
  }
  return events;
}

function parse(line: string): BelljarEvent | undefined {
  try {
    const event = JSON.parse(line);
    return typeof event?.kind === "string" ? event : undefined;
  } catch {
    return undefined; // Cut off by the death of its writer.
  }
}
