import { assert, assertEquals } from "@std/assert";
import { TranspileCache } from "../../../src/runner/staging/_cache.ts";
import { type SourceFile, transpile } from "../../../src/runner/staging/_transpile.ts";
import { makeFolder } from "./_files.ts";

const FILE: SourceFile = {
  url: "file:///a.ts",
  text: 'import "./b.ts"; export const a: string = import.meta.url;',
  language: "typescript",
};

async function filesIn(path: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(path)) {
    const inner = `${path}/${entry.name}`;
    found.push(...(entry.isDirectory ? await filesIn(inner) : [inner]));
  }
  return found;
}

Deno.test("TranspileCache makes an entry once, and gives it back whole", async () => {
  await using folder = await makeFolder();
  let made = 0;
  const make = () => {
    made++;
    return transpile(FILE);
  };
  const first = await new TranspileCache(folder.path).get(FILE, make);
  const second = await new TranspileCache(folder.path).get(FILE, make);
  assertEquals(made, 1);
  assertEquals(JSON.stringify(second), JSON.stringify(first));
});

Deno.test("TranspileCache tells text and language apart, not paths", async () => {
  await using folder = await makeFolder();
  const cache = new TranspileCache(folder.path);
  const made: string[] = [];
  const get = (name: string, change: Partial<SourceFile>) =>
    cache.get({ ...FILE, ...change }, () => {
      made.push(name);
      return transpile(FILE);
    });
  await get("original", {});
  await get("other path", { url: "file:///b.ts" });
  await get("other language", { language: "javascript" });
  await get("other text", { text: "export {}" });
  assertEquals(made, ["original", "other language", "other text"]);
});

Deno.test("TranspileCache makes a damaged entry again", async (t) => {
  const rows = ["", "{", "null", '{"code":1}', '{"code":"","mappings":""}'];
  for (const damage of rows) {
    await t.step(JSON.stringify(damage), async () => {
      await using folder = await makeFolder();
      const cache = new TranspileCache(folder.path);
      const whole = await cache.get(FILE, () => transpile(FILE));
      const [path] = await filesIn(folder.path);
      await Deno.writeTextFile(path!, damage);
      const again = await cache.get(FILE, () => transpile(FILE));
      assertEquals(JSON.stringify(again), JSON.stringify(whole));
      assertEquals(JSON.parse(await Deno.readTextFile(path!)).code, whole.code);
    });
  }
});

Deno.test("TranspileCache leaves whole, private entries when many write at once", async () => {
  await using folder = await makeFolder();
  const results = await Promise.all(
    Array.from(
      { length: 20 },
      () => new TranspileCache(folder.path).get(FILE, () => transpile(FILE)),
    ),
  );
  assertEquals(new Set(results.map((result) => JSON.stringify(result))).size, 1);
  const files = await filesIn(folder.path);
  assertEquals(files.length, 1);
  assertEquals((await Deno.stat(files[0]!)).mode! & 0o777, 0o600);
});

Deno.test("TranspileCache does without a folder that cannot be written", async () => {
  await using folder = await makeFolder({ "file": "" });
  const made = await new TranspileCache(folder.at("file")).get(FILE, () => transpile(FILE));
  assert(made.code.includes("import.meta.url"));
});
