import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import {
  importTestFile,
  originalPosition,
  stage,
  StagingError,
} from "../../../src/runner/staging/mod.ts";
import { makeFolder } from "./_files.ts";

/** Imports a file the way the binary does; what it stored in `globalThis.result` is the result. */
async function run(files: Record<string, string>, entry = "a.test.ts"): Promise<unknown> {
  await using folder = await makeFolder(files);
  Reflect.deleteProperty(globalThis, "result");
  await importTestFile(folder.at(entry), { dir: folder.at(".stage"), staged: true });
  const { result } = globalThis as { result?: unknown };
  // The folder's name is drawn anew each time.
  return JSON.parse(JSON.stringify(result ?? null).replaceAll(folder.path, ""));
}

Deno.test("importTestFile() runs what TypeScript adds to JavaScript", async (t) => {
  const rows: [name: string, source: string, result: unknown][] = [
    ["enums", "enum E { A, B = 'b', C = 4 } globalThis.result = [E.A, E.B, E.C, E[0]];", [
      0,
      "b",
      4,
      "A",
    ]],
    ["changed enums", "enum E { A } (E as any).A = 7; globalThis.result = E.A;", 7],
    ["const enums", "const enum E { A = 3 } globalThis.result = E.A;", 3],
    [
      "namespaces",
      "namespace N { export const a = 1; export namespace M { export const b = 2; } }\nglobalThis.result = [N.a, N.M.b];",
      [1, 2],
    ],
    [
      "type namespaces",
      "namespace N { export type A = 1 } let a: N.A = 1; globalThis.result = a;",
      1,
    ],
    [
      "parameter properties",
      "class A { constructor(private readonly a: number, public b = a + 1) {} }\nglobalThis.result = { ...new A(1) };",
      { a: 1, b: 2 },
    ],
    [
      "fields that use them",
      "class A { c = (this as any).a; constructor(public a: number) {} }\nglobalThis.result = new A(3).c;",
      3,
    ],
    [
      "assertions",
      "const a = <number> (1 as unknown) satisfies number; globalThis.result = a!;",
      1,
    ],
    [
      "generics",
      "function id<const T>(a: T): T { return a; } globalThis.result = id<number>(1);",
      1,
    ],
    [
      "abstract classes",
      "abstract class A { abstract a(): number; declare b: string; }\nclass B extends A { override a() { return 1; } }\nglobalThis.result = [new B().a(), 'b' in new B()];",
      [1, false],
    ],
    [
      "import aliases",
      "namespace N { export const a = 1; } import b = N.a; globalThis.result = b;",
      1,
    ],
    [
      "using",
      "const log: string[] = [];\n{ using a = { [Symbol.dispose]() { log.push('a'); } }; await using b = { async [Symbol.asyncDispose]() { log.push('b'); } }; log.push('body'); }\nglobalThis.result = log;",
      ["body", "b", "a"],
    ],
    ["top-level await", "const a: number = await Promise.resolve(1); globalThis.result = a;", 1],
    ["hashbangs", "#!/usr/bin/env -S deno run\nglobalThis.result = 1 as number;", 1],
    ["a byte order mark", "\uFEFFglobalThis.result = 1 as number;", 1],
    ["Windows line ends", "const a: string = `x\r\ny`;\r\nglobalThis.result = a;\r\n", "x\ny"],
  ];
  for (const [name, source, result] of rows) {
    await t.step(name, async () => {
      const text = source.replaceAll("globalThis.result", "(globalThis as any).result");
      assertEquals(await run({ "a.test.ts": text }), result);
    });
  }
});

