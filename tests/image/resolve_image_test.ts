import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { ImageError } from "../../src/errors.ts";
import { type ImageDefinition, listImages, resolveImage } from "../../src/image/mod.ts";
import { cpioBytes } from "../../src/image/_cpio.ts";
import { listCpio } from "../../src/image/_cpio_list.ts";
import { compileModule, fakeKernel, tempDir } from "./objects.ts";

/** A folder with everything that images are made of, but for what a distribution would give. */
async function project() {
  const dir = await tempDir();
  const root = dir.path;
  const write = (path: string, content: string | Uint8Array) =>
    typeof content === "string"
      ? Deno.writeTextFile(`${root}/${path}`, content)
      : Deno.writeFile(`${root}/${path}`, content);
  await write("bzImage", await fakeKernel());
  await Deno.mkdir(`${root}/modules/kernel`, { recursive: true });
  await write("modules/kernel/virtio_pci.ko", await compileModule({ depends: "" }));
  await write("modules/kernel/extra.ko", await compileModule({ depends: "virtio_pci" }));
  await write("initrd", cpioBytes([{ type: "symlink", path: "lib", target: "usr/lib" }]));
  await write("agent", "#!/bin/sh\n");
  await Deno.chmod(`${root}/agent`, 0o755);
  const options = { root, cacheDir: `${root}/cache`, agent: `${root}/agent` };
  return {
    ...dir,
    write,
    resolve: (definition: ImageDefinition) => resolveImage(definition, options),
    options,
  };
}

const INITRD: ImageDefinition = { kernel: "bzImage", modulesDir: "modules", initrd: "initrd" };

Deno.test("resolveImage() adds agent and modules to an initrd without changing it", async () => {
  await using dir = await project();
  const image = await dir.resolve({ ...INITRD, modules: ["extra"], cmdline: "debug" });
  assertEquals(
    [image.kind, image.agentIsInit, image.cmdline, image.kernelRelease],
    ["initrd", true, "debug", "6.1.0-test"],
  );
  assertEquals(image.initrds[0], `${dir.path}/initrd`);
  const added = await listCpio(await Deno.readFile(image.initrds[1]!));
  const files = added.filter(({ type }) => type === "file").map(({ path, mode }) => [path, mode]);
  const root = "usr/lib/modules/6.1.0-test";
  assertEquals(files, [
    ["init", 0o755],
    [`${root}/kernel/virtio_pci.ko`, 0o644],
    [`${root}/kernel/extra.ko`, 0o644],
    [`${root}/modules.dep`, 0o644],
    [`${root}/modules.alias`, 0o644],
    [`${root}/modules.builtin`, 0o644],
    ["etc/belljar/modules", 0o644],
  ]);
  assertEquals(added.some(({ path }) => path === "lib"), false);
});

Deno.test("resolveImage() leaves the initrd's own init in place if that is wanted", async () => {
  await using dir = await project();
  const image = await dir.resolve({ ...INITRD, init: "own" });
  assertEquals(image.agentIsInit, false);
  const added = await listCpio(await Deno.readFile(image.initrds[1]!));
  assertEquals(added.some(({ path }) => path === "init"), false);
  assert(added.some(({ path, mode }) => path === "usr/lib/belljar/agent" && mode === 0o755));
});

Deno.test("resolveImage() builds once, and again for each input that changes", async (t) => {
  await using dir = await project();
  const first = await dir.resolve(INITRD);
  assertEquals(await dir.resolve(INITRD), first);
  const changes: [string, () => Promise<unknown>, Partial<ImageDefinition>?][] = [
    ["cmdline", () => Promise.resolve(), { cmdline: "debug" }],
    ["init", () => Promise.resolve(), { init: "own" }],
    ["agent", () => dir.write("agent", "#!/bin/true\n")],
    ["initrd", () => dir.write("initrd", cpioBytes([]))],
    ["kernel", async () => dir.write("bzImage", new Uint8Array([...await fakeKernel(), 7]))],
  ];
  const digests = new Set([first.digest]);
  for (const [name, change, more] of changes) {
    await t.step(name, async () => {
      await change();
      const image = await dir.resolve({ ...INITRD, ...more } as ImageDefinition);
      assertEquals(digests.has(image.digest), false);
      digests.add(image.digest);
    });
  }
});

Deno.test("resolveImage() makes an image anew whose files were damaged", async () => {
  await using dir = await project();
  const image = await dir.resolve(INITRD);
  const whole = await Deno.readFile(image.initrds[1]!);
  await Deno.truncate(image.initrds[1]!, 100);
  assertEquals((await dir.resolve(INITRD)).initrds, image.initrds);
  assertEquals(await Deno.readFile(image.initrds[1]!), whole);
});

