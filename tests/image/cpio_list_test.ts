import { assertEquals, assertRejects } from "@std/assert";
import { cpioBytes } from "../../src/image/_cpio.ts";
import { listCpio } from "../../src/image/_cpio_list.ts";
import { COMPRESS, tempDir } from "./objects.ts";

const content = new TextEncoder().encode("abc");
const FIRST = cpioBytes([{ type: "directory", path: "kernel" }]);
const SECOND = cpioBytes([
  { type: "file", path: "bin/tool", content, mode: 0o4755 },
  { type: "symlink", path: "bin/sh", target: "tool" },
]);
const EXPECTED = [
  { path: "kernel", type: "directory", mode: 0o755, target: undefined },
  { path: "bin/tool", type: "file", mode: 0o4755, target: undefined },
  { path: "bin/sh", type: "symlink", mode: 0o777, target: "tool" },
];

Deno.test("listCpio() reads archives one after another, with padding", async () => {
  const padded = new Uint8Array([...FIRST, ...new Uint8Array(512), ...SECOND]);
  assertEquals<unknown>(await listCpio(padded), EXPECTED);
});

Deno.test("listCpio() reads a compressed archive after a plain one", async (t) => {
  for (const name of ["gzip", "xz", "zstd"]) {
    await t.step(name, async () => {
      const packed = await COMPRESS[name]!(SECOND);
      assertEquals<unknown>(await listCpio(new Uint8Array([...FIRST, ...packed])), EXPECTED);
    });
  }
});

Deno.test("listCpio() reads what cpio wrote", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/etc`);
  await Deno.writeTextFile(`${dir.path}/etc/name`, "x", { mode: 0o600 });
  const child = new Deno.Command("sh", {
    args: ["-c", "find . | LC_ALL=C sort | cpio --quiet -o -H newc"],
    cwd: dir.path,
  });
  const entries = await listCpio((await child.output()).stdout);
  assertEquals(entries.slice(1).map(({ path, type }) => [path, type]), [
    ["etc", "directory"],
    ["etc/name", "file"],
  ]);
});

Deno.test("listCpio() refuses what is no archive", async (t) => {
  const rows: [string, Uint8Array, string][] = [
    ["text", content, "no cpio archive goes on at byte 0"],
    ["cut", SECOND.slice(0, 60), "cut off"],
    ["bad number", new TextEncoder().encode("070701" + "zzzzzzzz".repeat(13)), "cut off"],
  ];
  for (const [name, bytes, message] of rows) {
    await t.step(name, async () => {
      await assertRejects(() => listCpio(bytes), SyntaxError, message);
    });
  }
});
