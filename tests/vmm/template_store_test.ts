import { assert, assertEquals, assertRejects } from "@std/assert";
import { drawSecret } from "../../src/vmm/identity.ts";
import { makeRamFile } from "../../src/vmm/qemu/ram_file.ts";
import { ENTRY_FILES, readEntry, sealEntry } from "../../src/vmm/qemu/state_entry.ts";
import { TemplateStore } from "../../src/vmm/qemu/template_store.ts";
import { makeTempDir } from "../host/_temp.ts";

const RAM_BYTES = 4 * 1024 * 1024;
const FACTS = {
  memoryBytes: RAM_BYTES,
  cpus: 1,
  cmdline: "",
  kernelRelease: "6.1",
  hasInitrd: false,
  imageDigest: "0",
  qemu: "7.2.0",
  buildMs: 1,
};

/** Fills a folder with an entry whose content is made up: the store looks at checksums only. */
async function build(dir: string, text = "state"): Promise<void> {
  await makeRamFile(`${dir}/${ENTRY_FILES.ram}`, RAM_BYTES);
  using ram = await Deno.open(`${dir}/${ENTRY_FILES.ram}`, { write: true });
  await ram.write(new TextEncoder().encode("a guest's memory"));
  await Deno.writeTextFile(`${dir}/${ENTRY_FILES.state}`, text);
  await Deno.writeTextFile(`${dir}/${ENTRY_FILES.console}`, "console");
  const auth = drawSecret();
  await sealEntry(dir, FACTS, { auth, bootSecret: auth.secret });
}

async function names(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name).toSorted();
}

async function age(path: string, seconds: number): Promise<void> {
  const then = new Date(Date.now() - seconds * 1000);
  await Deno.utime(path, then, then);
}

Deno.test("TemplateStore builds an entry once, also for stores that come later", async () => {
  await using dir = await makeTempDir();
  let builds = 0;
  const get = (store: TemplateStore) =>
    store.get("a", async (fresh) => {
      builds++;
      await build(fresh);
    });
  const store = new TemplateStore({ dir: dir.path, capBytes: 1e9 });
  const results = await Promise.all([get(store), get(store), get(store)]);
  assertEquals(results.map(({ built }) => built).toSorted(), [false, false, true]);
  const later = await get(new TemplateStore({ dir: dir.path, capBytes: 1e9 }));
  assertEquals([builds, later.built], [1, false]);
  assertEquals(new TextDecoder().decode(later.entry.state), "state");
  assertEquals(later.entry.auth.secret.length, 32);
});

Deno.test("TemplateStore leaves nothing of a build that fails, and others may try again", async () => {
  await using dir = await makeTempDir();
  const store = new TemplateStore({ dir: dir.path, capBytes: 1e9 });
  const failing = store.get("a", async (fresh) => {
    await Deno.writeTextFile(`${fresh}/half`, "");
    throw new Error("no luck");
  });
  await assertRejects(() => failing, Error, "no luck");
  assertEquals(await names(dir.path), ["a.lock"]);
  assertEquals((await store.get("a", build)).built, true);
});

Deno.test("TemplateStore waits for a builder of another process until its signal", async () => {
  await using dir = await makeTempDir();
  const store = new TemplateStore({ dir: dir.path, capBytes: 1e9 });
  const building = Promise.withResolvers<void>();
  const first = store.get("a", async (fresh) => {
    await building.promise;
    await build(fresh);
  });
  const other = new TemplateStore({ dir: dir.path, capBytes: 1e9 });
  const stop = new AbortController();
  const second = other.get("a", build, stop.signal);
  stop.abort(new Error("enough"));
  await assertRejects(() => second, Error, "enough");
  building.resolve();
  assertEquals((await first).built, true);
});

