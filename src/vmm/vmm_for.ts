import { LocalVmm } from "./local/vmm.ts";
import { QemuVmm, type QemuVmmOptions } from "./qemu/vmm.ts";
import type { Accelerator, TransportChoice, Vmm, VmmName } from "./types.ts";

/** What the user chose for all machines of a process. */
export interface VmmChoice {
  /** @default {"qemu"} */
  vmm?: VmmName;
  /** @default {"auto"} */
  accel?: "auto" | Accelerator;
  /** @default {"auto"} */
  transport?: TransportChoice;
}

const known = new Map<string, Vmm>();

/** Returns what starts machines, the same object for the same choice. */
export function vmmFor({ vmm = "qemu", accel = "auto" }: VmmChoice = {}): Promise<Vmm> {
  const key = `${vmm} ${accel}`;
  let found = known.get(key);
  if (!found) {
    found = vmm === "local" ? new LocalVmm() : new QemuVmm({ accel } satisfies QemuVmmOptions);
    known.set(key, found);
  }
  return Promise.resolve(found);
}
