import { type BelljarEvent, isKind } from "./events.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";

/** One entry of a trace, as chrome://tracing and Perfetto read them; times in microseconds. */
interface TraceEvent {
  name: string;
  ph: "X" | "i" | "M";
  ts: number;
  dur?: number;
  pid: number;
  tid: number;
  cat?: string;
  s?: "t";
  args?: Record<string, unknown>;
}

/** The run as a Chrome trace: a process per file, in it lanes for tests, steps, machines, output and what was closed. */
export class PerfettoReporter implements Reporter {
  #out: ReporterOutput;
  #events: TraceEvent[] = [];
  #files = new Map<string, number>();
  #lanes = new Map<string, number>();
  #machines = new Map<string, { ts: number; args: Record<string, unknown> }>();

  constructor(out: ReporterOutput) {
    this.#out = out;
  }

  event(event: BelljarEvent): void {
    const file = "file" in event && typeof event.file === "string" ? event.file : undefined;
    if (file === undefined) return;
    if (isKind(event, "file_finished")) {
      this.#span(file, "file", file, event.ts, event.durationMs, {
        status: event.status,
        reason: event.reason,
      });
    } else if (isKind(event, "test_finished")) {
      const { test, ts, durationMs, status, class: kind, error } = event;
      this.#span(file, "tests", test, ts, durationMs, {
        status,
        class: kind,
        error: error?.message,
      });
    } else if (isKind(event, "step_finished")) {
      const { step, ts, durationMs, status } = event;
      this.#span(file, `steps ${step.length}`, step.join(" > "), ts, durationMs, { status });
    } else if (isKind(event, "op")) {
      const lane = event.vm === undefined ? "operations" : `machine ${event.vm}`;
      this.#span(file, lane, event.op, event.ts, event.durationMs, { ok: event.ok });
    } else if (isKind(event, "vm_started")) {
      const { vm, ts, image, how, transport, accel } = event;
      this.#machines.set(`${file}\0${vm}`, { ts, args: { image, how, transport, accel } });
    } else if (isKind(event, "vm_stopped")) {
      const started = this.#machines.get(`${file}\0${event.vm}`);
      this.#machines.delete(`${file}\0${event.vm}`);
      if (!started) return;
      const args = { ...started.args, reason: event.reason };
      this.#span(file, "machines", event.vm, event.ts, event.ts - started.ts, args);
    } else if (isKind(event, "resource_closed")) {
      const { resource, name, by, site } = event;
      this.#instant(file, "closed", `${resource} ${name}`, event.ts, { by, site });
    } else if (isKind(event, "log")) {
      this.#instant(file, "output", event.text, event.ts, { stream: event.stream });
    } else if (event.kind === "net_fault") {
      this.#instant(file, "network faults", "fault", event.ts, { ...event });
    }
  }

  end(): void {
    this.#out.write(`${JSON.stringify({ traceEvents: this.#events, displayTimeUnit: "ms" })}\n`);
  }

  #span(
    file: string,
    lane: string,
    name: string,
    endMs: number,
    durationMs: number,
    args: Record<string, unknown>,
  ): void {
    const ts = Math.round((endMs - durationMs) * 1000);
    const dur = Math.round(durationMs * 1000);
    this.#events.push({ name, ph: "X", cat: lane, ts, dur, ...this.#place(file, lane), args });
  }

  #instant(
    file: string,
    lane: string,
    name: string,
    ms: number,
    args: Record<string, unknown>,
  ): void {
    const ts = Math.round(ms * 1000);
    this.#events.push({ name, ph: "i", s: "t", cat: lane, ts, ...this.#place(file, lane), args });
  }

  /** Numbers of a file and its lane, which are named when they are first used. */
  #place(file: string, lane: string): { pid: number; tid: number } {
    let pid = this.#files.get(file);
    if (pid === undefined) {
      this.#files.set(file, pid = this.#files.size + 1);
      this.#events.push({
        name: "process_name",
        ph: "M",
        ts: 0,
        pid,
        tid: 0,
        args: { name: file },
      });
    }
    const key = `${file}\0${lane}`;
    let tid = this.#lanes.get(key);
    if (tid === undefined) {
      this.#lanes.set(key, tid = this.#lanes.size + 1);
      this.#events.push({ name: "thread_name", ph: "M", ts: 0, pid, tid, args: { name: lane } });
    }
    return { pid, tid };
  }
}
