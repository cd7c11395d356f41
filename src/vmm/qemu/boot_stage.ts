import type { BootStage } from "../../errors.ts";

/** What is known of a machine that did not come up. */
export interface BootEvidence {
  /** Text of the console so far. */
  console: string;
  /** Whether the agent ever opened its port. */
  portOpened: boolean;
  /** What the monitor says of the first processor, if it could be asked. */
  registers?: string;
}

/** Tells how far a boot came. */
export function bootStage({ console, portOpened, registers = "" }: BootEvidence): BootStage {
  if (portOpened) return "agent";
  if (/^belljar(?:-agent| init)?:/m.test(console)) return "init";
  if (/Run \/\S+ as init process|Attempted to kill init|No working init found/.test(console)) {
    return "init";
  }
  // With "quiet" a healthy kernel says nothing: its processor tells where it is.
  const ring = /CPL=(\d)/.exec(registers)?.[1];
  if (ring === "3") return "init";
  if (/RIP=ffff/i.test(registers)) return "kernel";
  if (/^\[ *\d+\.\d{6}\]|Linux version|Kernel panic/m.test(console)) return "kernel";
  return "firmware";
}

/** Finds the line of a kernel that gave up. */
export function panicLine(console: string): string | undefined {
  return /Kernel panic - not syncing[^\n]*/.exec(console)?.[0];
}
