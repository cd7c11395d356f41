import { join } from "node:path";
import { endProcesses, type Run } from "../host/mod.ts";
import {
  type BelljarEvent,
  type ErrorInfo,
  type FailureClass,
  isKind,
  type TestStarted,
} from "../report/events.ts";
import { isInfrastructure } from "../dsl/mod.ts";
import { formatSeconds } from "../values/mod.ts";
import { LineChannel } from "./_line_channel.ts";
import { OutputReader } from "./_output_reader.ts";
import { Watchdog } from "./_watchdog.ts";
import { takeEarlyFile, type WaitingFile } from "./early_file.ts";
import type { Emit } from "./emit.ts";
import { withHugePages } from "./huge_pages.ts";
import { spawnFile } from "./spawn_file.ts";
import { type Pool, PoolRefusalError } from "./pool.ts";
import type { ChildResult, FromChild, ListedTest, StartMessage, ToChild } from "./protocol.ts";

/** What a file's process is started with. */
export interface FileProcessOptions {
  run: Run;
  /** Program and arguments, to which the socket's path is added. */
  command: readonly string[];
  start: StartMessage;
  emit: Emit;
  /** Takes the events of the process, as they are. */
  forward(event: BelljarEvent): void;
  /** Number that no other file of the run has. */
  index: number;
  /** Where its machines get memory and processors from. */
  pool?: Pool;
  /** Whether another process runs what this one leaves undone if it is killed by somebody else. */
  mayRetry?: boolean;
}

/** How the process of a file ended. */
export interface FileProcessResult extends ChildResult {
  exit?: { code: number; signal?: string };
  listed?: ListedTest[];
  note?: string;
  /** Tests that another process has to run, those that ran when this one was killed first. */
  retry?: { running: string[]; waiting: string[] };
}

/** Longest time until the process connects. */
const CONNECT_MS = 30_000;
/** Longest time for loading until the process has to show that it lives. */
const LOAD_MS = 60_000;
const ANSWER_MS = 5_000;
/** Longest wait for the output that a test wrote before it ended. */
const MARK_MS = 1_000;
/** Longest time for closing everything after an interrupt. */
const INTERRUPT_MS = 60_000;
/** Longest wait for output after the process has ended: what it started may hold the pipes. */
const DRAIN_MS = 500;
/** Longest time between the process's last word and its end. */
const EXIT_MS = 5_000;