Deno.test("importTestFile() follows imports", async (t) => {
  const report = (value: string) => `(globalThis as any).result = ${value};`;
  const rows: [name: string, files: Record<string, string>, result: unknown][] = [
    ["types by `import type`", {
      "a.test.ts": `import type { T } from "./absent.ts"; const a: T = 1 as any; ${report("a")}`,
    }, 1],
    ["types by plain imports", {
      "a.test.ts": `import { T, b } from "./b.ts"; const a: T = b; ${report("a")}`,
      "b.ts": "export interface T {} export const b: T = 2;",
    }, 2],
    ["types among values", {
      "a.test.ts": `import { type T, b } from "./b.ts"; export type { T } from "./b.ts"; ${
        report("b")
      }`,
      "b.ts": "export type T = number; export const b: T = 2;",
    }, 2],
    ["files that are only types", {
      "a.test.ts": `import { T } from "./types.d.ts"; let a: T; ${report("1")}`,
    }, 1],
    ["exports from", {
      "a.test.ts": `import { x, all } from "./b.ts"; ${report("[x, all.x]")}`,
      "b.ts": 'export * from "./c.ts"; export * as all from "./c.ts";',
      "c.ts": "export const x: number = 1;",
    }, [1, 1]],
    ["JavaScript", {
      "a.test.ts": `import { x } from "./b.js"; import { y } from "./c.mjs"; ${report("[x, y]")}`,
      "b.js": "export const x = 1 < 2 > (0), r = /'/;",
      "c.mjs": 'export { x as y } from "./b.js"',
    }, [true, true]],
    ["JSON", {
      "a.test.ts": `import a from "./a.json" with { type: "json" }; import { b } from "./b.ts"; ${
        report("[a, a === b]")
      }`,
      "b.ts": 'import a from "./a.json" with { type: "json" }; export const b = a;',
      "a.json": '{ "k": [1] }',
    }, [{ k: [1] }, true]],
    ["folders above", {
      "t/a.test.ts": `import { x } from "../lib/b.ts"; ${report("x")}`,
      "lib/b.ts": "export const x: number = 1;",
    }, 1],
    ["cycles", {
      "a.test.ts": `import { b } from "./b.ts"; export function a(): string { return "a"; } ${
        report("b()")
      }`,
      "b.ts": 'import { a } from "./a.test.ts"; export const b = (): string => a() + "b";',
    }, "ab"],
    ["side effects", {
      "a.test.ts": `import "./b.ts"; import { unused } from "./c.ts"; ${
        report("(globalThis as any).side")
      }`,
      "b.ts": "(globalThis as any).side = 'b';",
      "c.ts": "(globalThis as any).side = 'c'; export const unused = 1;",
    }, "b"],
    ["literal dynamic imports", {
      "a.test.ts": `const m = await import("./b.ts"); const n = await import("./b.ts"); ${
        report("[m.x, m === n]")
      }`,
      "b.ts": "export const x: number = 1;",
    }, [1, true]],
    ["computed dynamic imports", {
      "a.test.ts":
        `const name: string = "b"; const m = await import(\`./\${name}.ts\`); const n = await import(new URL("./b.ts", import.meta.url).href); ${
          report("[m.x, m === n]")
        }`,
      "b.ts": "export const x: number = 1;",
    }, [1, true]],
    ["dynamic JSON", {
      "a.test.ts": `const m = await import("./a.json", { with: { type: "json" } }); ${
        report("m.default")
      }`,
      "a.json": "[1]",
    }, [1]],
    ["files that the test writes", {
      "a.test.ts":
        `const path = import.meta.dirname + "/made.ts"; const read = async (q: string) => (await import("./made.ts" + q)).v;
await Deno.writeTextFile(path, "export const v: number = 1"); const first = await read("?1");
await Deno.writeTextFile(path, "export const v: number = 2"); ${
          report('[first, await read("?2")]')
        }`,
    }, [1, 2]],
    ["Node.js and data URLs", {
      "a.test.ts":
        `import { sep } from "node:path"; import d from "data:text/javascript,export default 5"; ${
          report("[sep, d]")
        }`,
    }, ["/", 5]],
    ["odd names", {
      "a # b?%20é.test.ts": `import { x } from "./c%23%25%20d.ts"; ${
        report("[x, import.meta.filename]")
      }`,
      "c#% d.ts": "export const x: string = import.meta.url.split('/').at(-1)!;",
    }, ["c%23%25%20d.ts", "/a # b?%20é.test.ts"]],
  ];
  for (const [name, files, result] of rows) {
    await t.step(name, async () => {
      assertEquals(await run(files, Object.keys(files)[0]), result);
    });
  }
});

