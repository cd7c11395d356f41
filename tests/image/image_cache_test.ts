import { assertEquals, assertRejects } from "@std/assert";
import { cleanImages, listImages, resolveImage } from "../../src/image/mod.ts";
import { exists } from "../../src/image/_store.ts";
import { lockFile } from "../../src/host/mod.ts";
import { tempDir } from "./objects.ts";

const HOUR_MS = 3_600_000;

/** A cache with disk images `a`, `b` and `c`, last used three, two and one hours ago. */
async function cache() {
  const dir = await tempDir();
  const options = { root: dir.path, cacheDir: `${dir.path}/cache` };
  const images: Record<string, { disk: string }> = {};
  for (const name of ["a", "b", "c"]) {
    await Deno.writeFile(`${dir.path}/${name}.img`, new TextEncoder().encode(name.repeat(512)));
    images[name] = { disk: `${name}.img` };
  }
  for (const name of ["a", "b", "c"]) await resolveImage(name, { ...options, images });
  const found = await listImages(options);
  const byName = new Map(found.map((image) => [image.name, image]));
  for (const [index, name] of ["a", "b", "c"].entries()) {
    const then = new Date(Date.now() - (3 - index) * HOUR_MS);
    await Deno.utime(`${byName.get(name)!.dir}/image.json`, then, then);
  }
  const dirOf = (name: string) => byName.get(name)!.dir;
  const names = async () => (await listImages(options)).map(({ name }) => name);
  return { ...dir, options, images, dirOf, names, bytes: byName.get("a")!.bytes };
}

Deno.test("listImages() gives the last used first", async () => {
  await using dir = await cache();
  assertEquals(await dir.names(), ["c", "b", "a"]);
  await resolveImage("a", { ...dir.options, images: dir.images });
  assertEquals(await dir.names(), ["a", "c", "b"]);
});

Deno.test("listImages() finds nothing in a cache that is not there", async () => {
  await using dir = await tempDir();
  assertEquals(await listImages({ cacheDir: `${dir.path}/none` }), []);
});

Deno.test("cleanImages() removes what was not used for longest until the rest fits", async () => {
  await using dir = await cache();
  const result = await cleanImages({ cap: dir.bytes * 2 }, dir.options);
  assertEquals(result.removed, [dir.dirOf("a")]);
  assertEquals([result.freed, result.kept], [dir.bytes, dir.bytes * 2]);
  assertEquals(await dir.names(), ["c", "b"]);
});

Deno.test("cleanImages() keeps what was used a moment ago", async () => {
  await using dir = await cache();
  await resolveImage("a", { ...dir.options, images: dir.images });
  await cleanImages({ cap: 0 }, dir.options);
  assertEquals(await dir.names(), ["a"]);
});

Deno.test("cleanImages() keeps what is being built", async () => {
  await using dir = await cache();
  const path = dir.dirOf("a");
  const slash = path.lastIndexOf("/");
  {
    using _lock = await lockFile(`${path.slice(0, slash)}/.${path.slice(slash + 1)}.lock`);
    await cleanImages({ cap: 0 }, dir.options);
  }
  assertEquals(await dir.names(), ["a"]);
});

Deno.test("cleanImages() removes by name, and everything", async () => {
  await using dir = await cache();
  assertEquals((await cleanImages({ name: "b" }, dir.options)).removed, [dir.dirOf("b")]);
  await resolveImage("c", { ...dir.options, images: dir.images });
  assertEquals((await cleanImages({ all: true }, dir.options)).kept, 0);
  assertEquals(await dir.names(), []);
  assertEquals(await exists(dir.dirOf("c")), false);
  const left = await Array.fromAsync(Deno.readDir(`${dir.options.cacheDir}/images`));
  assertEquals(left, []);
});

Deno.test("cleanImages() sweeps what killed builders left, but not what is being built", async () => {
  await using dir = await cache();
  const root = `${dir.options.cacheDir}/images`;
  for (const name of ["dead-1", "busy-2"]) {
    await Deno.mkdir(`${root}/.${name}.tmp-00000000`);
    await Deno.writeTextFile(`${root}/.${name}.tmp-00000000/half`, "x");
    await Deno.writeTextFile(`${root}/.${name}.lock`, "");
  }
  const hidden = async () => {
    const entries = await Array.fromAsync(Deno.readDir(root));
    return entries.map(({ name }) => name).filter((name) => /dead|busy/.test(name)).toSorted();
  };
  {
    using _lock = await lockFile(`${root}/.busy-2.lock`);
    await cleanImages({}, dir.options);
    assertEquals(await hidden(), [".busy-2.lock", ".busy-2.tmp-00000000"]);
  }
  await cleanImages({}, dir.options);
  assertEquals(await hidden(), []);
  assertEquals(await dir.names(), ["c", "b", "a"]);
});

Deno.test("cleanImages() refuses unknown options", async () => {
  await assertRejects(
    () => cleanImages({ cpa: 3 } as Record<string, unknown>),
    TypeError,
    'Unknown option "cpa" for cleanImages(): did you mean "cap"?',
  );
});
