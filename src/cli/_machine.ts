import { installMachineDefaults, loadConfig, machineDefaults } from "../runner/mod.ts";
import { closeCurrentRun } from "../host/mod.ts";
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
}

/** Sets what machines of this process and of the files' processes use, where their tests leave it open. */
export function setMachineDefaults(options: MachineOptions): void {
  const { accel, transport, vmm, cold, kernel, modules } = options;
  if (accel) Deno.env.set("BELLJAR_ACCEL", accel);
  if (transport) Deno.env.set("BELLJAR_TRANSPORT", transport);
  if (vmm) Deno.env.set("BELLJAR_VMM", vmm);
  if (cold) Deno.env.set("BELLJAR_COLD", "1");
  if (kernel) Deno.env.set("BELLJAR_KERNEL", resolve(kernel));
  if (modules) Deno.env.set("BELLJAR_MODULES", resolve(modules));
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
