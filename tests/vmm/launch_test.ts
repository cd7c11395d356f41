import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { BootError, HostError } from "../../src/errors.ts";
import { openRun } from "../../src/host/mod.ts";
import { agentBinary } from "../../src/image/mod.ts";
import { heapInLargePages, startQemu } from "../../src/vmm/qemu/launch.ts";
import { makeTempDir } from "../host/_temp.ts";

const AGENT = await agentBinary();

/** Starts a program in place of QEMU, which never connects. */
async function start(script: string, timeoutMs = 20_000, signal?: AbortSignal): Promise<unknown> {
  await using dir = await makeTempDir();
  await using run = await openRun({ root: dir.path, agentBinary: AGENT });
  const path = `${dir.path}/qemu`;
  await Deno.writeTextFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const machine = await run.machineDir();
  const options = { run, qemu: { path, version: "7.2.0" }, machine: "db", dir: machine };
  const failing = startQemu({ ...options, args: () => [], timeoutMs, signal });
  const error = await failing.then(() => undefined, (reason: unknown) => reason);
  // Its sockets are gone, and so is it: closing the run finds nothing to wait for.
  assertEquals(await Array.fromAsync(Deno.readDir(machine)), []);
  return error;
}

Deno.test("startQemu() tells why QEMU did not start, and what to do", async (t) => {
  const rows = [
    ["killed", "kill -9 $$", BootError, "QEMU_KILLED", "out-of-memory kill"],
    ["fails", "echo odd >&2; exit 1", BootError, "QEMU_FAILED", "odd"],
    ["memory", "echo cannot set up guest memory >&2; exit 1", HostError, "NO_MEMORY", "lower"],
    ["image", "echo could not load kernel >&2; exit 1", HostError, "IMAGE_UNREADABLE", "build"],
    ["kvm", "echo Could not access KVM kernel module >&2; exit 1", HostError, "KVM_REFUSED", "tcg"],
    [
      "address",
      "echo 'vhost-vsock: unable to set guest cid: Address already in use' >&2; exit 1",
      HostError,
      "CID_TAKEN",
      "another address",
    ],
    [
      "vsock",
      "echo 'vhost-vsock: failed to open vhost device: Permission denied' >&2; exit 1",
      HostError,
      "VSOCK_UNAVAILABLE",
      'transport "serial"',
    ],
    ["device", "echo x is not a valid device >&2; exit 1", HostError, "QEMU_UNSUITABLE", "install"],
  ] as const;
  for (const [name, script, type, code, text] of rows) {
    await t.step(name, async () => {
      const error = await start(script);
      assert(error instanceof type, String(error));
      assertEquals(error.code, code);
      assertStringIncludes(error.message, 'Cannot start machine "db"');
      assertStringIncludes(error.message, text);
      assertEquals(error.message.split("next:").length, 2);
    });
  }
});

Deno.test("startQemu() gives up a QEMU that says nothing, and ends it", async () => {
  const error = await start("sleep 300", 200);
  assert(error instanceof HostError);
  assertEquals(error.code, "QEMU_SILENT");
});

Deno.test("startQemu() ends by its signal, before and while it waits", async () => {
  const stop = new AbortController();
  const starting = start("sleep 300", 60_000, stop.signal);
  setTimeout(() => stop.abort(new Error("enough")), 100);
  assertEquals((await starting as Error).message, "enough");
  const error = await start("exit 0", 60_000, stop.signal);
  assertEquals((error as Error).message, "enough");
});

Deno.test("heapInLargePages() adds to what the user tunes, and never against it", async (t) => {
  const rows: [string, Record<string, string>][] = [
    ["", { GLIBC_TUNABLES: "glibc.malloc.hugetlb=1" }],
    ["glibc.malloc.check=3", {
      GLIBC_TUNABLES: "glibc.malloc.check=3:glibc.malloc.hugetlb=1",
    }],
    ["glibc.malloc.hugetlb=0", {}],
  ];
  for (const [given, expected] of rows) {
    await t.step(`GLIBC_TUNABLES=${given}`, () => {
      assertEquals(heapInLargePages(given), expected);
    });
  }
});
