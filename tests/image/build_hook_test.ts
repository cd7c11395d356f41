import { assertEquals, assertRejects } from "@std/assert";
import { ImageError } from "../../src/errors.ts";
import { type BuildHook, runBuildHook } from "../../src/image/mod.ts";
import { tempDir } from "./objects.ts";

const HOOK: BuildHook = {
  run: "cat input/* >output; echo run >>log",
  inputs: ["input"],
  outputs: ["output"],
};

async function project(): Promise<AsyncDisposable & { path: string; run: RunHook }> {
  const dir = await tempDir();
  await Deno.mkdir(`${dir.path}/input`);
  await Deno.writeTextFile(`${dir.path}/input/a`, "one");
  const context = {
    arch: "x86_64" as const,
    cacheDir: `${dir.path}/cache`,
    built: new Set<string>(),
  };
  const run: RunHook = (hook = HOOK) => runBuildHook("it", hook, dir.path, context);
  return { ...dir, run };
}
type RunHook = (hook?: BuildHook) => Promise<boolean>;

Deno.test("runBuildHook() runs once while its inputs are the same", async () => {
  await using dir = await project();
  assertEquals([await dir.run(), await dir.run(), await dir.run()], [true, false, false]);
  assertEquals(await Deno.readTextFile(`${dir.path}/output`), "one");
});

Deno.test("runBuildHook() runs again for each thing that it depends on", async (t) => {
  await using dir = await project();
  await dir.run();
  const changes: [string, () => Promise<void>][] = [
    ["content", () => Deno.writeTextFile(`${dir.path}/input/a`, "two")],
    ["mode", () => Deno.chmod(`${dir.path}/input/a`, 0o600)],
    ["new file", () => Deno.writeTextFile(`${dir.path}/input/b`, "")],
    ["name", () => Deno.rename(`${dir.path}/input/b`, `${dir.path}/input/c`)],
    ["link", () => Deno.symlink("a", `${dir.path}/input/d`)],
    ["output gone", () => Deno.remove(`${dir.path}/output`)],
  ];
  for (const [name, change] of changes) {
    await t.step(name, async () => {
      await change();
      assertEquals([await dir.run(), await dir.run()], [true, false]);
    });
  }
  await t.step("command", async () => {
    assertEquals(await dir.run({ ...HOOK, run: ["cp", "input/a", "output"] }), true);
  });
});

Deno.test("runBuildHook() calls a function with the folder", async () => {
  await using dir = await project();
  const run = (context: { dir: string }) => Deno.writeTextFile(`${context.dir}/output`, "made");
  assertEquals(await dir.run({ ...HOOK, run }), true);
  assertEquals(await Deno.readTextFile(`${dir.path}/output`), "made");
});

Deno.test("runBuildHook() shows why a build failed, and tries again", async () => {
  await using dir = await project();
  const error = await assertRejects(
    () => dir.run({ ...HOOK, run: "echo no space >&2; exit 7" }),
    ImageError,
  );
  assertEquals(
    error.message,
    'Cannot build the image "it": its build ended with 7\n' +
      "  actual:   no space\n" +
      `  next:     run it by hand in "${dir.path}": sh -c echo no space >&2; exit 7`,
  );
  assertEquals(await dir.run(), true);
});

Deno.test("runBuildHook() names a missing input and a missing output", async () => {
  await using dir = await project();
  await assertRejects(
    () => dir.run({ ...HOOK, inputs: ["nothing"] }),
    ImageError,
    `"${dir.path}/nothing" to exist`,
  );
  await assertRejects(
    () => dir.run({ ...HOOK, run: "true" }),
    ImageError,
    'it to make "output"',
  );
});

Deno.test("runBuildHook() runs one build at a time", async () => {
  await using dir = await project();
  const ran = await Promise.all([dir.run(), dir.run(), dir.run()]);
  assertEquals(ran.toSorted(), [false, false, true]);
});
