import { assertEquals, assertRejects } from "@std/assert";
import { importTestFile, StagingError } from "../../../src/runner/staging/mod.ts";
import { makeFolder } from "./_files.ts";

interface Row {
  /** The entry is the first file. */
  files: Record<string, string>;
  code: string;
  /** File, line and column, such as `a.test.ts:1:8`. */
  place: string;
  /** First line of the message, with `$` for the place. */
  summary: string;
  expected?: string;
  next?: string;
}

const EMBEDDED = '"belljar", "belljar/events", "@std/assert", "@std/async", "@std/fmt/colors"';
const REMOTE_NEXT = "keep a copy as a file beside the test, or run the tests by `deno test`";

const ROWS: Record<string, Row> = {
  "an npm package": {
    files: { "a.test.ts": 'const a: number = 1;\n  import { z } from "npm:zod@3"; z(a);' },
    code: "REMOTE_IMPORT",
    place: "a.test.ts:2:21",
    summary: 'Cannot import "npm:zod@3" at "$": the belljar binary loads no npm packages',
    expected: `a file, "node:…", or ${EMBEDDED}`,
    next: REMOTE_NEXT,
  },
  "a URL, in an imported file": {
    files: {
      "a.test.ts": 'import "./b.js";',
      "b.js": 'export * from "https://example.com/x.ts"',
    },
    code: "REMOTE_IMPORT",
    place: "b.js:1:15",
    summary:
      'Cannot import "https://example.com/x.ts" at "$": the belljar binary loads no modules from the network',
    expected: `a file, "node:…", or ${EMBEDDED}`,
    next: REMOTE_NEXT,
  },
  "a JSR package": {
    files: { "a.test.ts": 'import "jsr:@a/b@1";' },
    code: "REMOTE_IMPORT",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "jsr:@a/b@1" at "$": the belljar binary loads no JSR packages',
    expected: `a file, "node:…", or ${EMBEDDED}`,
    next: REMOTE_NEXT,
  },
  "an npm package by deno.json": {
    files: { "a.test.ts": 'import "zod";', "deno.json": '{"imports":{"zod":"npm:zod"}}' },
    code: "REMOTE_IMPORT",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "zod" at "$": the belljar binary loads no npm packages',
    expected: `a file, "node:…", or ${EMBEDDED}`,
    next: REMOTE_NEXT,
  },
  "another version of what is embedded": {
    files: { "a.test.ts": 'import "jsr:@std/assert@^0.226";' },
    code: "VERSION",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "jsr:@std/assert@^0.226" at "$": belljar embeds @std/assert 1.0.19',
    expected: "a range that allows 1.0.19",
    next: 'write "jsr:@std/assert@^1.0.19"',
  },
  "a part that is not embedded": {
    files: { "a.test.ts": 'import "jsr:@std/assert@1/equals";' },
    code: "NOT_FOUND",
    place: "a.test.ts:1:8",
    summary:
      'Cannot import "jsr:@std/assert@1/equals" at "$": that part of @std/assert is not embedded',
    expected: '"@std/assert"',
  },
  "a mistyped package": {
    files: { "a.test.ts": 'import { test } from "beljar"; test();' },
    code: "NOT_FOUND",
    place: "a.test.ts:1:22",
    summary: 'Cannot import "beljar" at "$": no such module',
    expected: `a path that begins with "./", an entry of \`imports\` in deno.json, or ${EMBEDDED}`,
    next: 'write "belljar"',
  },
  "a part of belljar that is none, whatever deno.json says": {
    files: {
      "a.test.ts": 'import "belljar/event";',
      "deno.json": '{"imports":{"belljar/":"./"}}',
    },
    code: "NOT_FOUND",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "belljar/event" at "$": no such module',
    expected: `a path that begins with "./", an entry of \`imports\` in deno.json, or ${EMBEDDED}`,
    next: 'write "belljar/events"',
  },
  "a built-in module without its prefix": {
    files: { "a.test.ts": 'import "fs/promises";' },
    code: "NOT_FOUND",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "fs/promises" at "$": no such module',
    expected: "built-in modules of Node.js with their prefix",
    next: 'write "node:fs/promises"',
  },
  "a missing extension": {
    files: { "a.test.ts": 'import "./lib/b";', "lib/b.ts": "" },
    code: "NOT_FOUND",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "./lib/b" at "$": no such file',
    expected: 'a file "/lib/b"',
    next: 'write "./lib/b.ts"',
  },
  "a file of the other extension": {
    files: { "a.test.ts": 'export * from "./b.js";', "b.ts": "" },
    code: "NOT_FOUND",
    place: "a.test.ts:1:15",
    summary: 'Cannot import "./b.js" at "$": no such file',
    expected: 'a file "/b.js"',
    next: 'write "./b.ts"',
  },
  "a folder": {
    files: { "a.test.ts": 'import "./lib";', "lib/mod.ts": "" },
    code: "NOT_FOUND",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "./lib" at "$": no such file',
    expected: 'a file "/lib"',
    next: 'write "./lib/mod.ts"',
  },
  "a mistyped file": {
    files: { "a.test.ts": 'import "./helpre.ts";', "helper.ts": "" },
    code: "NOT_FOUND",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "./helpre.ts" at "$": no such file',
    expected: 'a file "/helpre.ts"',
    next: 'write "./helper.ts"',
  },
  "a file that is nowhere": {
    files: { "a.test.ts": 'import "./none/at/all.ts";' },
    code: "NOT_FOUND",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "./none/at/all.ts" at "$": no such file',
    expected: 'a file "/none/at/all.ts"',
  },
  "TSX": {
    files: { "a.test.ts": 'import "./b.tsx";', "b.tsx": "" },
    code: "UNSUPPORTED",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "./b.tsx" at "$": belljar does not read JSX',
    expected: "a .ts, .mts, .js, .mjs, .json or .wasm file",
    next: "rename it to .ts and build elements by function calls",
  },
  "CommonJS": {
    files: { "a.test.ts": 'import "./b.cjs";', "b.cjs": "" },
    code: "UNSUPPORTED",
    place: "a.test.ts:1:8",
    summary: 'Cannot import "./b.cjs" at "$": belljar does not read CommonJS',
    expected: "a .ts, .mts, .js, .mjs, .json or .wasm file",
    next: "turn it into an ES module",
  },
  "text": {
    files: { "a.test.ts": 'import a from "./b.txt" with { type: "text" }; a;', "b.txt": "" },
    code: "UNSUPPORTED",
    place: "a.test.ts:1:15",
    summary: 'Cannot import "./b.txt" at "$": belljar cannot tell its language',
    expected: "a .ts, .mts, .js, .mjs, .json or .wasm file",
    next: "read it by `Deno.readTextFile(new URL(…, import.meta.url))`",
  },
  "JSX": {
    files: { "a.test.ts": "\nconst a = <p>text</p>;" },
    code: "UNSUPPORTED",
    place: "a.test.ts:2:19",
    summary: 'Cannot load "$": this looks like JSX',
    expected: "TypeScript without JSX",
    next: "build the elements by function calls",
  },
  "a decorator": {
    files: { "a.test.ts": "interface A {}\nclass B {\n  @dec method(): void {}\n}" },
    code: "UNSUPPORTED",
    place: "a.test.ts:3:3",
    summary: 'Cannot load "$": a decorator',
    expected: "syntax that V8 runs once the types are gone; it has no decorators",
    next: "call the decorator as a function, or run the file by `deno test`",
  },
  "JSON without its attribute": {
    files: { "a.test.ts": 'import a from "./a.json"; a;', "a.json": "1" },
    code: "ATTRIBUTE",
    place: "a.test.ts:1:15",
    summary: 'Cannot import "./a.json" at "$": JSON needs an import attribute',
    next: 'write `from "./a.json" with { type: "json" }`',
  },
  "an attribute that does not fit": {
    files: { "a.test.ts": 'import a from "./b.ts" with { type: "json" }; a;', "b.ts": "" },
    code: "ATTRIBUTE",
    place: "a.test.ts:1:15",
    summary: 'Cannot import "./b.ts" at "$": the attribute `type: "json"` does not fit it',
    expected: '`type: "json"`, and only for a .json file',
    next: "read it by `Deno.readTextFile(new URL(…, import.meta.url))`",
  },
  "broken JSON": {
    files: {
      "a.test.ts": 'import a from "./a.json" with { type: "json" }; a;',
      "a.json": '{\n  "a": 1,\n  b\n}',
    },
    code: "SYNTAX",
    place: "a.json:3:3",
    summary: 'Cannot parse "$": Expected double-quoted property name in JSON',
  },
  "a syntax error": {
    files: { "a.test.ts": "const a = 1;\n\nconst b = (a;\n" },
    code: "SYNTAX",
    place: "a.test.ts:3:13",
    summary: "Cannot parse \"$\": Expected ',', got ';'",
  },
  "a syntax error with what was expected": {
    files: { "a.test.ts": "let a: = 1;" },
    code: "SYNTAX",
    place: "a.test.ts:1:8",
    summary: 'Cannot parse "$": Unexpected token `=`',
    expected:
      "an identifier, void, yield, null, await, break, a string literal, a numeric literal, true, false, `, -, import, this, typeof, {, [, (",
  },
  "an error that only V8 finds": {
    files: { "a.test.ts": "interface A {}\nlet a: number = 1;   let a = 2;" },
    code: "SYNTAX",
    place: "a.test.ts:2:26",
    summary: "Cannot load \"$\": Identifier 'a' has already been declared",
  },
  "a name that is not exported": {
    files: { "a.test.ts": 'import "./b.ts"', "b.ts": 'export { T } from "./c.ts";', "c.ts": "" },
    code: "SYNTAX",
    place: "b.ts:1:10",
    summary:
      "Cannot load \"$\": The requested module './c.ts' does not provide an export named 'T'",
    next: "correct the name, or write `type T` if it is a type",
  },
  "a deno.json that cannot be parsed": {
    files: { "a.test.ts": "", "deno.json": '{\n  "imports": ]\n}' },
    code: "CONFIG",
    place: "deno.json:2:14",
    summary: "Cannot parse \"$\": Unexpected token ']'",
    expected: "JSON, with comments if need be",
  },
  "an import map that is not there": {
    files: { "a.test.ts": "", "deno.json": '{\n  "importMap": "./map.json"\n}' },
    code: "CONFIG",
    place: "deno.json:2:3",
    summary: 'Cannot read the import map "./map.json" at "$"',
    expected: 'a file "/map.json"',
    next: "correct the path, or move its entries into `imports`",
  },
  "a Deno test": {
    files: {
      "a.test.ts": 'import "./b.ts"',
      "b.ts": 'interface A {}\nconst name: string = "x";  Deno.test(name, () => {});',
    },
    code: "DENO_TEST",
    place: "b.ts:2:33",
    summary: 'Cannot run `Deno.test()` at "$" under `belljar run`',
    expected: 'tests registered by `test()` of "belljar"',
    next: 'write `import { test } from "belljar"`, or run the file by `deno test`',
  },
  "one of its members": {
    files: { "a.test.ts": "Deno.test.only({ name: 'x', fn() {} });" },
    code: "DENO_TEST",
    place: "a.test.ts:1:11",
    summary: 'Cannot run `Deno.test.only()` at "$" under `belljar run`',
    expected: 'tests registered by `test()` of "belljar"',
    next: 'write `import { test } from "belljar"`, or run the file by `deno test`',
  },
  "a Deno benchmark": {
    files: { "a.test.ts": "Deno.bench('x', () => {});" },
    code: "DENO_TEST",
    place: "a.test.ts:1:6",
    summary: 'Cannot run `Deno.bench()` at "$" under `belljar run`',
    expected: "tests only",
    next: "run the file by `deno bench`",
  },
  "a dynamic import that nothing catches": {
    files: { "a.test.ts": 'const name: string = "npm:zod";\n  await import(name);' },
    code: "REMOTE_IMPORT",
    place: "a.test.ts:2:9",
    summary: 'Cannot import "npm:zod" at "$": the belljar binary loads no npm packages',
    expected: `a file, "node:…", or ${EMBEDDED}`,
    next: REMOTE_NEXT,
  },
  "a dynamic import of a broken file": {
    files: { "a.test.ts": 'await import("./b.ts")', "b.ts": 'import "./c.ts"', "c.ts": "class A" },
    code: "SYNTAX",
    place: "c.ts:1:8",
    summary: "Cannot parse \"$\": Expected '{', got '<eof>'",
  },
};

