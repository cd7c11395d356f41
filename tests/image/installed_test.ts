import { assertEquals } from "@std/assert";
import { tempDir } from "./objects.ts";

const IMAGE = new URL("../../src/image/mod.ts", import.meta.url).href;

/** Evaluates an expression in a process whose PATH has only a `belljar` that runs the given script. */
async function withInstalled(dir: string, belljar: string, expression: string): Promise<string> {
  const bin = `${dir}/bin`;
  await Deno.mkdir(`${dir}/lists/partial`, { recursive: true });
  await Deno.mkdir(bin);
  await Deno.writeTextFile(`${bin}/belljar`, `#!/bin/sh\n${belljar}`, { mode: 0o755 });
  // Package lists that were never fetched: apt finds nothing.
  await Deno.writeTextFile(
    `${dir}/apt.conf`,
    `Dir::State::Lists "${dir}/lists";\nDir::Cache "${dir}";\nDir::State::status "/dev/null";\n`,
  );
  await Deno.writeTextFile(
    `${dir}/script.ts`,
    `import { agentBinary, resolveImage } from ${JSON.stringify(IMAGE)};
    const show = (error: Error & { code?: string }) => error.code;
    console.log(await (${expression}).catch(show));`,
  );
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-config", "--no-lock", `${dir}/script.ts`],
    env: {
      PATH: bin,
      HOME: Deno.env.get("HOME") ?? "/",
      APT_CONFIG: `${dir}/apt.conf`,
      BELLJAR_CACHE_DIR: `${dir}/cache`,
    },
    clearEnv: true,
  }).output();
  return new TextDecoder().decode(stdout).trim();
}

/** Answers just one question, as long as it is marked as one. */
const answer = (question: string, text: string) =>
  `[ "$*" = "image path ${question}" ] && [ -n "$BELLJAR_ASKED" ] && echo '${text}'\n`;

Deno.test("the agent comes from a belljar on PATH where there are no sources", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/empty`);
  await Deno.writeTextFile(`${dir.path}/agent`, "");
  const expression = `agentBinary({ sources: "${dir.path}/empty" })`;
  const belljar = answer("agent", `${dir.path}/agent`);
  assertEquals(await withInstalled(dir.path, belljar, expression), `${dir.path}/agent`);
});

const TINY =
  `(Deno.env.set("BELLJAR_AGENT", "/bin/sh"), resolveImage("tiny").then((i) => i.initrds[0]))`;

Deno.test("tiny comes from a belljar on PATH where there is no kernel", async () => {
  await using dir = await tempDir();
  const file = `${dir.path}/file`;
  await Deno.writeTextFile(file, "");
  const image = { v: 1, name: "tiny", arch: Deno.build.arch, kernel: file, initrds: [file] };
  const belljar = answer("tiny --json", JSON.stringify(image));
  assertEquals(await withInstalled(dir.path, belljar, TINY), file);
});

Deno.test("an image of a belljar on PATH is not used unless it can be", async (t) => {
  const image = {
    v: 1,
    name: "tiny",
    arch: Deno.build.arch,
    kernel: "/bin/sh",
    initrds: ["/bin/sh"],
  };
  const rows: [string, unknown][] = [
    ["missing file", { ...image, initrds: ["/no/such/file"] }],
    ["other architecture", { ...image, arch: "riscv64" }],
    ["other version", { ...image, v: 2 }],
    ["no image", []],
  ];
  for (const [name, given] of rows) {
    await t.step(name, async () => {
      await using dir = await tempDir();
      const belljar = answer("tiny --json", JSON.stringify(given));
      assertEquals(await withInstalled(dir.path, belljar, TINY), "NO_KERNEL");
    });
  }
});

Deno.test("a belljar on PATH that has none leaves the error as it was", async () => {
  await using dir = await tempDir();
  assertEquals(await withInstalled(dir.path, "exit 3\n", TINY), "NO_KERNEL");
});
