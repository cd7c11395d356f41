import { assertEquals, assertThrows } from "@std/assert";
import { archivePath, cpioBytes, type CpioEntry } from "../../src/image/_cpio.ts";

const text = (value: string) => new TextEncoder().encode(value);

async function cpio(args: string[], archive: Uint8Array, cwd?: string): Promise<string> {
  const child = new Deno.Command("cpio", {
    args,
    cwd,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(archive);
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  assertEquals(success, true, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

const ENTRIES: CpioEntry[] = [
  { type: "directory", path: "/tmp", mode: 0o1777 },
  { type: "directory", path: "bin" },
  { type: "file", path: "bin/tool", content: text("#!/bin/sh\n"), mode: 0o4755, uid: 3, gid: 4 },
  { type: "file", path: "empty", content: new Uint8Array() },
  { type: "file", path: "päth with spaces", content: text("12345"), mode: 0o400 },
  { type: "symlink", path: "bin/sh", target: "tool" },
  { type: "char", path: "null", major: 1, minor: 3, mode: 0o666 },
  { type: "block", path: "disk", major: 254, minor: 16 },
];

Deno.test("cpioBytes() writes what cpio lists, with modes, owners and devices", async () => {
  const list = await cpio(["-tv", "--numeric-uid-gid"], cpioBytes(ENTRIES));
  const rows = list.trim().split("\n").map((line) => {
    const [mode, , uid, gid, ...rest] = line.split(/\s+/);
    return [mode, uid, gid, rest.join(" ").replace(/Jan\s+1\s+1970 /, "")];
  });
  assertEquals(rows, [
    ["drwxrwxrwt", "0", "0", "0 tmp"],
    ["drwxr-xr-x", "0", "0", "0 bin"],
    ["-rwsr-xr-x", "3", "4", "10 bin/tool"],
    ["-rw-r--r--", "0", "0", "0 empty"],
    ["-r--------", "0", "0", "5 päth with spaces"],
    ["lrwxrwxrwx", "0", "0", "4 bin/sh -> tool"],
    ["crw-rw-rw-", "0", "0", "1, 3 null"],
    ["brw-------", "0", "0", "254, 16 disk"],
  ]);
});

Deno.test("cpioBytes() writes what cpio extracts byte for byte", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const random = crypto.getRandomValues(new Uint8Array(4097));
    const files = ENTRIES.filter(({ type }) => type !== "char" && type !== "block");
    await cpio(
      ["-i", "--quiet", "--no-preserve-owner"],
      cpioBytes([...files, { type: "file", path: "odd", content: random }]),
      dir,
    );
    assertEquals(await Deno.readFile(`${dir}/odd`), random);
    assertEquals(await Deno.readTextFile(`${dir}/päth with spaces`), "12345");
    assertEquals(await Deno.readLink(`${dir}/bin/sh`), "tool");
    assertEquals((await Deno.stat(`${dir}/tmp`)).mode! & 0o7777, 0o1777);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("cpioBytes() gives the same bytes for the same entries", () => {
  assertEquals(cpioBytes(ENTRIES), cpioBytes(ENTRIES));
});

Deno.test("cpioBytes() aligns each archive to four bytes, so that they can be concatenated", () => {
  for (let length = 0; length < 9; length++) {
    const entry: CpioEntry = { type: "file", path: "a".repeat(length + 1), content: text("x") };
    assertEquals(cpioBytes([entry]).length % 4, 0, `name of ${length + 1} bytes`);
  }
});

Deno.test("cpioBytes() refuses what the format cannot hold", async (t) => {
  const content = new Uint8Array();
  const rows: [string, CpioEntry, typeof TypeError | typeof RangeError][] = [
    ["..", { type: "file", path: "a/../b", content }, TypeError],
    ["nothing", { type: "file", path: "/", content }, TypeError],
    ["NUL", { type: "file", path: "a\0b", content }, TypeError],
    ["mode", { type: "file", path: "a", content, mode: 0o10000 }, RangeError],
    ["NaN mode", { type: "file", path: "a", content, mode: NaN }, RangeError],
    ["uid", { type: "file", path: "a", content, uid: -1 }, RangeError],
    ["name", { type: "file", path: "a".repeat(4096), content }, RangeError],
  ];
  for (const [name, entry, kind] of rows) {
    await t.step(name, () => void assertThrows(() => cpioBytes([entry]), kind, "Cannot archive"));
  }
});

Deno.test("archivePath() strips slashes and dots", () => {
  assertEquals(archivePath("//etc/./belljar//modules"), "etc/belljar/modules");
});
