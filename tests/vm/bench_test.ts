/** The benchmark's cheapest rows, and its end by Ctrl-C. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { deadline } from "@std/async";
import type { Report } from "../bench/report.ts";
import { pause, processes } from "../../src/host/mod.ts";
import { makeTempDir } from "../host/_temp.ts";
import { DENO_FLAGS } from "../runner/_belljar.ts";
import { LIMIT_MS } from "./_vmm.ts";

function start(args: string[], root: string): Deno.ChildProcess {
  const entry = new URL("../bench/main.ts", import.meta.url).pathname;
  const cache = Deno.env.get("BELLJAR_CACHE_DIR") ?? `${Deno.env.get("HOME")}/.cache/belljar`;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-check", ...DENO_FLAGS, entry, "--quick", ...args],
    env: {
      XDG_RUNTIME_DIR: root,
      BELLJAR_CACHE_DIR: cache,
      BELLJAR_BIN: "",
      DENORT_BIN: "",
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function foldersIn(root: string): Promise<string[]> {
  return await Array.fromAsync(Deno.readDir(`${root}/belljar`), ({ name }) => name);
}

Deno.test("the benchmark measures rows, and tells why it does not measure others", async () => {
  await using root = await makeTempDir();
  const json = `${root.path}/report.json`;
  const child = start(["--json", json, "binary", "snapshot"], root.path);
  const { code, stdout, stderr } = await deadline(child.output(), LIMIT_MS);
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const { version, host, rows }: Report = JSON.parse(await Deno.readTextFile(json));
  assertEquals(version, 1);
  for (const fact of Object.values(host)) assert(fact !== "" && fact !== undefined);
  const table = new TextDecoder().decode(stdout);
  for (const { measure, result } of rows) assertStringIncludes(table, `| ${measure} | ${result} |`);
  const steps = rows.filter(({ id }) => id.startsWith("snapshot."));
  const others = rows.filter(({ id }) => !id.startsWith("snapshot."));
  assertEquals(others.map(({ id }) => id), ["binary.start", "binary.staging"]);
  for (const { notMeasured } of others) assertStringIncludes(notMeasured!, "no compiled belljar");
  assertEquals(steps.map(({ id }) => id), [
    "snapshot.template",
    "snapshot.save",
    "snapshot.settle",
    "snapshot.clone",
  ]);
  for (const { values } of steps) assert(Object.values(values).every((value) => value > 0));
  assertEquals(await foldersIn(root.path), []);
});

Deno.test("Ctrl-C ends the benchmark with everything that it started", async () => {
  await using root = await makeTempDir();
  const child = start(["snapshot"], root.path);
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const wait = async (words: string) => {
    while (!text.includes(words)) {
      const { value, done } = await deadline(reader.read(), LIMIT_MS);
      assert(!done, `it ended before it said "${words}": ${text}`);
      text += value;
    }
  };
  await wait("templates, each with a snapshot");
  child.kill("SIGINT");
  await wait("SIGINT: ending what was started");
  const { code } = await deadline(child.status, LIMIT_MS);
  reader.releaseLock();
  assertEquals([code, await new Response(child.stdout).text()], [130, ""]);
  // What was just being started as the signal came has a run of its own, which its guard ends a moment later.
  const giveUpAt = performance.now() + LIMIT_MS;
  while ((await foldersIn(root.path)).length > 0 && performance.now() < giveUpAt) await pause(10);
  assertEquals(await foldersIn(root.path), []);
  const left = await Promise.all(
    (await processes()).map(async ({ pid }) => {
      const words = await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => ""); // it has ended
      return words.includes(root.path) ? [words] : [];
    }),
  );
  assertEquals(left.flat(), []);
});
