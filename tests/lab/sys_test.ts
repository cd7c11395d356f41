import { assertEquals, assertThrows } from "@std/assert";
import { sys } from "../../src/lab/mod.ts";

Deno.test("sys.nr() knows both architectures", () => {
  assertEquals([sys.nr("openat"), sys.nr("openat", "aarch64")], [257, 56]);
  assertEquals([sys.nr("clone3"), sys.nr("clone3", "aarch64")], [435, 435]);
  assertEquals([sys.nr("renameat", "aarch64"), sys.nr("fstat", "aarch64")], [38, 80]);
  assertEquals([sys.nr("mmap", "aarch64"), sys.nr("lseek", "aarch64")], [222, 62]);
});

Deno.test("sys.callName() is the inverse of sys.nr()", () => {
  for (const arch of ["x86_64", "aarch64"] as const) {
    for (const [name, nr] of Object.entries(sys.calls[arch])) {
      assertEquals(sys.nr(sys.callName(nr, arch)!, arch), sys.nr(name, arch));
    }
  }
});

Deno.test("sys.nr() names what is near, and where a call exists", () => {
  assertThrows(() => sys.nr("opennat"), RangeError, 'did you mean "openat"');
  assertThrows(() => sys.nr("open", "aarch64"), RangeError, "it exists on x86_64 only");
  assertThrows(() => sys.nr("open", "riscv64"), RangeError, 'Unknown architecture "riscv64"');
});

Deno.test("ioctl encoders agree with the numbers of the headers", () => {
  assertEquals(sys.iow("T", 0xca, 4), sys.ioctls.TUNSETIFF);
  assertEquals(sys.ior(0x12, 114, 8), sys.ioctls.BLKGETSIZE64);
  assertEquals(sys.iowr("X", 119, 4), sys.ioctls.FIFREEZE);
  assertEquals(sys.io(0x12, 119), sys.ioctls.BLKDISCARD);
  assertEquals(sys.ioctlParts(sys.ioctls.BLKGETSIZE64), {
    dir: "read",
    type: 0x12,
    nr: 114,
    size: 8,
  });
  assertThrows(() => sys.iow("TT", 1, 4), RangeError, "one character");
  assertThrows(() => sys.iow("T", 1, 2 ** 14), RangeError, "size of an ioctl");
});

Deno.test("sys.errno has numbers by name", () => {
  assertEquals([sys.errno.ENOENT, sys.errno.ENOSYS, sys.errnoName(2)], [2, 38, "ENOENT"]);
});

Deno.test("the tables of system calls agree with the headers of this machine", async () => {
  const script = new URL("../../scripts/generate_sys.ts", import.meta.url).pathname;
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-config", "--no-lock", script, "--check"],
  }).output();
  assertEquals(output.success, true, new TextDecoder().decode(output.stderr));
});
