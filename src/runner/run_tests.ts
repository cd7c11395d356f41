import { closeCurrentRun, hostLimits, type Run } from "../host/mod.ts";
import { type BelljarEvent, type FailureClass, isKind } from "../report/events.ts";
import type { Reporter } from "../report/reporter.ts";
import { isOwnFailure, Tally } from "../report/tally.ts";
import { errorInfo } from "../report/error_info.ts";
import { hostRun } from "../vmm/host_run.ts";
import { VERSION } from "../wire/mod.ts";
import { type Budget, budgetFor, type BudgetOptions } from "./budget.ts";
import { chooseFiles, type ChooseFilesOptions } from "./choose_files.ts";
import { CHILD_COMMAND, selfCommand } from "./child_command.ts";
import type { TestFile } from "./discover.ts";
import { type Emit, makeEmit } from "./emit.ts";
import { EventFile } from "./event_file.ts";
import { FileProcess, type FileProcessResult } from "./file_process.ts";
import { type FileUpdate, type History, readHistory, updateHistory } from "./history.ts";
import type { ListedTest, StartMessage } from "./protocol.ts";
import { isMemoryShort, Pool } from "./pool.ts";
import { type RunSummary, summarize } from "./run_summary.ts";
import { startMessage, type StartOptions, type StartParts } from "./start_message.ts";

/** What is run, and how. */
export interface RunTestsOptions extends StartOptions, BudgetOptions, ChooseFilesOptions {
  cwd: string;
  reporters: readonly Reporter[];
  /** Where all events are written as JSON lines. */
  events?: string;
  seed?: number;
  /** Whether it is fine that no test was chosen. */
  allowEmpty?: boolean;
  /** Whether skipped tests count as failures. */
  requireAll?: boolean;
  /** Program and arguments that run a file. */
  command?: readonly string[];
}

/** A file with its tests, as `belljar list` shows it. */
export interface ListedFile {
  file: string;
  tests: ListedTest[];
  note?: string;
  error?: string;
}

/** A run of test files: one process each, some at the same time. */
export class TestRun {
  readonly id: string = crypto.randomUUID().slice(0, 8);
  #options: RunTestsOptions;
  #emit: Emit;
  #eventFile: EventFile | undefined;
  #tally = new Tally();
  #running = new Set<FileProcess>();
  #updates: FileUpdate[] = [];
  #classes = new Set<FailureClass>();
  #interrupted = false;
  #stopping = false;
  #selected = 0;
  #seed: number;

  constructor(options: RunTestsOptions) {
    this.#options = options;
    this.#seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!;
    this.#emit = makeEmit(this.id, (event) => this.#take(event));
  }