Deno.test("importTestFile() says where and why a file cannot be loaded", async (t) => {
  for (const [name, row] of Object.entries(ROWS)) {
    await t.step(name, async () => {
      await using folder = await makeFolder(row.files);
      const entry = folder.at(Object.keys(row.files)[0]!);
      const error = await assertRejects(
        () => importTestFile(entry, { dir: folder.at(".stage"), staged: true }),
        StagingError,
      );
      const plain = (text: string) => text.replaceAll(folder.path, "");
      const { file, line, column } = error.site;
      assertEquals(plain(error.summary).replace(`"/${row.place}"`, '"$"'), row.summary);
      assertEquals(`${plain(file)}:${line}:${column}`, `file:///${row.place}`);
      assertEquals(error.code, row.code);
      const lines = plain(error.message).split("\n");
      const part = (key: string) =>
        lines.find((text) => text.startsWith(`  ${key}: `))?.slice(key.length + 4).trimStart();
      assertEquals(part("expected"), row.expected);
      assertEquals(part("next"), row.next);
      // The caret stands below the named column of the named line.
      const frame = error.frame.split("\n");
      const marked = frame.findIndex((text) => text.startsWith(">"));
      const source = (await Deno.readTextFile(new URL(file))).split("\n")[line - 1];
      assertEquals(frame[marked]?.replace(/^> *\d+ \| ?/, ""), source);
      assertEquals(frame[marked + 1]?.replace(/^ *\| /, ""), `${" ".repeat(column - 1)}^`);
      // Reports find the place as the innermost frame.
      const innermost = error.stack!.split("\n").find((text) => text.startsWith("    at "));
      assertEquals(plain(innermost!), `    at file:///${row.place}`);
    });
  }
});

