/**
 * The process of a run's first file, started before it is known which file that is: while this program loads its command
 * line, that one loads what tests need. It halves the time to the first test. Its imports are few, or it would not be early.
 *
 * @module
 */

import { join } from "node:path";
import { currentRun, type Run } from "../host/mod.ts";
import { agentBinary } from "../image/agent_binary.ts";
import { CHILD_COMMAND } from "./child_command.ts";
import { withHugePages } from "./huge_pages.ts";

/** A process that waits for its file. */
export interface WaitingFile {
  run: Run;
  child: Deno.ChildProcess;
  listener: Deno.Listener;
  /** The socket to which it connects. */
  path: string;
}

let waiting: Promise<WaitingFile | undefined> | undefined;

/**
 * Starts the process. Only a compiled program does: elsewhere the command that starts a file has to be found first. It has
 * to be awaited: while modules are loaded nothing else gets a turn.
 */
export async function startEarlyFile(): Promise<void> {
  // Whatever is wrong is said by the one that starts the first file then.
  waiting = start().catch(() => undefined);
  await waiting;
}

/** The process for the first who asks, if it belongs to that run. */
export async function takeEarlyFile(run: Run): Promise<WaitingFile | undefined> {
  const early = waiting;
  waiting = undefined;
  const file = await early;
  if (!file || file.run === run) return file;
  discard(file);
  return undefined;
}

/** Ends the process if nobody took it. */
export async function discardEarlyFile(): Promise<void> {
  const early = waiting;
  waiting = undefined;
  const file = await early;
  if (!file) return;
  discard(file);
  await file.child.status;
  await file.run.close();
}

async function start(): Promise<WaitingFile> {
  const run = await currentRun({ agentBinary: () => agentBinary() });
  const path = join(run.dir, "early");
  const listener = Deno.listen({ transport: "unix", path });
  try {
    const child = await run.spawn(Deno.execPath(), {
      args: [CHILD_COMMAND, path],
      env: withHugePages(),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
    return { run, child, listener, path };
  } catch (error) {
    listener.close();
    throw error;
  }
}

function discard({ child, listener }: WaitingFile): void {
  listener.close(); // The process ends when it finds nobody, or loses whom it had found.
  child.stdout.cancel().catch(() => {}); // There is nothing to read.
  child.stderr.cancel().catch(() => {});
  try {
    Deno.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}
