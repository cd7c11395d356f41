import type { Scope } from "../scope/mod.ts";
import type { Vm } from "./vm.ts";

const living = new Set<Vm>();

/** Notes a machine until the returned function is called. */
export function noteMachine(vm: Vm): () => void {
  living.add(vm);
  return () => living.delete(vm);
}

/** The machines that belong to a scope itself, oldest first. */
export function machinesOf(scope: Scope): Vm[] {
  return [...living].filter((vm) => vm.scope === scope);
}
