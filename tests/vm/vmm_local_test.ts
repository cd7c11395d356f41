import { assert, assertEquals, assertRejects } from "@std/assert";
import { AgentLostError, HostError, StateError } from "../../src/errors.ts";
import { LocalVmm } from "../../src/vmm/mod.ts";
import { openVmm, shell, untilNoProcesses, utf8 } from "./_vmm.ts";

Deno.test("a local machine answers at once, in namespaces of its own, and leaves nothing", async () => {
  await using host = await openVmm();
  const vmm = new LocalVmm({ run: () => Promise.resolve(host.run) });
  const machine = await vmm.launch(host.spec());
  const { info } = machine;
  assertEquals([info.vmm, info.accel, info.transport], ["local", "none", "local"]);
  assertEquals(await machine.client!.request("ping", {}), {});
  assertEquals(await shell(machine.client!, "echo up"), "up\n");
  const escaped = shell(machine.client!, "setsid sleep 300 & sleep 300");
  escaped.catch(() => {}); // ended with the machine
  await machine[Symbol.asyncDispose]();
  await assertRejects(() => escaped, AgentLostError);
  assertEquals((await machine.ended).reason, "killed");
  await untilNoProcesses(host.run.token);
});

Deno.test("a local machine ends with its agent, and in order", async () => {
  await using host = await openVmm();
  const vmm = new LocalVmm({ run: () => Promise.resolve(host.run) });
  await using first = await vmm.launch(host.spec());
  await first.quit();
  assertEquals((await first.ended).reason, "quit");
  await using second = await vmm.launch(host.spec());
  Deno.kill(second.info.pid, "SIGKILL");
  const end = await second.ended;
  assertEquals([end.reason, end.signal], ["agentLost", "SIGKILL"]);
  await assertRejects(() => second.client!.request("ping", {}), AgentLostError);
});

Deno.test("a local machine refuses what would reach the host or needs hardware", async (t) => {
  await using host = await openVmm();
  const vmm = new LocalVmm({ run: () => Promise.resolve(host.run) });
  const rows = [
    [{ files: [{ path: "/etc/hosts", content: utf8("x") }] }, "files"],
    [{ disks: [{ id: "d", source: { kind: "scratch", bytes: 512 }, readonly: false }] }, "disks"],
    [{ expect: "no-agent" }, "no-agent"],
  ] as const;
  for (const [changes, text] of rows) {
    await t.step(text, async () => {
      const spec = host.spec(changes as Partial<ReturnType<typeof host.spec>>);
      const error = await assertRejects(() => vmm.launch(spec), HostError, text);
      assertEquals(error.code, "NOT_LOCAL");
    });
  }
  await using machine = await vmm.launch(host.spec());
  for (const refused of [() => machine.pause(), () => machine.reset(), () => machine.save()]) {
    const error = await assertRejects<StateError>(refused as () => Promise<unknown>, StateError);
    assert(error.message.includes("--vmm qemu"));
  }
});