/** The process that runs one test file: started, watched, and ended. */
export class FileProcess {
  readonly #options: FileProcessOptions;
  #channel: LineChannel<FromChild, ToChild> | undefined;
  #child: Deno.ChildProcess | undefined;
  #running = new Map<string, TestStarted>();
  #left = new Set<string>();
  #result: ChildResult | undefined;
  #listed: ListedTest[] | undefined;
  #note: string | undefined;
  #killed: ChildResult | undefined;
  #loaded = false;
  #interrupted = false;
  #grants = new Map<number, () => void>();
  /** Tell the pool that what was granted serves a clone. */
  #clones = new Map<number, (pid: number) => void>();
  #timers = new Set<ReturnType<typeof setTimeout>>();
  #watchdog = new Watchdog({
    ping: (n) => void this.#channel?.send({ type: "ping", n }),
    onSilent: (what) => this.#silent(what),
    answerMs: ANSWER_MS,
  });

  constructor(options: FileProcessOptions) {
    this.#options = options;
  }

  /** Asks the process to close what is open and to end; kills it if it does not. */
  interrupt(): void {
    if (this.#interrupted) return;
    this.#interrupted = true;
    void this.#channel?.send({ type: "interrupt" });
    this.#after(INTERRUPT_MS, () =>
      this.kill({
        status: "interrupted",
        reason: `killed: it did not close within ${
          formatSeconds(INTERRUPT_MS / 1000)
        } after the interrupt`,
      }));
  }

  /** Kills the process and its group at once. */
  kill(result: ChildResult = { status: "interrupted", reason: "killed" }): void {
    this.#killed ??= result;
    if (!this.#child) return;
    try {
      Deno.kill(-this.#child.pid, "SIGKILL");
    } catch {
      // It has ended already.
    }
  }

  /** Runs the process to its end, whatever that is. */
  async run(): Promise<FileProcessResult> {
    const { start } = this.#options;
    const { child, listener: listening, path } = await takeEarlyFile(this.#options.run) ??
      await this.#spawn();
    using listener = listening;
    this.#child = child;
    this.#options.emit("file_started", {
      file: start.file,
      pid: child.pid,
      attempt: start.attempt,
    });
    if (this.#killed) this.kill();
    const outputs = (["stdout", "stderr"] as const).map((stream) =>
      new OutputReader(child[stream], start.mark, (text, test) => {
        this.#options.emit("log", {
          file: start.file,
          ...test !== undefined && { test },
          stream,
          text,
        });
      })
    );
    const talk = this.#talk(listener, child, outputs);
    const status = await child.status;
    listener.close();
    const left = await endProcesses({ groups: [child.pid] });
    await this.#within(Promise.all(outputs.map(({ ended }) => ended)), DRAIN_MS);
    await talk;
    this.#options.pool?.endFile(start.file);
    this.#watchdog.stop();
    for (const timer of this.#timers) clearTimeout(timer);
    await Deno.remove(path).catch(() => {}); // The run's folder goes anyway.
    if (left.length > 0) {
      const names = left.map(({ pid, command }) => `${pid} ${command}`).join(", ");
      this.#options.emit("warning", {
        file: start.file,
        message: `Processes of the file cannot be ended: ${names}`,
      });
    }
    return this.#finish(status);
  }

  async #spawn(): Promise<Omit<WaitingFile, "run">> {
    const { run, index, command } = this.#options;
    const path = join(run.dir, `f${index}`);
    const listener = Deno.listen({ transport: "unix", path });
    const [program, ...args] = command as [string, ...string[]];
    try {
      const child = await spawnFile(run, program, {
        args: [...args, path],
        ...Deno.build.standalone && { env: withHugePages() },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }, this.#options.emit);
      return { child, listener, path };
    } catch (error) {
      listener.close();
      throw error;
    }
  }

  async #talk(
    listener: Deno.Listener,
    child: Deno.ChildProcess,
    outputs: OutputReader[],
  ): Promise<void> {
    this.#after(CONNECT_MS, () => this.#channel || this.kill(NOT_CONNECTED));
    let conn: Deno.Conn;
    try {
      conn = await listener.accept();
    } catch {
      return; // The process ended before it had connected.
    }
    const channel = this.#channel = new LineChannel<FromChild, ToChild>(conn);
    void channel.send(this.#options.start);
    if (this.#interrupted) void channel.send({ type: "interrupt" });
    this.#watchdog.watch("load", LOAD_MS);
    const over = child.status.then(() => "over");
    for await (const message of channel.messages()) {
      if (message.type === "event") this.#event(message.event);
      else if (message.type === "mark") {
        await Promise.race([
          over,
          Promise.all(outputs.map((output) => output.reached(message.n, MARK_MS))),
        ]);
      } else if (message.type === "pong") this.#watchdog.answer(message.n);
      else if (message.type === "reserve") this.#reserve(message);
      else if (message.type === "spare") void this.#spare(message);
      else if (message.type === "clone") this.#clones.get(message.id)?.(message.pid);
      else if (message.type === "release") this.#release(message.id);
      else if (message.type === "listed") {
        this.#listed = message.tests;
        this.#note = message.note;
      } else this.#done(message.result);
    }
    channel.close();
  }

  #reserve({ id, memoryBytes, cpus, names }: Extract<FromChild, { type: "reserve" }>): void {
    const channel = this.#channel!;
    const { pool, start: { file } } = this.#options;
    if (!pool) return void channel.send({ type: "granted", id });
    const abort = new AbortController();
    this.#grants.set(id, () => abort.abort());
    pool.reserve({ file, memoryBytes, cpus, names }, abort.signal).then((grant) => {
      this.#grants.set(id, () => grant.release());
      this.#clones.set(id, (pid) => grant.isClone(pid));
      void channel.send({ type: "granted", id });
    }, (error) => {
      this.#grants.delete(id);
      if (error instanceof PoolRefusalError) {
        void channel.send({ type: "refused", id, refusal: error.refusal });
      }
    });
  }

  async #spare({ id, memoryBytes }: Extract<FromChild, { type: "spare" }>): Promise<void> {
    const channel = this.#channel!;
    const { pool, start: { file } } = this.#options;
    const reclaim = () => void channel.send({ type: "reclaim", id });
    const grant = await pool?.spare({ file, memoryBytes }, reclaim);
    if (grant) this.#grants.set(id, () => grant.release());
    await channel.send({ type: "spared", id, granted: grant !== undefined });
  }

  #release(id: number): void {
    this.#grants.get(id)?.();
    this.#grants.delete(id);
    this.#clones.delete(id);
  }

  #event(event: BelljarEvent): void {
    if (isKind(event, "file_loaded")) {
      this.#loaded = true;
      this.#watchdog.unwatch("load");
      this.#watchdog.watch("file", event.timeoutMs);
      for (const test of event.tests) this.#left.add(test);
    } else if (isKind(event, "test_started")) {
      this.#running.set(event.test, event);
      this.#watchdog.watch(`test ${event.test}`, event.timeoutMs);
    } else if (isKind(event, "test_finished")) {
      this.#running.delete(event.test);
      this.#left.delete(event.test);
      this.#watchdog.unwatch(`test ${event.test}`);
    }
    this.#options.forward(event);
  }

  #done(result: ChildResult): void {
    this.#result = result;
    this.#watchdog.stop();
    this.#after(EXIT_MS, () => this.kill());
  }

  #silent(what: string): void {
    const test = [...this.#running.keys()].join(", ");
    const doing = what === "load"
      ? "while it was loaded"
      : test
      ? `in test ${JSON.stringify(test)}`
      : "between tests";
    this.kill({
      status: "timeout",
      class: "timeout",
      reason: `killed: its event loop was blocked ${doing}, beyond the limit`,
    });
  }

  /** What the process could not say any more is said for it. */
  #finish(status: Deno.CommandStatus): FileProcessResult {
    if (this.#result) {
      return { ...this.#result, listed: this.#listed, note: this.#note };
    }
    const exit = { code: status.code, ...status.signal && { signal: status.signal } };
    const result = this.#killed ?? this.#crash(status);
    const error: ErrorInfo = {
      name: "FileEndedError",
      message: `The file did not end by itself: ${result.reason}`,
    };
    const willRetry = this.#options.mayRetry === true && result.status === "crashed" &&
      isInfrastructure(result.class);
    for (const started of this.#running.values()) {
      const { file, test, meta, attempt, place, ts } = started;
      const isInterrupted = result.status === "interrupted";
      this.#options.emit("test_finished", {
        file,
        test,
        meta,
        attempt,
        ...place && { place },
        durationMs: Math.max(0, performance.timeOrigin + performance.now() - ts),
        ...isInterrupted
          ? { status: "skipped", reason: "interrupted" }
          : { status: "failed", class: result.class ?? "test", error },
        ...willRetry && { willRetry },
      });
      this.#left.delete(test);
    }
    if (willRetry) {
      const retry = { running: [...this.#running.keys()], waiting: [...this.#left] };
      return { ...result, exit, retry };
    }
    for (const test of this.#left) {
      this.#options.emit("test_finished", {
        file: this.#options.start.file,
        test,
        meta: {},
        attempt: 1,
        durationMs: 0,
        status: "skipped",
        reason: "not run: the process of its file had ended",
      });
    }
    return { ...result, exit };
  }

  #crash({ code, signal }: Deno.CommandStatus): ChildResult {
    const tests = [...this.#running.keys()].map((name) => JSON.stringify(name)).join(", ");
    const when = tests
      ? `while test ${tests} ran`
      : this.#loaded
      ? "between tests"
      : "while it was loaded";
    if (signal !== null) {
      const kind: FailureClass = signal === "SIGKILL" || signal === "SIGTERM" ? "host" : "harness";
      return {
        status: "crashed",
        class: kind,
        reason: `killed by ${signal} ${when}, not by belljar`,
      };
    }
    const hint = code === 0 ? "ended by itself (Deno.exit?)" : `ended with exit code ${code}`;
    return { status: "crashed", class: "test", reason: `its process ${hint} ${when}` };
  }

  #after(ms: number, fn: () => unknown): void {
    this.#timers.add(setTimeout(fn, ms));
  }

  async #within(work: Promise<unknown>, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([work, promise]);
    clearTimeout(timer);
  }
}

const NOT_CONNECTED: ChildResult = {
  status: "crashed",
  class: "harness",
  reason: `killed: its process did not connect within ${formatSeconds(CONNECT_MS / 1000)}`,
};