  /** Starts nothing more and lets what runs close what it opened. */
  interrupt(): void {
    this.#interrupted = true;
    if (this.#running.size > 0) {
      this.#emit("warning", {
        message: "Interrupted: closing what runs",
        next: "interrupt once more to kill it",
      });
    }
    this.#stop();
  }

  /** Kills what runs. */
  kill(): void {
    this.#interrupted = this.#stopping = true;
    for (const process of this.#running) process.kill();
  }

  /** Runs everything to its end. */
  async run(): Promise<RunSummary> {
    const started = performance.now();
    const { cwd, events, reporters } = this.#options;
    if (events !== undefined) this.#eventFile = new EventFile(events);
    try {
      const history = await readHistory(cwd);
      const files = chooseFiles(this.#options, history, this.#seed);
      const budget = await budgetFor(this.#options, files.length);
      await this.#started(files.length, budget);
      for (const file of files) {
        const estimateMs = history.files[file.file]?.durationMs;
        this.#emit("file_discovered", {
          file: file.file,
          ...estimateMs !== undefined && { estimateMs },
        });
      }
      await this.#all(files, budget, history);
      const summary = this.#summary();
      await this.#remember();
      this.#emit("run_finished", {
        ...summary,
        durationMs: Math.round(performance.now() - started),
        counts: { ...this.#tally.counts },
      });
      for (const reporter of reporters) await reporter.end?.();
      return summary;
    } finally {
      this.#eventFile?.[Symbol.dispose]();
      await closeCurrentRun();
    }
  }

  /** Loads the files without running a test, and names what would run. */
  async list(): Promise<ListedFile[]> {
    const history = await readHistory(this.#options.cwd);
    const files = chooseFiles(this.#options, history, this.#seed);
    const listed: ListedFile[] = [];
    try {
      const run = await hostRun();
      const command = await this.#command();
      for (const [index, file] of files.entries()) {
        if (this.#stopping) break;
        const start = await this.#startMessage(file, run, history, { list: true });
        const process = new FileProcess({
          run,
          command,
          start,
          index,
          emit: this.#emit,
          forward: () => {},
        });
        this.#running.add(process);
        const result = await process.run();
        this.#running.delete(process);
        listed.push({
          file: file.file,
          tests: result.listed ?? [],
          ...result.note !== undefined && { note: result.note },
          ...result.status !== "passed" &&
            { error: result.error?.message ?? result.reason ?? result.status },
        });
      }
      return listed;
    } finally {
      await closeCurrentRun();
    }
  }

  async #started(files: number, budget: Budget): Promise<void> {
    const { cwd, shard } = this.#options;
    const { memoryBytes, cores } = await hostLimits();
    this.#emit("run_started", {
      versions: { belljar: VERSION, deno: Deno.version.deno },
      host: { os: Deno.build.os, arch: Deno.build.arch, cpus: cores, memoryBytes },
      budget,
      seed: this.#seed,
      ...shard && { shard },
      files,
      cwd,
    });
  }

  async #all(files: readonly TestFile[], budget: Budget, history: History): Promise<void> {
    if (files.length === 0) return;
    const run = await hostRun();
    const command = await this.#command();
    const pool = this.#pool(budget);
    let next = 0;
    const worker = async () => {
      while (next < files.length && !this.#stopping) {
        const index = next++;
        await this.#one(files[index]!, index, { run, command, history, pool });
      }
    };
    try {
      await Promise.all(Array.from({ length: budget.jobs }, worker));
    } finally {
      pool.close();
    }
  }

  #pool({ memoryBytes, cpus }: Budget): Pool {
    return new Pool({
      memoryBytes,
      cpus,
      isShort: isMemoryShort,
      onWait: ({ file }, waitingFor) => this.#emit("file_queued", { file, waitingFor }),
      onChange: (used) =>
        this.#emit("pool", {
          used,
          available: {
            memoryBytes: memoryBytes - used.memoryBytes,
            cpus: Math.max(0, cpus - used.cpus),
          },
        }),
    });
  }

  async #command(): Promise<readonly string[]> {
    return [...this.#options.command ?? await selfCommand(), CHILD_COMMAND];
  }

  #startMessage(
    file: TestFile,
    run: Run,
    history: History,
    parts: Partial<StartParts> = {},
  ): Promise<StartMessage> {
    return startMessage(this.#options, {
      file,
      record: history.files[file.file],
      run: this.id,
      dir: run.dir,
      seed: this.#seed,
      ...parts,
    });
  }

  async #one(
    file: TestFile,
    index: number,
    context: FileContext,
  ): Promise<void> {
    const started = performance.now();
    const update: RunningUpdate = {
      file: file.file,
      durationMs: 0,
      complete: false,
      passed: [],
      failed: [],
      broken: false,
    };
    let result = await this.#process(file, index, context, update);
    const { retry } = result;
    if (retry && !this.#stopping) {
      const message = `${file.file}: ${result.reason}; what it left undone runs once more`;
      this.#emit("warning", { file: file.file, message });
      const names = [...retry.running, ...retry.waiting];
      update.retried = new Set(retry.running);
      // Killed while it was loaded: then all of it is undone.
      const again = names.length > 0 ? names : undefined;
      result = await this.#process(file, index, context, update, { attempt: 2, names: again });
    }
    update.durationMs = performance.now() - started;
    const { status, reason, class: kind, error, exit } = result;
    this.#emit("file_finished", {
      file: file.file,
      status,
      durationMs: Math.round(update.durationMs * 1000) / 1000,
      ...reason !== undefined && { reason },
      ...kind && { class: kind },
      ...error && { error },
      ...exit && { exit },
    });
    if (status === "interrupted") return;
    update.broken = error !== undefined || status === "crashed" || status === "timeout";
    this.#updates.push(update);
  }

  /** Runs one process for a file; one that cannot be started is a result too. */
  async #process(
    file: TestFile,
    index: number,
    { run, command, history, pool }: FileContext,
    update: RunningUpdate,
    again: { attempt: number; names?: string[] } = { attempt: 1 },
  ): Promise<FileProcessResult> {
    try {
      const start = await this.#startMessage(file, run, history, again);
      const process = new FileProcess({
        run,
        command,
        start,
        index,
        pool,
        mayRetry: again.attempt === 1,
        emit: makeEmit(this.id, (event) => this.#forward(event, update)),
        forward: (event) => this.#forward(event, update),
      });
      this.#running.add(process);
      if (this.#stopping) process.interrupt();
      const result = await process.run();
      this.#running.delete(process);
      return result;
    } catch (error) {
      return {
        status: "crashed",
        class: "host",
        reason: "its process cannot be started",
        error: errorInfo(error),
      };
    }
  }

  #forward(event: BelljarEvent, update: RunningUpdate): void {
    if (isKind(event, "file_loaded")) {
      this.#selected += event.tests.length;
      if (!update.retried) update.complete = event.tests.length === event.defined;
    }
    if (isKind(event, "test_finished") && !event.willRetry) {
      if (event.status === "passed" && update.retried?.has(event.test)) {
        event = { ...event, status: "flaky", attempt: event.attempt + 1 };
      }
    }
    if (isKind(event, "test_finished") && !event.willRetry) {
      if (event.status === "failed") update.failed.push(event.test);
      else if (event.status !== "skipped") update.passed.push(event.test);
    }
    this.#take(event);
  }

  #take(event: BelljarEvent): void {
    this.#tally.add(event);
    if (isKind(event, "test_finished") && event.status === "failed" && !event.willRetry) {
      this.#classes.add(event.class ?? "test");
      const { bail } = this.#options;
      if (bail !== undefined && this.#tally.counts.failed >= bail) this.#stop();
    }
    if (isKind(event, "file_finished") && isOwnFailure(event)) {
      this.#classes.add(event.class ?? "test");
    }
    this.#eventFile?.write(event);
    for (const reporter of this.#options.reporters) reporter.event(event);
  }

  #stop(): void {
    this.#stopping = true;
    for (const process of this.#running) process.interrupt();
  }

  #summary(): RunSummary {
    const { allowEmpty, shard, requireAll } = this.#options;
    return summarize({
      interrupted: this.#interrupted,
      classes: this.#classes,
      selected: this.#selected,
      skipped: this.#tally.counts.skipped,
      // A shard may be empty: there are more of them than files.
      mayBeEmpty: allowEmpty === true || shard !== undefined,
      requireAll: requireAll === true,
    });
  }

  async #remember(): Promise<void> {
    try {
      await updateHistory(this.#options.cwd, this.#updates);
    } catch (error) {
      const message = `Cannot record durations: ${error instanceof Error ? error.message : error}`;
      this.#emit("warning", { message });
    }
  }
}

/** What a run shows about a file, so far. */
interface RunningUpdate extends FileUpdate {
  /** Tests that ran when the first process of the file was killed. */
  retried?: Set<string>;
}

/** What all files of a run share. */
interface FileContext {
  run: Run;
  command: readonly string[];
  history: History;
  pool: Pool;
}
