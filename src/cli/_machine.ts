import {
  installMachineDefaults,
  loadConfig,
  MACHINE_VARIABLES,
  machineDefaults,
} from "../runner/mod.ts";
import { closeCurrentRun } from "../host/mod.ts";
import { usage } from "./_errors.ts";
import { runScope } from "../scope/mod.ts";
import { hostRun } from "../vmm/mod.ts";
import { join, resolve } from "node:path";

/** Machine options that several commands have. */
export interface MachineOptions {
  accel?: string;
  transport?: string;
  vmm?: string;
  cold?: true;
  kernel?: string;
  modules?: string;
  standby?: string;
}

/** Sets what machines of this process and of the files' processes use, where their tests leave it open. */
export function setMachineDefaults(options: MachineOptions): void {
  const { accel, transport, vmm, cold, kernel, modules, standby } = options;
  const values: Record<keyof typeof MACHINE_VARIABLES, string | undefined> = {
    accel,
    transport,
    vmm,
    cold: cold && "1",
    kernel: kernel && resolve(kernel),
    modules: modules && resolve(modules),
    standby,
  };
  for (const key of Object.keys(MACHINE_VARIABLES) as (keyof typeof MACHINE_VARIABLES)[]) {
    const value = values[key];
    if (value) Deno.env.set(MACHINE_VARIABLES[key], value);
  }
  try {
    machineDefaults((name) => Deno.env.get(name));
  } catch (error) {
    // Here, and not by every file's process for itself.
    throw usage((error as Error).message);
  }
}

/** Runs `fn`, which starts machines in this process, and closes all that it opened. */
export async function withMachines<T>(fn: () => Promise<T>): Promise<T> {
  const run = await hostRun();
  const stage = { dir: join(run.dir, "stage") };
  let loading: ReturnType<typeof loadConfig> | undefined;
  installMachineDefaults(
    machineDefaults((name) => Deno.env.get(name)),
    () => loading ??= loadConfig(Deno.cwd(), Deno.build.standalone ? { stage } : {}),
  );
  // A failure of closing does not hide that of the work: both are told.
  await using _run = { [Symbol.asyncDispose]: closeCurrentRun };
  await using _scope = runScope();
  return await fn();
}
