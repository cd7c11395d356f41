import { assertEquals, assertRejects } from "@std/assert";
import { unpackImage } from "../../src/image/_embedded_image.ts";
import { buildContext, resolveImage } from "../../src/image/mod.ts";
import { filter, tempDir } from "./objects.ts";
import { fakeKernel } from "./objects.ts";

/** A folder as the program carries it: an image's record beside its compressed files. */
async function packed(
  dir: string,
): Promise<{ from: string; cacheDir: string; initrd: Uint8Array }> {
  await Deno.writeFile(`${dir}/bzImage`, await fakeKernel());
  await Deno.writeTextFile(`${dir}/agent`, "#!/bin/sh\n", { mode: 0o755 });
  const definition = { base: "tiny", kernel: "bzImage", modulesDir: dir } as const;
  const built = await resolveImage(definition, {
    root: dir,
    cacheDir: `${dir}/build`,
    agent: `${dir}/agent`,
  });
  const folder = built.kernel!.replace(/\/kernel$/, "");
  const from = `${dir}/embed`;
  await Deno.mkdir(from);
  await Deno.copyFile(`${folder}/image.json`, `${from}/image.json`);
  for (const name of ["kernel", "initrd.cpio"]) {
    const bytes = await Deno.readFile(`${folder}/${name}`);
    await Deno.writeFile(`${from}/${name}.gz`, await filter("gzip", ["-c"], bytes));
  }
  const initrd = await Deno.readFile(`${folder}/initrd.cpio`);
  return { from, cacheDir: `${dir}/cache`, initrd };
}

Deno.test("unpackImage() gives an image that is whole, once", async () => {
  await using dir = await tempDir();
  const { from, cacheDir, initrd } = await packed(dir.path);
  const steps: string[] = [];
  const context = await buildContext({ cacheDir, onProgress: (step) => void steps.push(step) });
  const image = await unpackImage(from, context);
  assertEquals(await Deno.readFile(image!.initrds[0]!), initrd);
  assertEquals(image!.initrds[0]!.startsWith(cacheDir), true);
  assertEquals(await unpackImage(from, context), image);
  assertEquals(steps.length, 1);
  assertEquals([...context.built], [image!.kernel!.replace(/\/kernel$/, "")]);
});

Deno.test("unpackImage() leaves nothing when a file is damaged", async () => {
  await using dir = await tempDir();
  const { from, cacheDir } = await packed(dir.path);
  await Deno.truncate(`${from}/kernel.gz`, 20);
  const context = await buildContext({ cacheDir });
  await assertRejects(() => unpackImage(from, context));
  const left = await Array.fromAsync(Deno.readDir(`${cacheDir}/images`));
  assertEquals(left.map(({ name }) => name).filter((name) => !name.endsWith(".lock")), []);
});

Deno.test("unpackImage() finds nothing where no image was embedded", async () => {
  await using dir = await tempDir();
  const context = await buildContext({ cacheDir: dir.path });
  assertEquals(await unpackImage(`${dir.path}/none`, context), undefined);
});