Deno.test("importTestFile() gives import.meta the author's values", async () => {
  const files = {
    "t/a.test.ts": `import { early } from "./b.ts";
export function filename(): string { return import.meta.filename!; }
(globalThis as any).result = { url: import.meta.url, filename: import.meta.filename, dirname: import.meta.dirname,
  main: import.meta.main, resolved: import.meta.resolve("../x.ts"), early,
  mapped: import.meta.resolve("lib"), remote: import.meta.resolve("npm:zod") };`,
    // Called before the first line of the other file has run.
    "t/b.ts": 'import { filename } from "./a.test.ts"; export const early = filename();',
    "deno.json": '{ "imports": { "lib": "./lib.ts" } }',
  };
  assertEquals(await run(files, "t/a.test.ts"), {
    url: "file:///t/a.test.ts",
    filename: "/t/a.test.ts",
    dirname: "/t",
    main: false,
    resolved: "file:///x.ts",
    early: "/t/a.test.ts",
    mapped: "file:///lib.ts",
    remote: "npm:zod",
  });
});

Deno.test("importTestFile() gives embedded packages as the very modules of this process", async () => {
  const files = {
    "a.test.ts": `import * as bare from "@std/assert"; import * as ranged from "jsr:@std/assert@1";
import * as mapped from "check"; import { own } from "own";
(globalThis as any).modules = [bare, ranged, mapped, await import("@std/assert")];
(globalThis as any).result = own;`,
    "deno.jsonc": `{
  // The author's own entries.
  "imports": { "check": "jsr:@std/assert@^1.0.0", "own": "./lib/own.ts", "@std/assert": "jsr:@std/assert@1", },
}`,
    "lib/own.ts": "export const own: string = 'own';",
  };
  assertEquals(await run(files), "own");
  const { modules } = globalThis as unknown as { modules: unknown[] };
  for (const module of modules) assertStrictEquals(module, await import("@std/assert"));
});

Deno.test("importTestFile() resolves import maps and workspaces", async (t) => {
  const report = (value: string) => `(globalThis as any).result = ${value};`;
  const rows: [name: string, files: Record<string, string>, result: unknown][] = [
    ["importMap", {
      "a.test.ts": `import { x } from "lib/x.ts"; ${report("x")}`,
      "deno.json": '{ "importMap": "./maps/map.json" }',
      "maps/map.json": '{ "imports": { "lib/": "./lib/" } }',
      "maps/lib/x.ts": "export const x: number = 1;",
    }, 1],
    ["the nearest file", {
      "t/a.test.ts": `import { x } from "lib"; ${report("x")}`,
      "deno.json": '{ "imports": { "lib": "./far.ts" } }',
      "t/deno.json": '{ "imports": { "lib": "./near.ts" } }',
      "t/near.ts": "export const x: string = 'near';",
    }, "near"],
    ["a workspace by pattern", {
      "packages/one/a.test.ts": `import { y } from "@w/two"; ${report("y")}`,
      "packages/one/deno.json": "{}",
      "packages/two/deno.json": '{ "name": "@w/two", "exports": "./mod.ts" }',
      "packages/two/mod.ts": "export const y: number = 2;",
      "deno.json": '{ "workspace": { "members": ["./packages/*", "./none/*"] } }',
    }, 2],
    ["a workspace", {
      "one/a.test.ts": `import { x } from "shared"; import { y } from "@w/two/sub"; ${
        report("[x, y]")
      }`,
      "one/deno.json": "{}",
      "two/deno.json": '{ "name": "@w/two", "exports": { ".": "./mod.ts", "./sub": "./sub.ts" } }',
      "two/sub.ts": "export const y: number = 2;",
      "shared.ts": "export const x: number = 1;",
      "deno.json": '{ "workspace": ["./one", "./two"], "imports": { "shared": "./shared.ts" } }',
    }, [1, 2]],
  ];
  for (const [name, files, result] of rows) {
    await t.step(name, async () => {
      assertEquals(await run(files, Object.keys(files)[0]), result);
    });
  }
});

