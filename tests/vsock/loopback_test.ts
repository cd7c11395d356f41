import { assert, assertEquals } from "@std/assert";
import { innerTest } from "./_inner.ts";
import { closeRunAfterwards, machinesOf, outerTest } from "./_outer.ts";

closeRunAfterwards();

outerTest(
  "vsock (a): the compiled belljar drives an agent on its own host over CID 1",
  { memory: "1536M", modules: ["vsock_loopback"], limitMs: 150_000 },
  async ({ t, vm, belljar }) => {
    await t.step(`outer machine: ${vm.info.transport}, ${vm.info.transportWhy}`, () => {});
    const test = innerTest({ cid: 1, boot: "{}" });
    const { result, events } = await belljar(test, ["--vmm", "local", "--transport", "vsock"]);
    result.assertOk();
    const machines = machinesOf(events);
    assertEquals(machines.map(({ transport, cid }) => ({ transport, cid })), [
      { transport: "vsock", cid: 1 },
    ]);
    await t.step(`inner machine: transport vsock, CID ${machines[0]!.cid}`, () => {
      assert(/control port: 0 requests before, 0 after \d+ operations/.test(result.stdout));
    });
  },
);
