import { assertEquals, assertRejects } from "@std/assert";
import { ImageError } from "../../src/errors.ts";
import { modulesAlias, modulesDep, ModuleTree } from "../../src/image/modules.ts";
import { compileModule, COMPRESS, tempDir } from "./objects.ts";

const TREE: Record<string, Record<string, string | string[]>> = {
  "kernel/drivers/virtio/virtio_ring.ko": { depends: "" },
  "kernel/drivers/virtio/virtio.ko": { depends: "virtio_ring" },
  "kernel/drivers/virtio/virtio_pci.ko": {
    depends: "virtio,virtio_ring",
    alias: ["pci:v00001AF4d*sv*sd*bc*sc*i*", "virtio-pci"],
  },
  "kernel/drivers/char/hw_random/virtio-rng.ko": { depends: "virtio,rng-core" },
};

async function makeTree(dir: string, tree = TREE): Promise<void> {
  for (const [path, info] of Object.entries(tree)) {
    await Deno.mkdir(`${dir}/${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true });
    await Deno.writeFile(`${dir}/${path}`, await compileModule(info));
  }
  await Deno.writeTextFile(`${dir}/modules.builtin`, "kernel/drivers/char/hw_random/rng-core.ko\n");
}

Deno.test("ModuleTree.resolve() puts each module after all that it needs", async () => {
  await using dir = await tempDir();
  await makeTree(dir.path);
  const tree = await ModuleTree.open(dir.path);
  const modules = await tree.resolve(["virtio-rng", "virtio_pci"]);
  assertEquals(modules.map(({ name }) => name), [
    "virtio_ring",
    "virtio",
    "virtio_rng",
    "virtio_pci",
  ]);
});

Deno.test("ModuleTree.find() knows files, built-in modules and neither", async () => {
  await using dir = await tempDir();
  await makeTree(dir.path);
  const tree = await ModuleTree.open(dir.path);
  assertEquals(tree.find("virtio-pci"), "file");
  assertEquals(tree.find("rng_core"), "builtin");
  assertEquals(tree.find("ext4"), undefined);
  assertEquals(await tree.resolve(["rng-core"]), []);
});

Deno.test("ModuleTree unpacks compressed modules", async (t) => {
  const module = await compileModule({ depends: "" });
  for (const [suffix, name] of [["gz", "gzip"], ["xz", "xz"], ["zst", "zstd"]] as const) {
    await t.step(suffix, async () => {
      await using dir = await tempDir();
      const packed = await COMPRESS[name]!(module);
      await Deno.writeFile(`${dir.path}/m.ko.${suffix}`, packed);
      const [loaded] = await (await ModuleTree.open(dir.path)).resolve(["m"]);
      assertEquals(loaded?.path, "m.ko");
      assertEquals(loaded?.bytes, module);
    });
  }
});

Deno.test("ModuleTree.resolve() names a missing module and the nearest one", async () => {
  await using dir = await tempDir();
  await makeTree(dir.path);
  const tree = await ModuleTree.open(dir.path);
  const error = await assertRejects(() => tree.resolve(["virtio_pcl"]), ImageError);
  assertEquals(
    error.message,
    `Cannot find the kernel module "virtio_pcl" in "${dir.path}"\n` +
      `  next:     write "virtio_pci", if that was meant`,
  );
  assertEquals(await tree.resolve(["virtio_pcl"], { optional: true }), []);
});

Deno.test("ModuleTree.resolve() names who needs a missing module", async () => {
  await using dir = await tempDir();
  await makeTree(dir.path, { "a.ko": { depends: "gone" } });
  const tree = await ModuleTree.open(dir.path);
  await assertRejects(() => tree.resolve(["a"]), ImageError, `as "a" needs it`);
});

Deno.test("ModuleTree.resolve() refuses modules that need each other", async () => {
  await using dir = await tempDir();
  await makeTree(dir.path, { "a.ko": { depends: "b" }, "b.ko": { depends: "a" } });
  const tree = await ModuleTree.open(dir.path);
  await assertRejects(() => tree.resolve(["a"]), ImageError, '"a" needs "b" needs "a"');
});

Deno.test("ModuleTree.resolve() names the file that is no module", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/bad.ko`, "not an ELF file");
  const tree = await ModuleTree.open(dir.path);
  await assertRejects(() => tree.resolve(["bad"]), ImageError, `${dir.path}/bad.ko`);
});

Deno.test("ModuleTree.open() says what a missing folder should be", async () => {
  const error = await assertRejects(() => ModuleTree.open("/no/such/folder"), ImageError);
  assertEquals(error.message.split("\n")[0], 'Cannot read the kernel modules in "/no/such/folder"');
});

Deno.test("ModuleTree.resolve() stops with the reason of its signal", async () => {
  await using dir = await tempDir();
  await makeTree(dir.path);
  const tree = await ModuleTree.open(dir.path);
  const reason = new Error("enough");
  const signal = AbortSignal.abort(reason);
  assertEquals(await tree.resolve(["virtio"], { signal }).catch((error) => error), reason);
  assertEquals((await tree.resolve(["virtio"])).length, 2);
});

Deno.test("modulesDep() lists what is needed with the first to load last", async () => {
  await using dir = await tempDir();
  await makeTree(dir.path);
  const modules = await (await ModuleTree.open(dir.path)).resolve(["virtio_pci"]);
  const folder = "kernel/drivers/virtio";
  assertEquals(modulesDep(modules).split("\n"), [
    `${folder}/virtio_ring.ko:`,
    `${folder}/virtio.ko: ${folder}/virtio_ring.ko`,
    `${folder}/virtio_pci.ko: ${folder}/virtio.ko ${folder}/virtio_ring.ko`,
    "",
  ]);
  assertEquals(
    modulesAlias(modules),
    "alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\nalias virtio-pci virtio_pci\n",
  );
});
