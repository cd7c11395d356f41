import { assertEquals, assertThrows } from "@std/assert";
import { type BootFile, bootFilesCpio, SECRET_PATH } from "../../src/image/mod.ts";
import { listCpio } from "../../src/image/_cpio_list.ts";
import { layoutOf } from "../../src/image/_layout.ts";

const content = new TextEncoder().encode("x");

async function listed(files: BootFile[], layout?: ReturnType<typeof layoutOf>): Promise<string[]> {
  const entries = await listCpio(bootFilesCpio(files, { layout }));
  return entries.map(({ path, type, mode }) => `${path} ${type} ${mode.toString(8)}`);
}

Deno.test("bootFilesCpio() makes parents, with the modes of well-known folders", async () => {
  const files = [
    { path: SECRET_PATH, content, mode: 0o400 },
    { path: "/tmp/data/a", content },
  ];
  assertEquals(await listed(files), [
    "etc directory 755",
    "etc/belljar directory 700",
    "tmp directory 1777",
    "tmp/data directory 755",
    "etc/belljar/secret file 400",
    "tmp/data/a file 644",
  ]);
});

Deno.test("bootFilesCpio() leaves the image's folders alone and follows its links", async () => {
  const layout = layoutOf([
    { type: "directory", path: "home" },
    { type: "directory", path: "usr" },
    { type: "directory", path: "usr/lib" },
    { type: "symlink", path: "lib", target: "usr/lib" },
    { type: "symlink", path: "usr/lib/deep", target: "../../home" },
    { type: "symlink", path: "etc/name", target: "elsewhere" },
  ]);
  const files = ["/home/a", "/lib/b", "/lib/deep/c", "/etc/name"].map((path) => ({
    path,
    content,
  }));
  assertEquals(await listed(files, layout), [
    "etc directory 755",
    "home/a file 644",
    "usr/lib/b file 644",
    "home/c file 644",
    "etc/name file 644",
  ]);
});

Deno.test("bootFilesCpio() puts files for a real root file system into its folder", async () => {
  const files = [{ path: SECRET_PATH, content, mode: 0o400 }, { path: "/etc/motd", content }];
  const layout = { folders: ["etc", "etc/belljar"], links: {}, prefix: "belljar-files" };
  assertEquals(await listed(files, layout), [
    "belljar-files directory 755",
    "belljar-files/etc directory 755",
    "etc/belljar/secret file 400",
    "belljar-files/etc/motd file 644",
  ]);
});

Deno.test("bootFilesCpio() takes the last of files with the same path", async () => {
  const files = [{ path: "/a", content, mode: 0o600 }, { path: "//a", content, mode: 0o640 }];
  assertEquals(await listed(files), ["a file 640"]);
});

Deno.test("bootFilesCpio() refuses paths that cannot be right", async (t) => {
  const rows: [string, string[]][] = [
    ["expected a full path", ["etc/motd"]],
    ['contains ".."', ["/etc/../motd"]],
    ["names no entry", ["/"]],
    ["both as a file and as a folder", ["/etc", "/etc/motd"]],
  ];
  for (const [message, paths] of rows) {
    await t.step(message, () => {
      const files = paths.map((path) => ({ path, content }));
      assertThrows(() => bootFilesCpio(files), TypeError, message);
    });
  }
});

Deno.test("bootFilesCpio() refuses links that lead in a circle", () => {
  const layout = layoutOf([{ type: "symlink", path: "a", target: "/a" }]);
  assertThrows(() => bootFilesCpio([{ path: "/a/b", content }], { layout }), TypeError, "circle");
});

Deno.test("bootFilesCpio() keeps 20 MiB and nothing at all", async () => {
  const big = { path: "/big", content: new Uint8Array(20 * 1024 * 1024) };
  const none = { path: "/none", content: new Uint8Array() };
  assertEquals(await listed([big, none]), ["big file 644", "none file 644"]);
});
