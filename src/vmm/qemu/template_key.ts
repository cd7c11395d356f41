import { PROTOCOL_VERSION, VERSION } from "../../wire/mod.ts";
import { sha256Hex } from "../_hash.ts";
import type { Accelerator, MachineSpec } from "../types.ts";
import { LOOPBACK_CID } from "../vsock.ts";
import { qemuArgs } from "./argv.ts";
import { rootDisk, templateFiles } from "./clone.ts";
import type { QemuBinary } from "./binary.ts";
import { kernelCmdline } from "./kernel_cmdline.ts";
import { ENTRY_VERSION } from "./state_entry.ts";

/** Everything that a template depends on. */
export interface TemplateInputs {
  spec: MachineSpec;
  /** Whether it has an address on vsock. */
  vsock?: boolean;
  qemu: QemuBinary;
  accel: Accelerator;
  /** What {@linkcode hostCpu} returns. */
  cpu: string;
}

/** Name of the template that fits: another one for anything that could make its state unusable or different. */
export async function templateKey(
  { spec, vsock = false, qemu, accel, cpu }: TemplateInputs,
): Promise<string> {
  const { image, memoryBytes, cpus } = spec;
  const cmdline = kernelCmdline({
    image: image.cmdline,
    instead: spec.cmdline,
    append: spec.cmdlineAppend,
    vsock,
  });
  const args = qemuArgs({
    name: "template",
    accel,
    memoryBytes,
    cpus,
    ram: { kind: "template", path: "ram" },
    kernel: image.kernel === undefined ? undefined : "kernel",
    initrd: image.initrds.length === 0 ? undefined : "initrd",
    cmdline,
    sockets: { qmp: "q", control: "c", console: "t" },
    disks: image.disk ? [rootDisk("root")] : [],
    nics: [],
    firmwareFiles: [],
    vsockCid: vsock ? LOOPBACK_CID : undefined,
    incoming: false,
  });
  const files = await Promise.all(
    templateFiles(spec).map(async ({ content, ...rest }) => [rest, await sha256Hex(content)]),
  );
  const versions = [VERSION, PROTOCOL_VERSION, ENTRY_VERSION];
  const parts = [versions, qemu.version, args, image.digest, cpu, files];
  return (await sha256Hex(JSON.stringify(parts))).slice(0, 32);
}

/** What a state depends on of the host's processor: its model and what it can do. */
export async function hostCpu(): Promise<string> {
  const text = await Deno.readTextFile("/proc/cpuinfo");
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, "m").exec(text)?.[1] ?? "";
  return [field("vendor_id"), field("model name"), field("flags")].join("\n");
}
