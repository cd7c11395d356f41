/** Disks of a running machine, seen from outside of it. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { StateError } from "../../src/errors.ts";
import { lab, setLabProviders } from "../../src/lab/mod.ts";
import { vmmFor } from "../../src/vmm/mod.ts";
import { closeRunAfterwards, labTest, sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("disked", { disks: [{ id: "first", scratch: "1M" }] });
closeRunAfterwards();

const LINK = "/dev/disk/by-id/virtio-";

function pattern(sectors: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: sectors * 512 }, (_, i) => (i * 7 + seed + (i >> 9)) & 0xff);
}

test("disk() reads what the guest has written, and writes what it then reads", async (vm) => {
  const disk = vm.disk("first");
  assertEquals([disk.id, disk.attached, await disk.size()], ["first", true, 1024 * 1024]);
  const written = pattern(200, 3); // more than passes the monitor at once
  await vm.writeFile("/tmp/pattern", written);
  const dd = `dd if=/tmp/pattern of=${LINK}first bs=512 seek=9 conv=fsync,notrunc`;
  await vm.run(dd, { check: true });
  assertEquals(await disk.readSectors(9, 200), written);
  assertEquals(await disk.readSectors(8), new Uint8Array(512));
  const other = pattern(130, 5);
  await disk.writeSectors(1000, other);
  await vm.run("echo 3 > /proc/sys/vm/drop_caches", { check: true });
  const back = await vm.readFile(`${LINK}first`, { offset: 1000 * 512, length: other.length });
  assertEquals(back, other);
});

test("disk() refuses what is not on it", async (vm, { t }) => {
  const disk = vm.disk("first");
  const rows: [text: string, call: () => Promise<unknown>][] = [
    ["sectors 2047 to 2048", () => disk.readSectors(2047, 2)],
    ["a whole number as first, got -1", () => disk.readSectors(-1)],
    ["a whole number as count, got 0.5", () => disk.readSectors(0, 0.5)],
    ["whole sectors of 512 bytes, got 100 bytes", () => disk.writeSectors(0, new Uint8Array(100))],
    ["must be bytes, got string", () => disk.writeSectors(0, "x" as never)],
  ];
  for (const [text, call] of rows) {
    await t.step(text, async () => {
      const error = await assertRejects(call);
      assert(error instanceof RangeError || error instanceof TypeError);
      assert(error.message.includes(text), error.message);
    });
  }
  assertThrows(() => vm.disk("frist"), RangeError, 'did you mean "first"');
});

test("attachDisk() plugs a disk in, detach() out, attach() in again with what was on it", async (vm) => {
  const late = await vm.attachDisk({ id: "late", scratch: "2M" });
  assertEquals(await late.size(), 2 * 1024 * 1024);
  await vm.run(`echo kept > ${LINK}late; sync`, { check: true });
  await late.detach();
  assert(!late.attached);
  assertEquals(await vm.exists(`${LINK}late`), false);
  await assertRejects(() => late.readSectors(0), StateError, "attach() it first");
  assertThrows(() => vm.disk("late"), RangeError);
  await late.attach();
  const head = await vm.readFile(`${LINK}late`, { length: 5 });
  assertEquals(new TextDecoder().decode(head), "kept\n");
  await assertRejects(() => late.attach(), StateError, "it is attached");
  await assertRejects(() => vm.attachDisk({ id: "late", scratch: "1M" }), StateError, "has one");
  await assertRejects(() => vm.attachDisk({ id: "x" } as never), TypeError, "exactly one of");
});

test("attachDisk() of a template keeps the file as it is, one of a path writes to it", async (vm) => {
  const dir = await Deno.makeTempDir();
  try {
    const path = `${dir}/disk.raw`;
    await Deno.writeFile(path, pattern(64, 1));
    const copy = await vm.attachDisk({ id: "copy", template: path });
    await copy.writeSectors(3, pattern(2, 9));
    assertEquals(await copy.readSectors(3, 2), pattern(2, 9));
    assertEquals(await Deno.readFile(path), pattern(64, 1));
    await copy.detach();
    const same = await vm.attachDisk({ id: "same", path });
    await same.writeSectors(3, pattern(2, 9));
    await same.detach();
    assertEquals((await Deno.readFile(path)).subarray(3 * 512, 5 * 512), pattern(2, 9));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

labTest(
  "a machine that is not started, or no machine of QEMU's, has no disks to look at",
  async () => {
    const idle = lab.vm("idle", "tiny");
    assertThrows(() => idle.disk("x"), StateError, "boot() it first");
    await assertRejects(() => idle.attachDisk({ id: "x", scratch: "1M" }), StateError, "boot()");
    const restore = setLabProviders({ vmm: () => vmmFor({ vmm: "local" }) });
    try {
      const local = await lab.vm("here", "tiny").boot();
      assertThrows(() => local.disk("x"), StateError, "run it by QEMU");
    } finally {
      restore();
    }
  },
);
