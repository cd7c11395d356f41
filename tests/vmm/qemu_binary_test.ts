import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { HostError } from "../../src/errors.ts";
import { findQemu } from "../../src/vmm/mod.ts";
import { compareVersions } from "../../src/vmm/qemu/binary.ts";
import { makeTempDir } from "../host/_temp.ts";

async function program(dir: string, name: string, script: string): Promise<string> {
  const path = `${dir}/${name}`;
  await Deno.writeTextFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

Deno.test("findQemu() finds the one on PATH", async () => {
  const { path, version } = await findQemu({ path: "qemu-system-x86_64" });
  assertStringIncludes(path, "/qemu-system-x86_64");
  assertEquals(compareVersions(version, "7.2"), Math.max(0, compareVersions(version, "7.2")));
});

Deno.test("findQemu() refuses what cannot be used, and says what to do", async (t) => {
  await using dir = await makeTempDir();
  const old = await program(dir.path, "old", "echo QEMU emulator version 6.2.0 '(Debian)'");
  const other = await program(dir.path, "other", "echo not that one; exit 1");
  const rows = [
    [`${dir.path}/none`, "QEMU_MISSING"],
    ["belljar-no-such-qemu", "QEMU_MISSING"],
    [old, "QEMU_TOO_OLD"],
    [other, "QEMU_BROKEN"],
  ] as const;
  for (const [path, code] of rows) {
    await t.step(`${path.split("/").at(-1)} is ${code}`, async () => {
      const error = await assertRejects(() => findQemu({ path }), HostError);
      assertEquals(error.code, code);
      assertStringIncludes(error.message, "next:");
    });
  }
});

Deno.test("compareVersions() compares numbers", () => {
  assertEquals(compareVersions("10.0.0", "7.2.22"), 1);
  assertEquals(compareVersions("7.2", "7.2.0"), 0);
  assertEquals(compareVersions("7.2.0", "7.10"), -1);
});
