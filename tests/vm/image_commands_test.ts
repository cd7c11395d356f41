import { assertEquals, assertStringIncludes } from "@std/assert";
import { buildContext, distributionKernel } from "../../src/image/mod.ts";
import { tempDir } from "../image/objects.ts";

const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);

async function run(program: string, args: string[], cwd: string) {
  const command = new Deno.Command(program, { args, cwd, stdin: "null", env: { NO_COLOR: "1" } });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Runs `belljar` from source in a folder. */
async function belljar(cwd: string, ...args: string[]) {
  const deps = ["run", "-A", "-q", "--no-config", "--no-lock", `${ROOT}scripts/deps.ts`];
  const flags = (await run(Deno.execPath(), deps, "/")).stdout.trim().split(" ").filter(Boolean);
  const config = ["run", "-A", "-q", `--config=${ROOT}deno.json`, ...flags, `${ROOT}main.ts`];
  return await run(Deno.execPath(), [...config, ...args], cwd);
}

Deno.test("belljar exec starts an image of the configuration", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(
    `${dir.path}/belljar.config.ts`,
    `import { defineConfig } from "belljar";
    export default defineConfig({
      images: { own: { base: "tiny", modules: ["dummy"], cmdline: "belljar.own=1" } },
    });`,
  );
  const command = "grep -o belljar.own=1 /proc/cmdline; grep -c ^dummy /proc/modules";
  const result = await belljar(dir.path, "exec", "own", "--", "sh", "-c", command);
  assertEquals([result.code, result.stdout], [0, "belljar.own=1\n1\n"], result.stderr);
});

Deno.test("belljar exec starts another kernel by --kernel", async () => {
  await using dir = await tempDir();
  const kernel = await distributionKernel(await buildContext());
  await Deno.copyFile(kernel.path, `${dir.path}/vmlinux`);
  const args = ["--kernel", "vmlinux", "--modules", kernel.modulesDir!, "--cold", "tiny"];
  const result = await belljar(dir.path, "exec", ...args, "--", "uname", "-r");
  assertEquals([result.code, result.stdout], [0, `${kernel.release}\n`], result.stderr);
});

Deno.test("belljar exec says what is wrong with an image, with exit code 3", async () => {
  await using dir = await tempDir();
  const result = await belljar(dir.path, "exec", "tini", "--", "true");
  assertEquals(result.code, 3, result.stderr);
  assertStringIncludes(result.stderr, 'write "tiny", if that was meant');
});
