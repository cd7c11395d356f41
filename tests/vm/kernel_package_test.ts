import { assert, assertEquals } from "@std/assert";
import { buildContext, distributionKernel, kernelFromPaths } from "../../src/image/mod.ts";
import { ModuleTree } from "../../src/image/modules.ts";
import { hasPvhEntry } from "../../src/image/vmlinux.ts";
import { hasProgram, tempDir } from "../image/objects.ts";

const hasApt = await hasProgram("apt-get");

Deno.test({
  name: "distributionKernel() fetches a kernel once, unpacks it, and knows it from then on",
  ignore: !hasApt,
  async fn() {
    await using dir = await tempDir();
    const steps: string[] = [];
    const context = await buildContext({
      cacheDir: dir.path,
      onProgress: (step) => void steps.push(step),
    });
    const [kernel, same] = await Promise.all([
      distributionKernel(context),
      distributionKernel(context),
    ]);
    assertEquals(same, kernel);
    assertEquals(steps.filter((step) => step.startsWith("fetching")).length >= 1, true);
    assertEquals(steps.filter((step) => step === "unpacking the kernel").length, 1);
    assertEquals(kernel.notes, []);
    assert(hasPvhEntry(await Deno.readFile(kernel.path)));
    const tree = await ModuleTree.open(kernel.modulesDir!);
    assert(tree.find("virtio_console") !== undefined);

    steps.length = 0;
    assertEquals(await distributionKernel(context), kernel);
    assertEquals(steps, []);

    // A part that was damaged is made anew, from the package.
    await Deno.truncate(kernel.path, 1000);
    assertEquals(await distributionKernel(context), kernel);
    assert(hasPvhEntry(await Deno.readFile(kernel.path)));
  },
});

Deno.test("distributionKernel() names every way when there is none", async () => {
  await using dir = await tempDir();
  const script = `
    import { buildContext, distributionKernel } from ${
    JSON.stringify(new URL("../../src/image/mod.ts", import.meta.url).href)
  };
    try { await distributionKernel(await buildContext()); }
    catch (error) { console.log(error.code + "\\n" + error.message); }
  `;
  await Deno.writeTextFile(`${dir.path}/script.ts`, script);
  // An empty folder of package lists, as on a machine on which \`apt-get update\` never ran.
  await Deno.mkdir(`${dir.path}/lists/partial`, { recursive: true });
  await Deno.writeTextFile(
    `${dir.path}/apt.conf`,
    `Dir::State::Lists "${dir.path}/lists";\nDir::Cache "${dir.path}";\n` +
      `Dir::State::status "/dev/null";\n`,
  );
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-config", "--no-lock", `${dir.path}/script.ts`],
    env: { BELLJAR_CACHE_DIR: `${dir.path}/cache`, APT_CONFIG: `${dir.path}/apt.conf` },
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(text.split("\n")[0], "NO_KERNEL", new TextDecoder().decode(stderr));
  for (const way of ["apt-get update", "linux-image-", "/boot/vmlinuz-", "belljar.config.ts"]) {
    assert(text.includes(way), `${way} in ${text}`);
  }
});

Deno.test("kernels are not looked for once the signal has aborted", async () => {
  await using dir = await tempDir();
  const reason = new Error("enough");
  const context = await buildContext({ cacheDir: dir.path, signal: AbortSignal.abort(reason) });
  const errors = await Promise.allSettled([
    kernelFromPaths({ kernel: "/no/kernel" }, context),
    distributionKernel(context),
  ]);
  assertEquals(errors.map((error) => error.status === "rejected" && error.reason), [
    reason,
    reason,
  ]);
});
