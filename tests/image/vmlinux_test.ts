import { assertEquals, assertStringIncludes } from "@std/assert";
import { extractVmlinux, kernelFormat, kernelRelease } from "../../src/image/vmlinux.ts";
import { bzImage, compileC, COMPRESS, KERNEL_LINK, KERNEL_SOURCE, PVH_NOTE } from "./objects.ts";

/** Appends the size of what was packed, as the kernel's build does for all but gzip. */
function withSize(packed: Uint8Array, size: number): Uint8Array {
  const result = new Uint8Array(packed.length + 4);
  result.set(packed);
  new DataView(result.buffer).setUint32(packed.length, size, true);
  return result;
}

Deno.test("extractVmlinux() unpacks each compression that kernels use", async (t) => {
  const vmlinux = await compileC(PVH_NOTE + KERNEL_SOURCE, KERNEL_LINK);
  for (const [name, compress] of Object.entries(COMPRESS)) {
    await t.step(name, async () => {
      const packed = await compress(vmlinux);
      const payload = name !== "gzip" ? withSize(packed, vmlinux.length) : packed;
      const result = await extractVmlinux(bzImage(payload));
      assertEquals(result.reason, undefined);
      assertEquals(result.vmlinux, vmlinux);
    });
  }
});

Deno.test("extractVmlinux() says why a kernel stays as it is", async (t) => {
  const plain = await compileC(KERNEL_SOURCE, KERNEL_LINK);
  const rows: [string, Uint8Array, string][] = [
    ["no bzImage", new Uint8Array(2000), "no bzImage"],
    ["no PVH note", bzImage(await COMPRESS.gzip!(plain)), "no PVH entry"],
    ["no ELF file", bzImage(await COMPRESS.gzip!(new Uint8Array(100))), "no PVH entry"],
    ["damaged", bzImage(new Uint8Array([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 9, 9])), "is damaged"],
    ["unknown", bzImage(new Uint8Array(64)), "unknown compression"],
    ["cut off", bzImage(new Uint8Array(64)).subarray(0, 1050), "outside the file"],
    ["huge", bzImage(withSize(new Uint8Array([2, 0x21, 0x4c, 0x18]), 0xf000_0000)), "claims"],
  ];
  for (const [name, bytes, reason] of rows) {
    await t.step(name, async () => {
      const result = await extractVmlinux(bytes);
      assertEquals(result.vmlinux, undefined);
      assertStringIncludes(result.reason ?? "", reason);
    });
  }
});

Deno.test("kernelRelease() reads the version from a bzImage's header", () => {
  assertEquals(kernelRelease(bzImage(new Uint8Array(64))), "6.1.0-test");
  assertEquals(kernelRelease(new Uint8Array(4096)), undefined);
});

Deno.test("kernelRelease() finds the banner of an uncompressed kernel, wherever it is", async (t) => {
  const banner = new TextEncoder().encode("Linux version 6.9.0-own+ (me@here) (gcc) #1");
  for (const at of [0, 100, 4 * 1024 * 1024 - 20, 9_000_001]) {
    await t.step(`at ${at}`, () => {
      const bytes = new Uint8Array(10_000_000).fill(0x80);
      bytes.set(banner, at);
      assertEquals(kernelRelease(bytes), "6.9.0-own+");
    });
  }
});

Deno.test("kernelFormat() tells ELF files and bzImages from others", () => {
  assertEquals(kernelFormat(bzImage(new Uint8Array(64))), "bzImage");
  assertEquals(kernelFormat(new Uint8Array([0x7f, 0x45, 0x4c, 0x46])), "vmlinux");
  assertEquals(kernelFormat(new Uint8Array(4096)), "other");
});