Deno.test("stage() writes private files, below their own paths", async () => {
  await using folder = await makeFolder({
    "a.test.ts": 'import "./lib/b.ts"; import "./absent.ts";',
    "lib/b.ts": "export {};",
  });
  const dir = folder.at(".stage");
  const staged = await stage([folder.at("a.test.ts")], { dir });
  assertEquals(staged.files, [folder.at("a.test.ts"), folder.at("lib/b.ts")]);
  assertEquals(staged.urlFor(folder.at("lib/b.ts")), `file://${dir}${folder.at("lib/b.ts")}.mjs`);
  assertEquals(staged.errors.map(({ code }) => code), ["NOT_FOUND"]);
  assertEquals((await Deno.stat(dir)).mode! & 0o777, 0o700);
  const written = await Deno.stat(`${dir}${folder.at("lib/b.ts")}.mjs`);
  assertEquals(written.mode! & 0o777, 0o600);
  const top = await Array.fromAsync(Deno.readDir(dir), ({ name }) => name);
  assertEquals(top.length, 1); // nothing temporary is left
});

Deno.test("stage() refuses a folder that it would have to share", async () => {
  await using folder = await makeFolder({ "a.test.ts": "", "file": "" });
  await assertRejects(
    () => stage([folder.at("a.test.ts")], { dir: folder.at("file") }),
    Error,
    "it is not a folder",
  );
});

Deno.test("originalPosition() leads back behind rewritten imports", async () => {
  const source = `interface Gone {}
import { b } from "./b.ts"; export const x: number = b, url = import.meta.url; lost(await import("./b.ts"), x);
`;
  await using folder = await makeFolder({ "a.test.ts": source, "b.ts": "export const b = 1;" });
  const dir = folder.at(".stage");
  const { urlFor } = await stage([folder.at("a.test.ts")], { dir });
  const url = urlFor(folder.at("a.test.ts"));
  const staged = await Deno.readTextFile(new URL(url));
  for (const word of ["x =", "lost", "x)"]) {
    const before = staged.slice(0, staged.indexOf(word)).split("\n");
    const found = originalPosition(url, before.length, before.at(-1)!.length + 1);
    const at = source.indexOf(word.replace("x =", "x:"));
    const column = at - source.indexOf("import") + 1;
    assertEquals(found, { url: `file://${folder.at("a.test.ts")}`, line: 2, column });
  }
  assertEquals(originalPosition("file:///elsewhere.mjs", 1, 1), undefined);
});

Deno.test("importTestFile() names the author's place in a stack", async () => {
  await using folder = await makeFolder({
    "a.test.ts": `interface A { a: 1 }
import { fail } from "./lib/fail.ts";

const value = fail<number>("here"); export { value };
`,
    "lib/fail.ts": `export type T = 1;
export function fail<T>(text: string): T { enum E { A } throw new RangeError(text + E.A); }`,
  });
  const error = await assertRejects(
    () => importTestFile(folder.at("a.test.ts"), { dir: folder.at(".stage"), staged: true }),
    RangeError,
    "here0",
  );
  const frames = error.stack!.split("\n").filter((line) => line.includes(folder.path));
  assertEquals(frames.map((line) => line.trim()), [
    `at fail (file://${folder.at("lib/fail.ts")}:2:63)`,
    `at file://${folder.at("a.test.ts")}:4:15`,
  ]);
});

Deno.test("importTestFile() imports without staging where the runtime reads TypeScript", async () => {
  await using folder = await makeFolder({
    "a.test.ts": "(globalThis as any).result = import.meta.url as string;",
  });
  await importTestFile(folder.at("a.test.ts"), { dir: folder.at(".stage"), staged: false });
  const { result } = globalThis as { result?: unknown };
  assertEquals(result, `file://${folder.at("a.test.ts")}`);
  await assertRejects(() => Deno.stat(folder.at(".stage")), Deno.errors.NotFound);
});

Deno.test("StagingError.of() shows every problem once there are several", async () => {
  await using folder = await makeFolder({
    "a.test.ts": 'import "./b.ts"; import "./c.ts";',
    "b.ts": "let x: = 1;",
    "c.ts": 'import x from "npm:x"; x();',
  });
  const error = await assertRejects(
    () => importTestFile(folder.at("a.test.ts"), { dir: folder.at(".stage"), staged: true }),
    StagingError,
    "2 problems",
  );
  assertEquals(error.problems.map(({ code }) => code).sort(), ["REMOTE_IMPORT", "SYNTAX"]);
  assert(error.message.includes(`${folder.at("b.ts")}:1:8`));
  assert(error.message.includes(`${folder.at("c.ts")}:1:15`));
});
