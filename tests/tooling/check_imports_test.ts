import { assertEquals, assertStringIncludes } from "@std/assert";
import { checkImports } from "../../scripts/check_imports.ts";

function offencesOf(files: Record<string, string>): string[] {
  return checkImports(new Map(Object.entries(files)))
    .map(({ file, line, text }) => `${file}:${line} ${text}`);
}

Deno.test("checkImports() accepts imports that point down", () => {
  const found = offencesOf({
    "src/cli/run.ts": 'import { run } from "../runner/mod.ts";',
    "src/runner/mod.ts": 'export * from "./run.ts";\nimport type { Vm } from "../lab/mod.ts";',
    "src/vmm/qemu/argv.ts":
      'import { x } from "./_x.ts";\nimport "../../errors.ts";\nimport "../_y.ts";',
    "src/mod.ts": 'export { test } from "./dsl/mod.ts";',
    "tests/vmm/_x_test.ts": 'import { x } from "../../src/vmm/qemu/_x.ts";',
    "src/dsl/mod.ts": '/** import { test } from "../cli/mod.ts"; */\n// import "../runner/mod.ts";',
  });
  assertEquals(found, []);
});

Deno.test("checkImports() names each import that points back", async (t) => {
  const rows = [
    [
      "src/values/size.ts",
      'import { a } from "../scope/mod.ts";',
      '"scope", which stands above it',
    ],
    ["src/wire/a.ts", 'import {\n  a,\n  b,\n} from "../vmm/mod.ts";', '"vmm", which stands above'],
    ["src/lab/vm.ts", 'export { test } from "../dsl/mod.ts";', '"dsl", which stands above it'],
    ["src/lab/vm.ts", 'const m = await import("../runner/mod.ts");', '"runner", which stands'],
    ["src/dsl/a.ts", 'import { lab } from "belljar";', '"mod.ts", which stands above it'],
    ["src/host/a.ts", 'import "../other/a.ts";', '"src/other" has no place'],
  ] as const;
  for (const [file, source, expected] of rows) {
    await t.step(`${file}: ${source}`, () => {
      const [found, ...more] = offencesOf({ [file]: source });
      assertStringIncludes(found ?? "nothing", expected);
      assertEquals(more, []);
    });
  }
});

Deno.test("checkImports() refuses folders of one row that import each other", () => {
  const found = offencesOf({
    "src/image/a.ts": 'import "../wire/b.ts";',
    "src/wire/b.ts": 'import "../image/a.ts";',
  });
  assertEquals(found, [
    'src/image/a.ts:1 "image" and "wire" import each other',
    'src/wire/b.ts:1 "wire" and "image" import each other',
  ]);
});

Deno.test("checkImports() keeps files with an underscore to their folder", () => {
  const text = (path: string) => `"${path}" is private to "src/wire": import its mod.ts instead`;
  assertEquals(
    offencesOf({
      "src/vmm/a.ts": '\nimport { f } from "../wire/_frame.ts";',
      "src/wire/b.ts": 'import "./sub/_deep.ts";',
      "tests/vmm/a_test.ts": 'import { f } from "../../src/wire/_frame.ts";',
    }),
    [
      `src/vmm/a.ts:2 ${text("src/wire/_frame.ts")}`,
      'src/wire/b.ts:1 "src/wire/sub/_deep.ts" is private to "src/wire/sub": import its mod.ts instead',
      `tests/vmm/a_test.ts:1 ${text("src/wire/_frame.ts")}`,
    ],
  );
});
