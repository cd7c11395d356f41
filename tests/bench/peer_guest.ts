/** A guest into which other ways of running commands are plugged, beside belljar's own. */
import { lab, type Vm } from "../../src/lab/mod.ts";
import { setLabProviders } from "../../src/lab/providers.ts";
import { type Machine, type QmpClient, vmmFor } from "../../src/vmm/mod.ts";
import { QemuMachine } from "../../src/vmm/qemu/machine.ts";
import { copyFiles } from "./libraries.ts";
import type { Program } from "./packages.ts";

/** A machine with its monitor. */
export interface PeerGuest {
  vm: Vm;
  qmp: QmpClient;
}

/** Boots a machine like any other, and keeps hold of its monitor. */
export async function bootPeerGuest(): Promise<PeerGuest> {
  const vmm = await vmmFor();
  let launched: Machine | undefined;
  const putBack = setLabProviders({
    vmm: () =>
      Promise.resolve({
        name: vmm.name,
        launch: async (spec) => launched = await vmm.launch(spec),
        restore: (state, spec) => vmm.restore(state, spec),
        openState: (path) => vmm.openState(path),
        stateKey: () => vmm.stateKey(),
        standbyKey: (spec, state) => vmm.standbyKey(spec, state),
        standby: (spec, state) => vmm.standby(spec, state),
      }),
  });
  try {
    const vm = await lab.vm("bench-peers", "tiny", { memory: "256M" }).boot({ cold: true });
    if (!(launched instanceof QemuMachine)) throw new Error("the machine is none of QEMU");
    return { vm, qmp: launched.qmp };
  } finally {
    putBack();
  }
}

/** Puts a program and its libraries into the guest, at `to`. */
export async function install(vm: Vm, { path, libraries }: Program, to: string): Promise<void> {
  const missing: [string, string][] = [];
  for (const library of libraries) {
    const at = guestPath(library);
    // What another program has mapped must not be written again.
    if (!await vm.stat(at).then(() => true, () => false)) missing.push([at, library]);
  }
  await copyFiles(vm, [...missing, [to, path]]);
}

/** Where a guest's loader looks for a library: an unpacked package has it below a folder of its own. */
function guestPath(library: string): string {
  const at = library.search(/\/(usr\/)?lib(64)?\//);
  return library.slice(at);
}
