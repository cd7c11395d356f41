import { assertEquals, assertThrows } from "@std/assert";
import { startSpec } from "../../src/lab/run_options.ts";
import { openFlags } from "../../src/lab/open_flags.ts";
import { workerRequest } from "../../src/lab/worker_options.ts";
import { machineSpec } from "../../src/lab/boot_options.ts";

Deno.test("startSpec() gives text to the shell, and arguments to the program itself", () => {
  assertEquals(startSpec("echo $A", {}).argv, ["/bin/sh", "-c", "echo $A"]);
  const { argv, command } = startSpec("dd", { args: ["if=a b", "of=it's"] });
  assertEquals(argv, ["dd", "if=a b", "of=it's"]);
  assertEquals(command, "dd 'if=a b' 'of=it'\\''s'");
});

Deno.test("startSpec() turns limits, user and terminal into what the agent takes", () => {
  const spec = startSpec("x", { limits: { nofile: 7, as: "64M", core: "unlimited" }, user: 5 });
  assertEquals(spec.limits, [[7n, 7n], [9n, 67108864n], [4n, 2n ** 64n - 1n]]);
  assertEquals(spec.user, "5");
  assertEquals(startSpec("x", { pty: true }).pty, { cols: 80, rows: 24 });
});

Deno.test("openFlags() are those of open(2)", async (t) => {
  const CLOEXEC_NOCTTY = 0o2000400;
  const rows: [object, number][] = [
    [{ read: true }, 0],
    [{ write: true }, 1],
    [{ read: true, write: true }, 2],
    [{ append: true }, 0o2001],
    [{ write: true, create: true, truncate: true }, 0o1101],
    [{ read: true, append: true, createNew: true }, 0o2302],
  ];
  for (const [options, flags] of rows) {
    await t.step(JSON.stringify(options), () => {
      assertEquals(openFlags(options, "x86_64"), flags | CLOEXEC_NOCTTY);
      assertEquals(openFlags(options, "aarch64"), flags | CLOEXEC_NOCTTY);
    });
  }
  assertThrows(() => openFlags({ read: true }, "riscv64"), TypeError, "riscv64");
});

Deno.test("workerRequest() knows capabilities and namespaces by name", () => {
  const { caps, unshare, env } = workerRequest({
    caps: ["chown", "CAP_SYS_ADMIN", 40],
    unshare: ["user", "net"],
    env: { A: "b" },
  });
  assertEquals([caps, unshare], [[0, 21, 40], 0x50000000]);
  assertEquals(new TextDecoder().decode(env![0]), "A=b");
});

Deno.test("machineSpec() fills in defaults and reads sizes, times and disks", async () => {
  const spec = await machineSpec({
    memory: "1G",
    time: 5,
    disks: [{ id: "a", scratch: "1M" }, { id: "b", template: "/x.qcow2", readonly: true }],
    files: [{ path: "/a", content: "x" }],
  });
  assertEquals([spec.memoryBytes, spec.cpus, spec.timeMs, spec.expect], [
    2 ** 30,
    1,
    5000,
    "agent",
  ]);
  assertEquals(spec.disks, [
    { id: "a", source: { kind: "scratch", bytes: 2 ** 20 }, readonly: false },
    { id: "b", source: { kind: "template", path: "/x.qcow2", format: "qcow2" }, readonly: true },
  ]);
  assertEquals(spec.files, [{ path: "/a", mode: 0o644, content: new Uint8Array([120]) }]);
});
