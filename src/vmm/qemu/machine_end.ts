import { AgentLostError, BootError, DeadlineError } from "../../errors.ts";
import type { ConsoleLog } from "../console_log.ts";
import type { EndReason, MachineEnd } from "../types.ts";
import { bootStage, panicLine } from "./boot_stage.ts";
import type { QmpClient } from "./qmp.ts";

/** What is known when QEMU has ended. */
export interface EndEvidence {
  status: Deno.CommandStatus;
  /** What QEMU's event `SHUTDOWN` gave as reason. */
  shutdown: string | undefined;
  /** What the harness asked for. */
  wanted: "quit" | "killed" | undefined;
  /** The last lines of the console. */
  console: string;
}

/** Tells why a machine has ended. */
export function whyEnded(
  { status, shutdown, wanted, console }: EndEvidence,
): { reason: EndReason; detail?: string } {
  const panic = panicLine(console);
  if (shutdown === "guest-panic" || (shutdown === "guest-reset" && panic)) {
    return { reason: "panic", detail: panic };
  }
  if (shutdown === "guest-shutdown") return { reason: "guestPoweroff" };
  if (shutdown === "guest-reset") return { reason: "guestReboot" };
  if (wanted) return { reason: wanted };
  if (status.signal) return { reason: "crashed", detail: `QEMU was ended by ${status.signal}` };
  if (shutdown === "host-signal") return { reason: "killed", detail: "QEMU was asked to end" };
  return { reason: "crashed", detail: `QEMU ended with code ${status.code}` };
}

/** The error of what waits for a machine that has ended. */
export function endedError(machine: string, end: MachineEnd, consolePath: string): AgentLostError {
  return new AgentLostError(`Machine "${machine}" ${describeEnd(end)}`, {
    code: end.reason === "panic" ? "GUEST_PANIC" : "MACHINE_ENDED",
    actual: end.detail,
    next: end.reason === "killed" ? undefined : `read "${consolePath}"`,
  });
}

function describeEnd({ reason, detail }: MachineEnd): string {
  switch (reason) {
    case "panic":
      return `panicked: ${detail}`;
    case "guestPoweroff":
      return "was powered off by its guest";
    case "guestReboot":
      return "was rebooted by its guest";
    case "agentLost":
      return `was ended: ${detail}`;
    case "crashed":
      return `crashed: ${detail}`;
    case "quit":
      return "was shut down";
    case "killed":
      return "was killed";
  }
}

/** The console's bytes come by another socket than the news of a panic. */
const PANIC_TEXT_MS = 500;

/** Returns the line of a panic that was reported, as soon as the console shows it. */
export async function panicText(console: ConsoleLog): Promise<string> {
  const found = Promise.withResolvers<void>();
  const look = () => {
    if (panicLine(console.tail(200))) found.resolve();
  };
  const off = console.onData(look);
  const timer = setTimeout(found.resolve, PANIC_TEXT_MS);
  look();
  await found.promise;
  clearTimeout(timer);
  off();
  return panicLine(console.tail(200)) ?? "the kernel gave up without a word";
}

/** What is known of a machine that did not come up. */
export interface FailedBoot {
  machine: string;
  qmp: QmpClient;
  console: ConsoleLog;
  /** Whether the agent ever opened its port. */
  portOpened: boolean;
  /** How it ended, if it has. */
  end: MachineEnd | undefined;
  stderr: string;
}

/** Makes the error of a start that came to nothing: how far it came, and what shows it. */
export async function makeBootError(
  { machine, qmp, console, portOpened, end, stderr }: FailedBoot,
  why: string,
  cause: unknown,
): Promise<BootError> {
  const registers = await qmp.execute<string>("human-monitor-command", {
    "command-line": "info registers",
  }, { timeoutMs: 1_000 }).catch(() => ""); // it may be gone: the console has to do
  const stage = bootStage({ console: console.text(), portOpened, registers });
  const lines = console.tail(40);
  return new BootError(`Cannot boot machine "${machine}": ${why}`, {
    stage,
    code: end?.reason === "panic" ? "GUEST_PANIC" : "BOOT",
    consolePath: console.path,
    consoleTail: lines,
    stderr,
    actual: `it came as far as the ${stage}${end?.detail ? `: ${end.detail}` : ""}${
      lines ? `; its console ends with\n${lines.split("\n").slice(-8).join("\n")}` : ""
    }`,
    next: lines
      ? `read "${console.path}"`
      : 'boot it with `cmdlineAppend: "ignore_loglevel"` to see the kernel\'s messages',
    cause: cause instanceof DeadlineError ? undefined : cause,
  });
}
