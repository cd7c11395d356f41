import type { Requirements, TestDefinition } from "../dsl/mod.ts";
import { HostError } from "../errors.ts";
import { hostLimits } from "../host/mod.ts";
import { bytes } from "../values/mod.ts";
import { findQemu, QemuVmm } from "../vmm/mod.ts";

/** Says why this host cannot run a test, or `undefined` if it can. */
export async function unmetRequirement(test: TestDefinition): Promise<string | undefined> {
  const required: Requirements = test.meta.require ?? {};
  for (const [key, value] of Object.entries(required)) {
    if (value === undefined || value === false) continue;
    const why = await CHECKS[key as keyof Requirements]?.(value as never);
    if (why !== undefined) return `needs ${why}`;
  }
  return undefined;
}

const CHECKS: {
  [K in keyof Required<Requirements>]: (value: never) => Promise<string | undefined>;
} = {
  root: () => Promise.resolve(Deno.uid() === 0 ? undefined : "root"),
  memory: async (size: string | number) => {
    const { memoryBytes } = await hostLimits();
    if (memoryBytes >= bytes(size)) return undefined;
    return `${size} of memory, this run may use ${Math.floor(memoryBytes / 2 ** 20)}M`;
  },
  qemu: async (version: boolean | string) => {
    const found = await qemuVersion();
    if (found === undefined) return "QEMU, which is not installed";
    if (version === true || isAtLeast(found, String(version))) return undefined;
    return `QEMU ${version}, this host has ${found}`;
  },
  kvm: async () => {
    if (await qemuVersion() === undefined) return "KVM, and there is no QEMU";
    const { accel, why } = await new QemuVmm().accelerator();
    return accel === "kvm" ? undefined : `KVM: ${why}`;
  },
  vsock: async () => {
    try {
      (await Deno.open("/dev/vhost-vsock", { read: true, write: true })).close();
      return undefined;
    } catch (error) {
      return `vsock: ${error instanceof Error ? error.message : error}`;
    }
  },
};

async function qemuVersion(): Promise<string | undefined> {
  try {
    return (await findQemu()).version;
  } catch (error) {
    if (error instanceof HostError) return undefined;
    throw error;
  }
}

function isAtLeast(found: string, wanted: string): boolean {
  const [a, b] = [found, wanted].map((text) => text.split(".").map(Number)) as [number[], number[]];
  for (let i = 0; i < b.length; i++) {
    if ((a[i] ?? 0) !== b[i]) return (a[i] ?? 0) > b[i]!;
  }
  return true;
}
