import { assertEquals, assertRejects } from "@std/assert";
import { HostError } from "../../src/errors.ts";
import { cachePath, ensureOwnedDir } from "../../src/host/mod.ts";
import { makeTempDir } from "./_temp.ts";

Deno.test("cachePath() follows the environment", async (t) => {
  const rows: [Record<string, string>, string][] = [
    [{ BELLJAR_CACHE_DIR: "/c/", XDG_CACHE_HOME: "/x", HOME: "/h" }, "/c"],
    [{ XDG_CACHE_HOME: "/x", HOME: "/h" }, "/x/belljar"],
    [{ XDG_CACHE_HOME: "relative", HOME: "/h" }, "/h/.cache/belljar"],
    [{ HOME: "/h" }, "/h/.cache/belljar"],
    [{ TMPDIR: "/t" }, "/t/belljar-cache-7"],
    [{}, "/tmp/belljar-cache-7"],
  ];
  for (const [env, expected] of rows) {
    await t.step(JSON.stringify(env), () => {
      assertEquals(cachePath({ env: (name) => env[name], uid: 7 }), expected);
    });
  }
});

Deno.test("ensureOwnedDir() makes a private folder and closes an open one", async () => {
  await using dir = await makeTempDir();
  await ensureOwnedDir(`${dir.path}/a/b`);
  assertEquals((await Deno.stat(`${dir.path}/a/b`)).mode! & 0o777, 0o700);
  await Deno.mkdir(`${dir.path}/open`);
  await Deno.chmod(`${dir.path}/open`, 0o777);
  await ensureOwnedDir(`${dir.path}/open`);
  assertEquals((await Deno.stat(`${dir.path}/open`)).mode! & 0o777, 0o700);
});

Deno.test("ensureOwnedDir() refuses a link and a file", async () => {
  await using dir = await makeTempDir();
  await Deno.symlink("/etc", `${dir.path}/link`);
  await Deno.writeTextFile(`${dir.path}/file`, "");
  for (const name of ["link", "file"]) {
    await assertRejects(() => ensureOwnedDir(`${dir.path}/${name}`), HostError, name);
  }
});