Deno.test("resolveImage() gives a disk as it is, with the format of its bytes", async () => {
  await using dir = await project();
  await dir.write("raw.img", new Uint8Array(4096));
  await dir.write("some.qcow2", new Uint8Array([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]));
  const raw = await dir.resolve({ disk: "raw.img" });
  assertEquals([raw.kind, raw.kernel, raw.initrds, raw.agentIsInit], [
    "disk",
    undefined,
    [],
    false,
  ]);
  assertEquals(raw.disk, { path: `${dir.path}/raw.img`, format: "raw" });
  assertEquals((await dir.resolve({ disk: "some.qcow2" })).disk?.format, "qcow2");
  assertEquals((await dir.resolve({ disk: "some.qcow2", format: "raw" })).disk?.format, "raw");
  const withKernel = await dir.resolve({ disk: "raw.img", kernel: "bzImage", initrd: "initrd" });
  assert(withKernel.kernel?.endsWith("/vmlinux"), withKernel.kernel);
  assertEquals(withKernel.initrds, [`${dir.path}/initrd`]);
});

Deno.test("resolveImage() reads kernel arguments from a file", async () => {
  await using dir = await project();
  await dir.write("cmdline", "# a comment\nquiet debug\n\n  foo=bar\n");
  const image = await dir.resolve({ ...INITRD, cmdlineFile: "cmdline" });
  assertEquals(image.cmdline, "quiet debug foo=bar");
});

Deno.test("resolveImage() runs the build of a definition before it looks at files", async () => {
  await using dir = await project();
  const definition: ImageDefinition = {
    ...INITRD,
    initrd: "made",
    build: { run: "cp initrd made; echo x >>runs", inputs: ["initrd"], outputs: ["made"] },
  };
  await dir.resolve(definition);
  await dir.resolve(definition);
  assertEquals(await Deno.readTextFile(`${dir.path}/runs`), "x\n");
});

Deno.test("resolveImage() says what is wrong, and with what", async (t) => {
  await using dir = await project();
  await dir.write("text", "this is no kernel, ".repeat(100));
  await dir.write("empty", "");
  await dir.write("raw", new Uint8Array(512));
  const rows: [ImageDefinition, string][] = [
    [{ ...INITRD, kernel: "gone" }, `Cannot read the kernel "${dir.path}/gone"`],
    [{ ...INITRD, kernel: "text" }, `Cannot start the kernel "${dir.path}/text"`],
    [{ ...INITRD, modulesDir: "gone" }, `Cannot read the kernel modules in "${dir.path}/gone"`],
    [{ ...INITRD, modules: ["extre"] }, 'Cannot find the kernel module "extre"'],
    [{ ...INITRD, initrd: ["initrd", "gone"] }, `Cannot read the initrd "${dir.path}/gone"`],
    [{ ...INITRD, cmdlineFile: "gone" }, "Cannot read the kernel arguments"],
    [{ kernel: "bzImage", rootfs: "gone" }, `Cannot read the root file system "${dir.path}/gone"`],
    [{ disk: "gone" }, `Cannot read the disk "${dir.path}/gone"`],
    [{ disk: "empty" }, "it is empty"],
    [{ disk: "raw", format: "qcow2" }, "its first bytes are not those of one"],
  ];
  for (const [definition, message] of rows) {
    await t.step(message, async () => {
      await assertRejects(() => dir.resolve(definition), ImageError, message);
    });
  }
  const images = await listImages(dir.options);
  assertEquals(images, []);
});

Deno.test("resolveImage() names the images that there are", async () => {
  const error = await assertRejects(
    () => resolveImage("debain", { images: { debian: { rootfs: "x" } } }),
    ImageError,
  );
  assertEquals(
    error.message,
    'Cannot find the image "debain"\n' +
      '  expected: one of "tiny", "debian"\n' +
      '  next:     write "debian", if that was meant',
  );
  assertEquals(error.code, "NO_IMAGE");
  await assertRejects(() => resolveImage("constructor"), ImageError, 'the image "constructor"');
});

Deno.test("resolveImage() tells what may be wrong in notes", async () => {
  await using dir = await project();
  await dir.write("odd", "not an archive");
  const image = await dir.resolve({ ...INITRD, initrd: "odd" });
  assertEquals(image.notes.length, 2);
  assert(image.notes[0]?.includes("it cannot be listed"), image.notes[0]);
  assert(image.notes[1]?.includes("lacks the modules virtio_console"), image.notes[1]);
});

Deno.test("resolveImage() prefers a kernel that the caller gives", async () => {
  await using dir = await project();
  await dir.write("other", new Uint8Array([...await fakeKernel(), 1]));
  const own = await dir.resolve(INITRD);
  const other = await resolveImage(INITRD, {
    ...dir.options,
    kernel: { kernel: `${dir.path}/other`, modules: `${dir.path}/modules` },
  });
  assertNotEquals(other.digest, own.digest);
});

Deno.test("resolveImage() takes a kernel that the environment names, but for disks", async () => {
  await using dir = await project();
  await dir.write("other", new Uint8Array([...await fakeKernel(), 2]));
  await dir.write("raw.img", new Uint8Array(4096));
  Deno.env.set("BELLJAR_KERNEL", `${dir.path}/other`);
  try {
    assertEquals((await dir.resolve(INITRD)).parts[0]?.origin, `${dir.path}/other`);
    assertEquals((await dir.resolve({ disk: "raw.img" })).kernel, undefined);
  } finally {
    Deno.env.delete("BELLJAR_KERNEL");
  }
  assertEquals((await dir.resolve(INITRD)).parts[0]?.origin, `${dir.path}/bzImage`);
});
