import { assert, assertEquals } from "@std/assert";
import { acceleratorArgs, optionValue, qemuArgs, type QemuPlan } from "../../src/vmm/qemu/argv.ts";
import { kernelCmdline } from "../../src/vmm/qemu/kernel_cmdline.ts";

const PLAN: QemuPlan = {
  name: "db",
  accel: "tcg",
  memoryBytes: 256 * 1024 ** 2,
  cpus: 2,
  ram: { kind: "private" },
  kernel: "/k",
  initrd: "/i",
  cmdline: "console=ttyS0 a,b",
  sockets: { qmp: "/d/q", control: "/d/c", console: "/d/t" },
  disks: [],
  nics: [],
  firmwareFiles: [],
  incoming: false,
};

Deno.test("qemuArgs() of a cold machine, in full", () => {
  assertEquals(qemuArgs(PLAN), [
    "-nodefaults",
    "-no-user-config",
    ...["-display", "none"],
    ...["-name", "guest=db"],
    ...["-machine", "q35,sata=off,smbus=off,vmport=off,memory-backend=ram0"],
    ...["-accel", "tcg,thread=multi,tb-size=64"],
    ...["-cpu", "max,-erms"],
    ...["-smp", "2"],
    ...["-m", "256M"],
    ...["-object", "memory-backend-ram,id=ram0,size=268435456"],
    ...["-action", "reboot=shutdown,panic=pause"],
    ...["-chardev", "socket,id=qmp,path=/d/q,server=off"],
    ...["-mon", "chardev=qmp,mode=control"],
    "-chardev",
    "socket,id=console,path=/d/t,server=off",
    ...["-serial", "chardev:console"],
    ...["-device", "virtio-serial-pci,id=serial0"],
    ...["-chardev", "socket,id=control,path=/d/c,server=off"],
    ...["-device", "virtserialport,chardev=control,name=org.belljar.control,id=control"],
    ...["-device", "pcie-root-port,id=rp0,chassis=1,slot=1"],
    ...["-device", "pcie-root-port,id=rp1,chassis=2,slot=2"],
    ...["-device", "pcie-root-port,id=rp2,chassis=3,slot=3"],
    ...["-device", "pcie-root-port,id=rp3,chassis=4,slot=4"],
    ...["-device", "pvpanic-pci"],
    ...["-device", "virtio-rng-pci"],
    ...["-kernel", "/k"],
    ...["-initrd", "/i"],
    ...["-append", "console=ttyS0 a,b"],
  ]);
});

Deno.test("qemuArgs() differs between template and clone in the memory's view and the start only", () => {
  const template = qemuArgs({ ...PLAN, ram: { kind: "template", path: "/t/ram" } });
  const clone = qemuArgs({ ...PLAN, ram: { kind: "clone", path: "/t/ram" }, incoming: true });
  assertEquals(clone.slice(-2), ["-incoming", "defer"]);
  const differing = template.flatMap((arg, index) => arg === clone[index] ? [] : [arg]);
  assertEquals(differing, [
    "memory-backend-file,id=ram0,size=268435456,mem-path=/t/ram,share=on",
  ]);
});

Deno.test("qemuArgs() doubles commas in names and paths", () => {
  const args = qemuArgs({
    ...PLAN,
    name: "a,b",
    disks: [{ id: "data", path: "/my,disk", format: "qcow2", readonly: true }],
    nics: [{ id: "lan", mac: "52:54:00:00:00:01", socketPath: "/s,w" }],
    firmwareFiles: [{ name: "opt/org.belljar/secret", path: "/s,ecret" }],
    vsockCid: 77,
  }).join(" ");
  for (
    const part of [
      "guest=a,,b ",
      "driver=file,node-name=data-file,filename=/my,,disk,read-only=on ",
      "driver=qcow2,node-name=data-disk,file=data-file,read-only=on ",
      "virtio-blk-pci,id=data,drive=data-disk,serial=data,",
      "addr.path=/s,,w ",
      "virtio-net-pci,id=lan,netdev=lan-net,mac=52:54:00:00:00:01,romfile= ",
      "name=opt/org.belljar/secret,file=/s,,ecret ",
      "vhost-vsock-pci,id=vsock0,guest-cid=77 ",
    ]
  ) assert(args.includes(part), part);
  assertEquals(optionValue(",,"), ",,,,");
});

Deno.test("acceleratorArgs() of a probe are those of machines", () => {
  const machine = qemuArgs({ ...PLAN, accel: "kvm" });
  const at = machine.indexOf("-machine");
  const args = acceleratorArgs("kvm", ",memory-backend=ram0");
  assertEquals(machine.slice(at, at + args.length), args);
});

Deno.test("kernelCmdline() puts the base first and the author's last words last", async (t) => {
  const base = "console=ttyS0 quiet panic=-1 cryptomgr.notests no_timer_check";
  const rows = [
    [{ image: "" }, base],
    [{ image: "root=/dev/vda" }, `${base} root=/dev/vda`],
    [{ image: "root=/dev/vda", instead: "x" }, `${base} x`],
    [{ image: " a ", append: "loglevel=7" }, `${base} a loglevel=7`],
    [{ image: "a", append: "b", vsock: true }, `${base} belljar.vsock=1024 a b`],
  ] as const;
  for (const [parts, expected] of rows) {
    await t.step(JSON.stringify(parts), () => assertEquals(kernelCmdline(parts), expected));
  }
});
