import { assert, assertEquals } from "@std/assert";
import { innerTests, rowOfTests } from "./_inner.ts";
import {
  closeRunAfterwards,
  copyPeer,
  forgedHello,
  logged,
  machinesOf,
  outerTest,
  STEADY_CLOCK,
} from "./_outer.ts";

closeRunAfterwards();

const QEMU = "/usr/bin/qemu-system-x86_64";
const FIRMWARE = ["/usr/share/qemu", "/usr/share/seabios"];
/** What QEMU opens by name: firmware, and the loaders of kernels. */
const LOADED = "bios-256k.bin kvmvapic.bin linuxboot.bin linuxboot_dma.bin multiboot.bin " +
  "multiboot_dma.bin pvh.bin";

/** The files that QEMU needs besides its libraries, as far as this host's QEMU has them as files of their own. */
async function qemuFiles(): Promise<string[]> {
  const candidates = LOADED.split(" ").flatMap((name) => FIRMWARE.map((dir) => `${dir}/${name}`));
  candidates.push("/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so");
  const found = await Promise.all(
    candidates.map((path) => Deno.stat(path).then(() => [path], () => [])),
  );
  return found.flat();
}

outerTest(
  "vsock (b): the compiled belljar drives a machine under QEMU over vhost-vsock",
  {
    memory: "2560M",
    modules: ["vhost_vsock"],
    programs: [QEMU],
    files: qemuFiles,
    limitMs: 900_000,
  },
  async ({ t, vm, belljar }) => {
    await copyPeer(vm);
    const boot = `{ agentTimeout: "8m", cmdlineAppend: "${STEADY_CLOCK}" }`;
    // Left to itself belljar takes vsock where it is there.
    const test = innerTests({ boot, forgedHello: await forgedHello() });
    const { result, events } = await belljar(test, []);
    result.assertOk();
    const machines = machinesOf(events);
    assertEquals(machines.map(({ vm, transport, how }) => ({ vm, transport, how })), [
      { vm: "inner", transport: "vsock", how: "clone" },
    ]);
    assert(machines[0]!.cid as number > 2);
    const row = await belljar(rowOfTests(boot), ["--standby", "always"]);
    row.result.assertOk();
    // In the output of the tests: over what was driven.
    for (const line of [...logged(events), ...logged(row.events)]) await t.step(line, () => {});
  },
);
