import { assertEquals } from "@std/assert";
import { scanModule } from "../../../src/runner/staging/_scan.ts";

Deno.test("scanModule() finds every form of import", async (t) => {
  const rows: [string, [kind: string, specifier: string | undefined, type?: string][]][] = [
    ['import "./a.ts";', [["static", "./a.ts"]]],
    ['import a from "./a.ts"', [["static", "./a.ts"]]],
    ['import a, { b as c, default as from } from "./a.ts"', [["static", "./a.ts"]]],
    ['import from from "./a.ts"', [["static", "./a.ts"]]],
    ["import * as a from './a.ts'", [["static", "./a.ts"]]],
    ['import { "x y" as z } from "./a.ts"', [["static", "./a.ts"]]],
    ['import defer * as a from "./a.ts"', [["static", "./a.ts"]]],
    ['import a from "./a.json" with { type: "json" }', [["static", "./a.json", "json"]]],
    ['import a from "./a.json" with { "type": "json" }', [["static", "./a.json", "json"]]],
    ['export * from "./a.ts"', [["static", "./a.ts"]]],
    ['export * as a from "./a.ts"', [["static", "./a.ts"]]],
    ['export { a, b as "c d" } from "./a.ts"', [["static", "./a.ts"]]],
    ['export { a }; "./a.ts"', []],
    ['export default "from"; "./a.ts"', []],
    ['export const from = "./a.ts"', []],
    ['await import("./a.ts")', [["dynamic", "./a.ts"]]],
    ['import("./a.json", { with: { type: "json" } })', [["dynamic", "./a.json", "json"]]],
    ["import(`./${a}.ts`)", [["dynamic", undefined]]],
    ['import("./a" + b)', [["dynamic", undefined]]],
    ['import(await import("./a.ts"))', [["dynamic", undefined], ["dynamic", "./a.ts"]]],
    ['`${await import("./a.ts")}`', [["dynamic", "./a.ts"]]],
    ['import "./\\u0061\\x2ets"', [["static", "./a.ts"]]],
    ['"import(1)"; // import "./b.ts"', []],
    ['a.import("./b.ts"); ({ import(x) { return x; } })', []],
    ['class A { import(x) {} static export = "./a.ts" }', []],
    ['const a = { import: "./a.ts", export: 1 }', []],
  ];
  for (const [source, expected] of rows) {
    await t.step(source, () => {
      const found = scanModule(source).imports.map(({ kind, specifier, type }) =>
        type === undefined ? [kind, specifier] : [kind, specifier, type]
      );
      assertEquals(found, expected);
    });
  }
});

Deno.test("scanModule() tells what to replace", () => {
  const source = 'import a from "./a.ts"; const b = import /* c */ (a), url = import.meta.url;';
  const { imports, metas } = scanModule(source);
  const cut = ({ start, end }: { start: number; end: number }) => source.slice(start, end);
  assertEquals(imports.map(cut), ['"./a.ts"', "import"]);
  assertEquals(metas.map(cut), ["import.meta"]);
});

Deno.test("scanModule() finds the first decorator", async (t) => {
  const rows: [string, number | undefined][] = [
    ["class A { @b c() {} @d e }", 10],
    ["@a class B {}", 0],
    ["const a = '@b'; // @c\n`@d`; /@e/", undefined],
  ];
  for (const [source, expected] of rows) {
    await t.step(source, () => assertEquals(scanModule(source).decorator, expected));
  }
});