Deno.test("TemplateStore evicts what was used longest ago, but nothing of the last minute", async () => {
  await using dir = await makeTempDir();
  const large = new TemplateStore({ dir: dir.path, capBytes: 1e9 });
  for (const key of ["a", "b", "c"]) await large.get(key, build);
  const small = new TemplateStore({ dir: dir.path, capBytes: 1.5 * RAM_BYTES });
  assertEquals(await small.evict(), []);
  await age(`${dir.path}/a/used`, 1000);
  await age(`${dir.path}/b/used`, 3000);
  await age(`${dir.path}/c/used`, 2000);
  assertEquals(await small.evict(), ["b", "c"]);
  assertEquals((await names(dir.path)).filter((name) => !name.endsWith(".lock")), ["a"]);
});

Deno.test("TemplateStore replaces an entry that others mark as used all the time", async () => {
  await using dir = await makeTempDir();
  const path = `${dir.path}/a`;
  let isOver = false;
  const marks = (async () => {
    while (!isOver) {
      await Deno.writeTextFile(`${path}/used`, "").catch(() => {}); // between two entries
      await new Promise((resolve) => setTimeout(resolve, 0)); // on Deno 2.7 such a loop lets no timer fire
    }
  })();
  try {
    for (let round = 0; round < 30; round++) {
      const store = new TemplateStore({ dir: dir.path, capBytes: 1e9 });
      const { built } = await store.get("a", (fresh) => build(fresh, `state ${round}`));
      assert(built);
      await Deno.truncate(`${path}/manifest.json`, 40);
    }
  } finally {
    isOver = true;
    await marks;
  }
  assertEquals(await names(dir.path), ["a", "a.lock"]);
});

Deno.test("TemplateStore builds anew what a power loss has left under a whole name", async (t) => {
  const files = Object.values(ENTRY_FILES).filter((name) =>
    !["initrd", "root.qcow2", "secret", "console.log"].includes(name)
  );
  for (const name of files) {
    for (const [how, damage] of [["truncated", cut], ["zeroed", zero]] as const) {
      await t.step(`${name} ${how}`, async () => {
        await using dir = await makeTempDir();
        const open = () => new TemplateStore({ dir: dir.path, capBytes: 1e9 });
        await open().get("a", build);
        await damage(`${dir.path}/a/${name}`);
        const { entry, built } = await open().get("a", (fresh) => build(fresh, "again"));
        assertEquals([built, new TextDecoder().decode(entry.state)], [true, "again"]);
        assertEquals(await names(dir.path), ["a", "a.lock"]);
      });
    }
  }
});

async function cut(path: string): Promise<void> {
  await Deno.truncate(path, 0);
}

/** As file systems leave a file whose size was written, and its content was not. */
async function zero(path: string): Promise<void> {
  const { size } = await Deno.stat(path);
  await Deno.truncate(path, 0);
  await Deno.truncate(path, size);
}

Deno.test("readEntry() finds every kind of damage", async (t) => {
  const rows: [string, (dir: string) => Promise<unknown>][] = [
    ["state changed", (dir) => Deno.writeTextFile(`${dir}/state`, "other")],
    ["state missing", (dir) => Deno.remove(`${dir}/state`)],
    ["memory cut", (dir) => Deno.truncate(`${dir}/ram`, RAM_BYTES - 4096)],
    ["memory overwritten", async (dir) => {
      using file = await Deno.open(`${dir}/ram`, { write: true });
      await file.write(new TextEncoder().encode("written by a guest"));
    }],
    ["memory missing", (dir) => Deno.remove(`${dir}/ram`)],
    ["manifest cut", (dir) => Deno.truncate(`${dir}/manifest.json`, 40)],
    ["manifest missing", (dir) => Deno.remove(`${dir}/manifest.json`)],
    ["secrets missing", (dir) => Deno.remove(`${dir}/secrets.json`)],
    ["secrets damaged", (dir) => Deno.writeTextFile(`${dir}/secrets.json`, '{"secret":"*"}')],
  ];
  for (const [name, damage] of rows) {
    await t.step(name, async () => {
      await using dir = await makeTempDir();
      await build(dir.path);
      const whole = await readEntry(dir.path);
      assert(whole && !("damage" in whole));
      await damage(dir.path);
      const found = await readEntry(dir.path);
      assert(found && "damage" in found, "it was taken for whole");
    });
  }
  assertEquals(await readEntry("/nowhere/entry"), undefined);
});
