import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { HostError } from "../../src/errors.ts";
import { lab } from "../../src/lab/mod.ts";
import { LocalVmm } from "../../src/vmm/mod.ts";
import { openVmm } from "./_vmm.ts";
import { closeRunAfterwards, inScope, labTest } from "./_lab.ts";

closeRunAfterwards();

/** Whether machines of this host can have an address on vsock. */
const hasVsock = await Deno.open("/dev/vhost-vsock", { read: true, write: true })
  .then((file) => (file.close(), true), () => false);

labTest("a machine says how its agent is reached, and why", async () => {
  const vm = await lab.vm("auto", "tiny").boot();
  const { transport, transportWhy } = vm.info;
  assertMatch(`${transport}: ${transportWhy}`, /^(serial: no vsock: |vsock: "\/dev\/vhost-vsock")/);
  const serial = await lab.vm("serial", "tiny").boot({ transport: "serial" });
  assertEquals([serial.info.transport, serial.info.transportWhy], ["serial", "asked for"]);
  assertEquals((await serial.run("echo hello")).stdout, "hello\n");
});

Deno.test({
  name: "vsock that is asked for where there is none is refused before anything starts",
  ignore: hasVsock,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const error = await assertRejects(
      () => lab.vm("wanted", "tiny").boot({ transport: "vsock" }),
      HostError,
      'Cannot start machine "wanted" with transport "vsock"',
    );
    assertEquals(error.code, "VSOCK_UNAVAILABLE");
    assertMatch(error.message, /next: .*modprobe vhost_vsock/);
  },
});

Deno.test("a local machine over vsock needs the host's loopback", async () => {
  await using host = await openVmm();
  const local = new LocalVmm({ run: () => Promise.resolve(host.run) });
  const launch = async () => {
    await using machine = await local.launch(host.spec({ transport: "vsock" }));
    return [machine.info.transport, machine.info.cid];
  };
  // Either way it never falls back to something else in silence.
  const outcome = await launch().catch((error) => error);
  if (outcome instanceof HostError) {
    assertEquals(outcome.code, "VSOCK_UNAVAILABLE");
    assertMatch(outcome.message, /nothing can listen at CID 1: .*\n.*modprobe vsock_loopback/);
  } else {
    assertEquals(outcome, ["vsock", 1]);
  }
});

// What a session over vsock has to survive; tests/vsock shows the rest in a machine where this host has no such device.
for (const cold of [false, true]) {
  Deno.test({
    name: `a machine over vsock survives a save, a restore and a reset (cold: ${cold})`,
    ignore: !hasVsock,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: () => inScope("over vsock", () => surviveOverVsock(cold)).then(() => {}),
  });
}

async function surviveOverVsock(cold: boolean): Promise<void> {
  const vm = await lab.vm("over-vsock", "tiny").boot({ transport: "vsock", cold });
  await vm.writeFile("/tmp/kept", "kept");
  const snapshot = await vm.snapshot();
  await vm.writeFile("/tmp/kept", "changed");
  const { cid } = vm.info;
  await vm.restore(snapshot);
  assertEquals(await vm.readTextFile("/tmp/kept"), "kept");
  assertEquals([vm.info.transport, vm.info.cid === cid], ["vsock", false]);
  await vm.reset();
  assertEquals((await vm.run("echo again")).stdout, "again\n");
}
