import { assertEquals, assertRejects } from "@std/assert";
import { lockFile, tryLockFile, withFileLock } from "../../src/host/mod.ts";
import { makeTempDir } from "./_temp.ts";

Deno.test("withFileLock() runs one caller at a time", async () => {
  await using dir = await makeTempDir();
  let inside = 0;
  let most = 0;
  let done = 0;
  await Promise.all(Array.from({ length: 5 }, () =>
    withFileLock(`${dir.path}/lock`, async () => {
      most = Math.max(most, ++inside);
      await Deno.writeTextFile(`${dir.path}/x`, "x");
      inside--;
      done++;
    })));
  assertEquals({ most, done }, { most: 1, done: 5 });
});

Deno.test("lockFile() rejects with the reason of its signal, and holds nothing then", async () => {
  await using dir = await makeTempDir();
  const path = `${dir.path}/lock`;
  const held = await lockFile(path);
  const stop = new AbortController();
  let waited = 0;
  const waiting = lockFile(path, {
    signal: stop.signal,
    onWait: () => {
      waited++;
      stop.abort(new Error("enough"));
    },
  });
  await assertRejects(() => waiting, Error, "enough");
  assertEquals(waited, 1);
  held[Symbol.dispose]();
  using again = await tryLockFile(path);
  assertEquals(again?.path, path);
});

Deno.test("lockFile() takes over when the holder is killed", async () => {
  await using dir = await makeTempDir();
  const path = `${dir.path}/lock`;
  const module = import.meta.resolve("../../src/host/file_lock.ts");
  const holder = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--no-lock",
      `import { lockFile } from ${JSON.stringify(module)};
       await lockFile(${JSON.stringify(path)}); console.log("held"); setInterval(() => {}, 1e6);`,
    ],
    stdout: "piped",
  }).spawn();
  const reader = holder.stdout.getReader();
  await reader.read();
  assertEquals(await tryLockFile(path), undefined);
  holder.kill("SIGKILL");
  using lock = await lockFile(path, { signal: AbortSignal.timeout(30_000) });
  assertEquals(lock.path, path);
  await holder.status;
  await reader.cancel();
});

Deno.test("tryLockFile() does not take a file that was removed meanwhile", async () => {
  await using dir = await makeTempDir();
  assertEquals(await tryLockFile(`${dir.path}/none`), undefined);
});
