import type { Accelerator } from "../types.ts";

/** Name of the port on which harness and agent talk. */
export const CONTROL_PORT = "org.belljar.control";
/** Where devices can be plugged into a running machine: the root bus of q35 refuses. */
export const HOTPLUG_PORTS = ["rp0", "rp1", "rp2", "rp3"] as const;

/** Where the guest's memory lies. */
export type RamPlan =
  /** In QEMU's own memory. */
  | { kind: "private" }
  /** In a file that is written: a template that is being made. */
  | { kind: "template"; path: string }
  /** A copy-on-write view of a file that is never written. */
  | { kind: "clone"; path: string };

/** A disk that is there at power-on. */
export interface DiskPlan {
  id: string;
  path: string;
  format: "raw" | "qcow2";
  readonly: boolean;
  /** Port that it is plugged into; on the root bus without one. */
  port?: string;
}

/** A network card that is there at power-on. */
export interface NicPlan {
  id: string;
  mac: string;
  /** Unix socket on which its other end listens; without one it is connected to nothing. */
  socketPath?: string;
  /** Port that it is plugged into; on the root bus without one. */
  port?: string;
}

/** Everything that QEMU's arguments follow from. */
export interface QemuPlan {
  name: string;
  accel: Accelerator;
  memoryBytes: number;
  cpus: number;
  ram: RamPlan;
  kernel?: string;
  initrd?: string;
  cmdline?: string;
  /** Paths of the sockets on which the harness listens. */
  sockets: { qmp: string; control: string; console: string };
  disks: DiskPlan[];
  nics: NicPlan[];
  /** Files that the guest reads by fw_cfg: name, path. */
  firmwareFiles: { name: string; path: string }[];
  vsockCid?: number;
  /** Wait for a state to be loaded instead of powering on. */
  incoming: boolean;
}

/** Makes a text safe inside an option: a comma would end it there. */
export function optionValue(text: string): string {
  return text.replaceAll(",", ",,");
}

/** Without what no guest here uses: QEMU starts 7 ms sooner, of 78. */
const MACHINE = "q35,sata=off,smbus=off,vmport=off";

/** Arguments that decide whether an accelerator works, the same for its probe and for real machines. */
export function acceleratorArgs(accel: Accelerator, machineOptions = ""): string[] {
  return accel === "kvm"
    ? ["-machine", `${MACHINE}${machineOptions}`, "-accel", "kvm", "-cpu", "host"]
    // thread=multi: one host thread per processor. tb-size: the default reserves 1 GiB of address space.
    // max: anything less lacks what some programs need (V8: SSE4.2). -erms: TCG runs `rep movsb` byte by byte, and the
    // kernel copies with it where the processor calls it fast: 0.84 of the boot, 0.3 of a bulk transfer without.
    : [
      "-machine",
      `${MACHINE}${machineOptions}`,
      "-accel",
      "tcg,thread=multi,tb-size=64",
      "-cpu",
      "max,-erms",
    ];
}

/** Returns QEMU's arguments. Order matters: a state can only be loaded by the same devices in the same order. */
export function qemuArgs(plan: QemuPlan): string[] {
  const args: string[] = [];
  const add = (flag: string, value?: string) =>
    args.push(flag, ...value === undefined ? [] : [value]);
  const { qmp, control, console } = plan.sockets;
  const socket = (id: string, path: string, rest = "") =>
    `socket,id=${id},path=${optionValue(path)},server=off${rest}`;

  // Nothing but what is named here: no default devices, no configuration of the user, no window.
  add("-nodefaults");
  add("-no-user-config");
  add("-display", "none");
  add("-name", `guest=${optionValue(plan.name)}`);
  args.push(...acceleratorArgs(plan.accel, ",memory-backend=ram0"));
  add("-smp", String(plan.cpus));
  add("-m", `${plan.memoryBytes / 1024 / 1024}M`);
  add("-object", ramObject(plan));
  // Like -no-reboot, but can be changed at run time for reset(). A panicked machine stays to be looked at.
  add("-action", "reboot=shutdown,panic=pause");
  // QEMU is the client: it connects before the guest runs, and nothing has to be polled for.
  add("-chardev", socket("qmp", qmp));
  add("-mon", "chardev=qmp,mode=control");
  // No logfile: QEMU writes a byte to it once per try when the socket is full, so bursts are doubled in it.
  add("-chardev", socket("console", console));
  add("-serial", "chardev:console");
  add("-device", "virtio-serial-pci,id=serial0");
  add("-chardev", socket("control", control));
  add("-device", `virtserialport,chardev=control,name=${CONTROL_PORT},id=control`);
  HOTPLUG_PORTS.forEach((id, index) =>
    add("-device", `pcie-root-port,id=${id},chassis=${index + 1},slot=${index + 1}`)
  );
  add("-device", "pvpanic-pci"); // GUEST_PANICKED within 25 ms of a panic
  add("-device", "virtio-rng-pci");
  if (plan.vsockCid !== undefined) {
    add("-device", `vhost-vsock-pci,id=vsock0,guest-cid=${plan.vsockCid}`);
  }
  for (const disk of plan.disks) args.push(...diskArgs(disk));
  plan.nics.forEach((nic, index) => args.push(...nicArgs(nic, index)));
  for (const file of plan.firmwareFiles) {
    // file=, never string=: arguments can be read by every user of the host.
    add("-fw_cfg", `name=${file.name},file=${optionValue(file.path)}`);
  }
  if (plan.kernel !== undefined) add("-kernel", plan.kernel);
  if (plan.initrd !== undefined) add("-initrd", plan.initrd);
  if (plan.cmdline !== undefined) add("-append", plan.cmdline);
  if (plan.incoming) add("-incoming", "defer");
  return args;
}

function ramObject({ ram, memoryBytes }: QemuPlan): string {
  if (ram.kind === "private") return `memory-backend-ram,id=ram0,size=${memoryBytes}`;
  const share = ram.kind === "template" ? "on" : "off";
  return `memory-backend-file,id=ram0,size=${memoryBytes},mem-path=${
    optionValue(ram.path)
  },share=${share}`;
}

/** Named nodes, so that faults can be put between them at run time. */
function diskArgs({ id, path, format, readonly, port }: DiskPlan): string[] {
  const readOnly = readonly ? "on" : "off";
  return [
    "-blockdev",
    `driver=file,node-name=${id}-file,filename=${optionValue(path)},read-only=${readOnly}`,
    "-blockdev",
    `driver=${format},node-name=${id}-disk,file=${id}-file,read-only=${readOnly}`,
    "-device",
    `virtio-blk-pci,id=${id}${
      busOf(port)
    },drive=${id}-disk,serial=${id},share-rw=on,werror=report,rerror=report`,
  ];
}

function nicArgs({ id, mac, socketPath, port }: NicPlan, hub: number): string[] {
  return [
    "-netdev",
    socketPath === undefined
      ? `hubport,id=${id}-net,hubid=${hub}` // nobody else is on this hub
      : `stream,id=${id}-net,server=off,addr.type=unix,addr.path=${optionValue(socketPath)}`,
    "-device",
    // romfile: no boot from the network
    `virtio-net-pci,id=${id}${busOf(port)},netdev=${id}-net,mac=${mac},romfile=`,
  ];
}

function busOf(port: string | undefined): string {
  return port === undefined ? "" : `,bus=${port}`;
}
