import { assert, assertEquals } from "@std/assert";
import { innerTest } from "./_inner.ts";
import { closeRunAfterwards, machinesOf, outerTest } from "./_outer.ts";

closeRunAfterwards();

const QEMU = "/usr/bin/qemu-system-x86_64";
/** What QEMU opens by name: its accelerator, firmware, and the loaders of kernels. */
const QEMU_FILES = [
  "/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so",
  ..."bios-256k.bin kvmvapic.bin linuxboot.bin linuxboot_dma.bin multiboot.bin multiboot_dma.bin pvh.bin"
    .split(" ").map((name) => `/usr/share/qemu/${name}`),
];

outerTest(
  "vsock (b): the compiled belljar drives a machine under QEMU over vhost-vsock",
  {
    memory: "2560M",
    modules: ["vhost_vsock"],
    programs: [QEMU],
    files: QEMU_FILES,
    limitMs: 240_000,
  },
  async ({ t, vm, belljar }) => {
    await t.step(`outer machine: ${vm.info.transport}, ${vm.info.transportWhy}`, () => {});
    const test = innerTest({ boot: '{ agentTimeout: "3m" }' });
    // Left to itself belljar takes vsock where it is there.
    const { result, events } = await belljar(test, []);
    result.assertOk();
    const machines = machinesOf(events);
    assertEquals(machines.map(({ transport, how }) => ({ transport, how })), [
      { transport: "vsock", how: "clone" },
    ]);
    const cid = machines[0]!.cid as number;
    await t.step(`inner machine: transport vsock, CID ${cid}, ${machines[0]!.transportWhy}`, () => {
      assert(cid > 2);
      assert(/control port: (\d+) requests before, \1 after \d+ operations/.test(result.stdout));
    });
  },
);