Deno.test("importTestFile() lets a file catch what a dynamic import cannot give", async () => {
  await using folder = await makeFolder({
    "a.test.ts": `const codes: string[] = [];
for (const name of ["npm:zod", "./absent.ts", "./broken.ts", "beljar", "./a.json"]) {
  await import(name).catch((error) => codes.push(error.code));
}
if (Math.random() > 2) await import("./broken.ts");
(globalThis as any).codes = codes;`,
    "broken.ts": "let x: = 1",
    "a.json": "1",
  });
  await importTestFile(folder.at("a.test.ts"), { dir: folder.at(".stage"), staged: true });
  assertEquals((globalThis as { codes?: unknown }).codes, [
    "REMOTE_IMPORT",
    "NOT_FOUND",
    "SYNTAX",
    "NOT_FOUND",
    "ATTRIBUTE",
  ]);
});

Deno.test("importTestFile() says that the file itself is missing", async () => {
  await using folder = await makeFolder({ "b.test.ts": "" });
  const error = await assertRejects(
    () => importTestFile(folder.at("a.test.ts"), { dir: folder.at(".stage"), staged: true }),
    StagingError,
  );
  assertEquals(error.code, "NOT_FOUND");
  assertEquals(error.summary, `Cannot read test file "${folder.at("a.test.ts")}": no such file`);
});

