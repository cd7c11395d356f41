import { assertEquals } from "@std/assert";
import { innerTests } from "./_inner.ts";
import {
  closeRunAfterwards,
  copyPeer,
  forgedHello,
  logged,
  machinesOf,
  outerTest,
} from "./_outer.ts";

closeRunAfterwards();

outerTest(
  "vsock (a): the compiled belljar drives an agent on its own host over CID 1",
  { memory: "1536M", modules: ["vsock_loopback"], limitMs: 240_000 },
  async ({ t, vm, belljar }) => {
    await copyPeer(vm);
    const test = innerTests({ cid: 1, boot: "{}", forgedHello: await forgedHello() });
    const { result, events } = await belljar(test, ["--vmm", "local", "--transport", "vsock"]);
    result.assertOk();
    const machines = machinesOf(events);
    assertEquals(machines.map(({ vm, transport, cid }) => ({ vm, transport, cid })), [
      { vm: "inner", transport: "vsock", cid: 1 },
    ]);
    // In the output of the tests: over what was driven.
    for (const line of logged(events)) await t.step(line, () => {});
  },
);
