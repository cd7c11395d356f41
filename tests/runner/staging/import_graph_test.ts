import { assertEquals, assertNotEquals } from "@std/assert";
import { importGraph } from "../../../src/runner/staging/mod.ts";
import { makeFolder } from "./_files.ts";

const FILES = {
  "t/a.test.ts": `import { test } from "belljar"; import { b } from "../lib/b.ts";
import type { Gone } from "../lib/types.ts"; import data from "./data.json" with { type: "json" };
import z from "npm:zod"; import { readFileSync } from "node:fs";
test(b, data, z, readFileSync); await import("./dynamic.ts");`,
  "t/data.json": "1",
  "t/dynamic.ts": 'import "./a.test.ts"; import "own";',
  "lib/b.ts": 'export * from "./c.js"; import { Type } from "./types.ts"; export let t: Type;',
  "lib/c.js": 'export const b = 1; import "./absent.js";',
  "lib/types.ts": "export type Type = 1;",
  "lib/own.ts": "export {}",
  "deno.json": '{ "imports": { "own": "./lib/own.ts" } }',
};

Deno.test("importGraph() finds what a file reaches at run time", async () => {
  await using folder = await makeFolder(FILES);
  const graph = await importGraph(folder.at("t/a.test.ts"), { cacheDir: folder.at("cache") });
  assertEquals(
    graph.files,
    ["lib/b.ts", "lib/c.js", "lib/own.ts", "t/a.test.ts", "t/data.json", "t/dynamic.ts"].map(
      folder.at,
    ),
  );
  assertEquals(graph.missing, [folder.at("lib/absent.js")]);
  assertEquals(graph.external, ["belljar", "node:fs", "npm:zod"]);
  assertEquals(graph.errors, []);
  assertEquals(graph.hasComputed, false);
});

Deno.test("importGraph() digests contents and names of all files", async (t) => {
  await using folder = await makeFolder(FILES);
  const entry = folder.at("t/a.test.ts");
  const { digest } = await importGraph(entry);
  assertEquals((await importGraph(entry)).digest, digest);
  const rows: [path: string, changes: boolean][] = [
    ["lib/own.ts", true],
    ["t/data.json", true],
    ["lib/types.ts", false],
  ];
  for (const [path, changes] of rows) {
    await t.step(path, async () => {
      const before = (await importGraph(entry)).digest;
      await Deno.writeTextFile(folder.at(path), " ", { append: true });
      const after = (await importGraph(entry)).digest;
      if (changes) assertNotEquals(after, before);
      else assertEquals(after, before);
    });
  }
});

Deno.test("importGraph() tells of files it cannot see through", async () => {
  await using folder = await makeFolder({
    "a.test.ts": 'import "./broken.ts"; const name: string = "./b.ts"; import(name);',
    "broken.ts": "let x: = 1;",
    "b.ts": "",
  });
  const graph = await importGraph(folder.at("a.test.ts"));
  assertEquals(graph.files, [folder.at("a.test.ts"), folder.at("broken.ts")]);
  assertEquals(graph.hasComputed, true);
  assertEquals(graph.errors.map(({ code, site }) => [code, site.line, site.column]), [
    ["SYNTAX", 1, 8],
  ]);
});