Deno.test("importTestFile() refuses a test file in JSX as such", async () => {
  await using folder = await makeFolder({ "a.test.tsx": "const a = <p />;" });
  const error = await assertRejects(
    () => importTestFile(folder.at("a.test.tsx"), { dir: folder.at(".stage"), staged: true }),
    StagingError,
    "belljar does not read JSX",
  );
  assertEquals(error.code, "UNSUPPORTED");
});

Deno.test("importTestFile() says why a file that is there cannot be read", async () => {
  await using folder = await makeFolder({ "a.test.ts": 'import "./b.ts";' });
  await Deno.symlink("b.ts", folder.at("b.ts"));
  const error = await assertRejects(
    () => importTestFile(folder.at("a.test.ts"), { dir: folder.at(".stage"), staged: true }),
    StagingError,
    "Too many levels of symbolic links",
  );
  assertEquals([error.code, error.site.line, error.site.column], ["NOT_FOUND", 1, 8]);
});

Deno.test("importTestFile() leaves what a file itself throws as it is", async () => {
  await using folder = await makeFolder({
    "a.test.ts": "class Own extends Error {} throw new Own('mine' as string);",
  });
  const error = await assertRejects(
    () => importTestFile(folder.at("a.test.ts"), { dir: folder.at(".stage"), staged: true }),
    Error,
    "mine",
  );
  assertEquals(error.constructor.name, "Own");
});
