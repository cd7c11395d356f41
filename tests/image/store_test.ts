import { assert, assertEquals, assertRejects } from "@std/assert";
import { exists, publish, writeFileAtomic } from "../../src/image/_store.ts";
import { tempDir } from "./objects.ts";

const STORE = new URL("../../src/image/_store.ts", import.meta.url).href;

Deno.test("publish() builds an entry once for many callers", async () => {
  await using dir = await tempDir();
  let builds = 0;
  const build = async (tmp: string) => {
    builds += 1;
    await Deno.writeTextFile(`${tmp}/file`, "whole");
  };
  await Promise.all(Array.from({ length: 8 }, () => publish(`${dir.path}/entry`, build)));
  assertEquals(builds, 1);
  assertEquals(await Deno.readTextFile(`${dir.path}/entry/file`), "whole");
});

Deno.test("publish() leaves nothing when the build fails", async () => {
  await using dir = await tempDir();
  const failure = new Error("no");
  const build = async (tmp: string) => {
    await Deno.writeTextFile(`${tmp}/file`, "half");
    throw failure;
  };
  const error = await publish(`${dir.path}/entry`, build).catch((error) => error);
  assertEquals(error, failure);
  const names = (await Array.fromAsync(Deno.readDir(dir.path))).map(({ name }) => name);
  assertEquals(names, [".entry.lock"]);
});

Deno.test("publish() uses nothing of a builder that was killed, and cleans up after it", async () => {
  await using dir = await tempDir();
  const entry = `${dir.path}/entry`;
  const script = `
    import { publish } from ${JSON.stringify(STORE)};
    await publish(${JSON.stringify(entry)}, async (tmp) => {
      await Deno.writeTextFile(tmp + "/file", "half");
      console.log("building");
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    });
  `;
  await Deno.writeTextFile(`${dir.path}/builder.ts`, script);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-config", "--no-lock", `${dir.path}/builder.ts`],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read(); // it says that it is building
  const waited: string[] = [];
  const ours = publish(entry, (tmp) => Deno.writeTextFile(`${tmp}/file`, "whole"), {
    onWait: () => {
      waited.push("waiting");
      child.kill("SIGKILL");
    },
  });
  await ours;
  await reader.cancel();
  await child.status;
  assertEquals(waited, ["waiting"]);
  assertEquals(await Deno.readTextFile(`${entry}/file`), "whole");
  const names = (await Array.fromAsync(Deno.readDir(dir.path))).map(({ name }) => name).toSorted();
  assertEquals(names, [".entry.lock", "builder.ts", "entry"]);
});

Deno.test("publish() makes an entry anew that is not whole", async () => {
  await using dir = await tempDir();
  const entry = `${dir.path}/entry`;
  await Deno.mkdir(entry);
  await Deno.writeTextFile(`${entry}/old`, "damaged");
  await publish(entry, (tmp) => Deno.writeTextFile(`${tmp}/new`, "whole"), {
    isWhole: (dir) => exists(`${dir}/new`),
  });
  assertEquals(await exists(`${entry}/old`), false);
  assertEquals(await Deno.readTextFile(`${entry}/new`), "whole");
});

Deno.test("publish() ends its wait with the reason of its signal", async () => {
  await using dir = await tempDir();
  const entry = `${dir.path}/entry`;
  const release = Promise.withResolvers<void>();
  const building = Promise.withResolvers<void>();
  const first = publish(entry, () => {
    building.resolve();
    return release.promise;
  });
  await building.promise;
  const controller = new AbortController();
  const reason = new Error("enough");
  const second = publish(entry, () => Promise.reject(new Error("built twice")), {
    signal: controller.signal,
    onWait: () => controller.abort(reason),
  });
  assertEquals(await second.catch((error) => error), reason);
  release.resolve();
  await first;
  assert(await exists(entry));
});

Deno.test("publish() does not keep what an aborted build made", async () => {
  await using dir = await tempDir();
  const controller = new AbortController();
  const build = () => Promise.resolve(controller.abort(new Error("enough")));
  const options = { signal: controller.signal };
  await assertRejects(() => publish(`${dir.path}/entry`, build, options), Error, "enough");
  assertEquals(await exists(`${dir.path}/entry`), false);
});

Deno.test("publish() names the setting when the cache cannot be written", async () => {
  await assertRejects(
    () => publish("/proc/no/entry", () => Promise.resolve()),
    Error,
    "BELLJAR_CACHE_DIR",
  );
});

Deno.test("writeFileAtomic() replaces a file and leaves no other", async () => {
  await using dir = await tempDir();
  await writeFileAtomic(`${dir.path}/file`, "one");
  await writeFileAtomic(`${dir.path}/file`, "two");
  assertEquals(await Deno.readTextFile(`${dir.path}/file`), "two");
  assertEquals((await Array.fromAsync(Deno.readDir(dir.path))).length, 1);
});
