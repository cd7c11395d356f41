import { type Command, EnumType } from "@cliffy/command";
import { lab, type Vm } from "../lab/mod.ts";
import { escapeLine } from "../report/mod.ts";
import { bytes } from "../values/mod.ts";
import { asUsage } from "./_errors.ts";
import { type MachineOptions, setMachineDefaults } from "./_machine.ts";
import type { GlobalOptions } from "./run.ts";

/** Options of the commands that start one machine for a person. */
export interface OneMachineOptions extends GlobalOptions, MachineOptions {
  memory: string;
  cpus: number;
}

/** Adds the options of a command that starts one machine. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function addMachineOptions(command: Command<any>): Command<any> {
  return command
    .type("accel", new EnumType(["auto", "kvm", "tcg"]))
    .type("transport", new EnumType(["auto", "vsock", "serial"]))
    .type("vmm", new EnumType(["qemu", "local"]))
    .option("--memory <size:string>", "Memory of the machine", { default: "256M" })
    .option("--cpus <n:integer>", "Processors of the machine", { default: 1 })
    .option("--accel <mode:accel>", "auto, kvm or tcg")
    .option("--transport <mode:transport>", "auto, vsock or serial")
    .option("--vmm <name:vmm>", "qemu or local")
    .option("--kernel <file:string>", "Kernel to start instead of the image's own")
    .option("--modules <folder:string>", "Modules of that kernel, if they do not lie beside it")
    .option("--cold", "Boot the machine instead of cloning it");
}

/** Takes the options that hold for the whole process; wrong ones are wrong use of the command line. */
export function takeMachineOptions(options: OneMachineOptions): void {
  asUsage(() => bytes(options.memory, "--memory"));
  setMachineDefaults(options);
}

/** The machine that the options describe, not yet started. */
export function describedMachine(name: string, image: string, options: OneMachineOptions): Vm {
  const { memory, cpus } = options;
  return lab.vm(name, image, { memory, cpus });
}

/** How a machine was started, for the person in front of it. */
export function startedHow(vm: Vm): string {
  const { how, accel, transport, timings } = vm.info;
  const ms = Math.round(timings.totalMs ?? 0);
  return escapeLine(`${vm.image}: ${how} in ${ms} ms, ${transport}, ${accel}`);
}
