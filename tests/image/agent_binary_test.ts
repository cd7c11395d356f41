import { assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { BelljarError, ImageError } from "../../src/errors.ts";
import { agentBinary } from "../../src/image/mod.ts";
import { tempDir } from "./objects.ts";

const MAIN = `#include "part.h"\nint main(void)\n{\n\treturn part();\n}\n`;
const PART = `#include "part.h"\nint part(void)\n{\n\treturn 42;\n}\n`;
const HEADER = "int part(void);\n";

async function sources(dir: string, files: Record<string, string> = {}): Promise<string> {
  await Deno.mkdir(`${dir}/src`, { recursive: true });
  const all = { "main.c": MAIN, "part.c": PART, "part.h": HEADER, ...files };
  for (const [name, text] of Object.entries(all)) {
    await Deno.writeTextFile(`${dir}/src/${name}`, text);
  }
  return `${dir}/src`;
}

async function exitCode(path: string): Promise<number> {
  return (await new Deno.Command(path).output()).code;
}

Deno.test("agentBinary() builds a static program once per content of its sources", async () => {
  await using dir = await tempDir();
  const steps: string[] = [];
  const options = {
    cacheDir: `${dir.path}/cache`,
    sources: await sources(dir.path, { "part_test.c": "no C", "part_fuzz.c": "no C" }),
    onProgress: (step: string) => void steps.push(step),
  };
  const path = await agentBinary(options);
  assertEquals(await exitCode(path), 42);
  const { code } = await new Deno.Command("sh", {
    args: ["-c", `od -An -c ${path} | grep -q "l   d   -   l   i   n   u   x"`],
  }).output();
  assertEquals(code, 1, "a static program names no loader");
  assertEquals(steps.length, 2);
  assertEquals(await agentBinary(options), path);
  assertEquals(steps.length, 2);

  await sources(dir.path, { "part.h": "int part(void); /* changed */\n" });
  const second = await agentBinary(options);
  assertNotEquals(second, path);
  const names = (await Array.fromAsync(Deno.readDir(second.replace(/\/[^/]*$/, "")))).map(
    ({ name }) => name,
  );
  assertEquals(names, ["belljar-agent"]);
});

Deno.test("agentBinary() with sanitize builds a program that reports undefined behaviour", async () => {
  await using dir = await tempDir();
  const overflow = `#include "part.h"\nint part(void)\n{\n\tvolatile int a = 2147483647;\n` +
    `\ta += 1;\n\treturn 0;\n}\n`;
  const path = await agentBinary({
    cacheDir: `${dir.path}/cache`,
    sources: await sources(dir.path, { "part.c": overflow }),
    sanitize: true,
  });
  const output = await new Deno.Command(path).output();
  assertEquals(output.success, false);
  assertMatch(new TextDecoder().decode(output.stderr), /signed integer overflow/);
});

Deno.test("agentBinary() shows what the compiler says", async () => {
  await using dir = await tempDir();
  const options = {
    cacheDir: `${dir.path}/cache`,
    sources: await sources(dir.path, { "part.c": `int part(void) { return "text"; }\n` }),
  };
  const error = await assertRejects(() => agentBinary(options), ImageError);
  assertMatch(error.message, /^Cannot compile "part\.c" of the agent\n {2}actual: .*part\.c/);
});

Deno.test("agentBinary() refuses a name that is no program", async (t) => {
  await using dir = await tempDir();
  await Deno.writeTextFile(`${dir.path}/text`, "x");
  const rows = [["missing", "No such file"], ["text", "no executable file"]] as const;
  for (const [name, message] of rows) {
    await t.step(name, async () => {
      const error = await assertRejects(
        () => agentBinary({ agent: `${dir.path}/${name}` }),
        BelljarError,
        message,
      );
      assertEquals(error.code, "NO_AGENT");
    });
  }
});

Deno.test("agentBinary() names all ways when there is none", async () => {
  await using dir = await tempDir();
  const empty = `${dir.path}/empty`;
  await Deno.mkdir(empty);
  const script = `
    import { agentBinary } from ${
    JSON.stringify(new URL("../../src/image/agent_binary.ts", import.meta.url).href)
  };
    try { await agentBinary({ sources: ${JSON.stringify(empty)} }); }
    catch (error) { console.log(error.message); }
  `;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-config", "--no-lock", script],
    env: { PATH: empty, BELLJAR_CACHE_DIR: `${dir.path}/cache`, HOME: Deno.env.get("HOME") ?? "/" },
    clearEnv: true,
  }).output();
  const message = new TextDecoder().decode(stdout);
  for (const way of ["BELLJAR_AGENT", "sources", "`belljar` on PATH"]) {
    assertEquals(message.includes(way), true, `${way} in ${message}`);
  }
});
