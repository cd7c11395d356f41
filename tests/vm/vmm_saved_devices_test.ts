import { assertEquals } from "@std/assert";
import type { NicSpec } from "../../src/vmm/mod.ts";
import { QemuVmm } from "../../src/vmm/mod.ts";
import { makeTempDir } from "../host/_temp.ts";
import { LIMIT_MS, openVmm, shell, utf8 } from "./_vmm.ts";

/** Waits in the guest until it has found all disks and cards, then runs a script that finds a disk by `disk ID`. */
const withDevices = (disks: number, script: string) => `
  disk() { for d in /sys/block/vd*; do [ "$(cat $d/serial)" = $1 ] && echo /dev/\${d##*/}; done; }
  for i in $(seq 200); do [ $(ls /sys/block | grep -c '^vd') = ${disks} ] && break; sleep 0.1; done
  ${script}`;

/** The far end of a network card: takes connections and says nothing. */
function deafSwitch(path: string): Disposable {
  const listener = Deno.listen({ transport: "unix", path });
  const conns: Deno.Conn[] = [];
  const serve = async () => {
    for await (const conn of listener) conns.push(conn);
  };
  serve().catch(() => {}); // closed by its user
  return {
    [Symbol.dispose]() {
      listener.close();
      for (const conn of conns) conn.close();
    },
  };
}

Deno.test("clones of a saved machine have its disks as they were, each for itself", async () => {
  await using host = await openVmm();
  await using cache = await makeTempDir();
  await using files = await makeTempDir();
  const vmm = new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path });
  const base = `${files.path}/base.raw`;
  await Deno.writeFile(base, utf8("template".padEnd(64 * 1024, "\0")));
  const disks = [
    { id: "data", source: { kind: "scratch", bytes: 8 * 1024 ** 2 }, readonly: false },
    { id: "base", source: { kind: "template", path: base }, readonly: false },
    { id: "fixed", source: { kind: "path", path: base }, readonly: true },
  ] as const;
  const look = withDevices(
    3,
    "for id in data base fixed; do head -c 8 $(disk $id) | tr '\\0' .; echo; done",
  );
  for (const cold of [false, true]) {
    await using machine = await vmm.launch(host.spec({ cold, disks: [...disks] }));
    const write = (text: string) =>
      withDevices(3, `for id in data base; do printf ${text} > $(disk $id); done; sync`);
    await shell(machine.client!, write("saved..."));
    const saved = await machine.save();
    await shell(machine.client!, write("later..."));
    const first = await vmm.restore(saved, host.spec({ disks: [...disks] }));
    assertEquals(await shell(first.client!, look), "saved...\nsaved...\ntemplate\n");
    await shell(first.client!, write("first..."));
    // A second generation, which must not need the files of the first.
    const again = await first.save();
    await saved.delete();
    await first[Symbol.asyncDispose]();
    await again.moveTo(`${cache.path}/kept-${cold}`);
    const opened = await vmm.openState(`${cache.path}/kept-${cold}`);
    await using second = await vmm.restore(opened, host.spec());
    assertEquals(await shell(second.client!, look), "first...\nfirst...\ntemplate\n");
    assertEquals(await shell(machine.client!, look), "later...\nlater...\ntemplate\n");
  }
  assertEquals(await Deno.readFile(base), utf8("template".padEnd(64 * 1024, "\0")));
});

Deno.test("a clone of a saved machine gets the address of its own card", async () => {
  await using host = await openVmm();
  await using cache = await makeTempDir();
  const vmm = new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path });
  using _first = deafSwitch(`${cache.path}/a`);
  using _second = deafSwitch(`${cache.path}/b`);
  const nic = (mac: string, socket: string): NicSpec => ({
    id: "lan",
    mac,
    socketPath: `${cache.path}/${socket}`,
  });
  const address = `
    for i in $(seq 200); do [ -e /sys/class/net/eth0 ] && break; sleep 0.1; done
    cat /sys/class/net/eth0/address`;
  await using machine = await vmm.launch(host.spec({ nics: [nic("52:54:00:aa:00:01", "a")] }));
  assertEquals(await shell(machine.client!, address), "52:54:00:aa:00:01\n");
  await using saved = await machine.save();
  const mine = host.spec({ nics: [nic("52:54:00:aa:00:02", "b")] });
  await using clone = await vmm.restore(saved, mine);
  assertEquals(await shell(clone.client!, address), "52:54:00:aa:00:02\n");
  // And so do its own clones, also after a boot.
  await using second = await clone.save();
  const other = host.spec({ nics: [nic("52:54:00:aa:00:03", "b")] });
  await using grandchild = await vmm.restore(second, other);
  assertEquals(await shell(grandchild.client!, address), "52:54:00:aa:00:03\n");
  await grandchild.reset({ timeoutMs: LIMIT_MS });
  assertEquals(await shell(grandchild.client!, address), "52:54:00:aa:00:03\n");
  await using alone = await vmm.restore(saved, host.spec());
  assertEquals(await shell(alone.client!, address), "52:54:00:aa:00:01\n");
  await clone.attachDisk({ id: "late", source: { kind: "scratch", bytes: 4096 }, readonly: false });
  assertEquals(await shell(clone.client!, withDevices(1, "disk late")), "/dev/vda\n");
});
