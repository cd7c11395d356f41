import type { BelljarEvent } from "./events.ts";

/** Shows the events of a run to somebody. */
export interface Reporter {
  /** Takes the next event. Must not throw on kinds that it does not know. */
  event(event: BelljarEvent): void;
  /** Writes what is left, after the last event. */
  end?(): void | Promise<void>;
}

/** What a reporter writes to, and what it may assume about that. */
export interface ReporterOutput {
  write(text: string): void;
  color: boolean;
  /** Width of the terminal, in characters. */
  columns: number;
  /** Working directory of the run: paths are shown relative to it. */
  cwd: string;
  /** Shows the output of tests that passed, and each step. */
  verbose?: boolean;
  /** Shows failures and the summary alone. */
  quiet?: boolean;
  /** The command that runs tests again, without its operands. */
  command?: string;
}
