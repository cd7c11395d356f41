import type { MachineStart } from "../report/events.ts";

interface Entry {
  start: MachineStart;
  console: string | undefined;
  /** The test to which it belongs; `undefined` for a machine of the file. */
  test: string | undefined;
  ended: boolean;
}

const MAX_TAIL_BYTES = 16 * 1024;
const MAX_TAIL_LINES = 80;

/** Remembers the machines of a file, for the failures of its tests. */
export class MachineLog {
  #entries: Entry[] = [];

  /** Takes an event in. */
  add(kind: string, fields: Record<string, unknown>, test: string | undefined): void {
    const vm = fields.vm;
    if (typeof vm !== "string") return;
    if (kind === "vm_stopped") {
      const entry = this.#entries.findLast(({ start, ended }) => start.vm === vm && !ended);
      if (entry) entry.ended = true;
    }
    if (kind !== "vm_started") return;
    const start: MachineStart = { vm };
    for (const key of ["image", "how", "transport", "accel"] as const) {
      const value = fields[key];
      if (typeof value === "string") start[key] = value;
    }
    const whys = [fields.howWhy, fields.transportWhy, fields.accelWhy];
    const why = whys.filter((text) => typeof text === "string" && text !== "").join("; ");
    if (why !== "") start.why = why;
    const { consolePath } = fields;
    const console = typeof consolePath === "string" ? consolePath : undefined;
    this.#entries.push({ start, console, test, ended: false });
  }

  /** The machines that a test could use: its own, and those of the file. */
  of(test: string): { start: MachineStart; console: string | undefined }[] {
    return this.#entries.filter((entry) => entry.test === test || entry.test === undefined);
  }

  /** The last lines of their consoles. */
  async consoles(test: string): Promise<{ vm: string; path?: string; lines: string[] }[]> {
    const consoles = [];
    for (const { start: { vm }, console: path } of this.of(test)) {
      if (path === undefined) continue;
      consoles.push({ vm, path, lines: await tail(path) });
    }
    return consoles;
  }

  /** Forgets the machines of a test that has ended, and those of the file that have. */
  endTest(test: string): void {
    this.#entries = this.#entries.filter((entry) => entry.test !== test && !entry.ended);
  }
}

async function tail(path: string): Promise<string[]> {
  try {
    using file = await Deno.open(path);
    const { size } = await file.stat();
    await file.seek(Math.max(0, size - MAX_TAIL_BYTES), Deno.SeekMode.Start);
    const bytes = new Uint8Array(await new Response(file.readable).arrayBuffer());
    const lines = new TextDecoder().decode(bytes).replaceAll("\r\n", "\n").split("\n");
    return lines.filter((line, i) => line !== "" || i < lines.length - 1).slice(-MAX_TAIL_LINES);
  } catch (error) {
    return [`(cannot read ${path}: ${error instanceof Error ? error.message : error})`];
  }
}
