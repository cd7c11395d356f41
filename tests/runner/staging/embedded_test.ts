import { assert, assertEquals } from "@std/assert";
import { EMBEDDED, EMBEDDED_NAMES } from "../../../src/runner/staging/mod.ts";
import { findJsr, parseJsr } from "../../../src/runner/staging/embedded.ts";
import { VERSIONS } from "../../../src/runner/staging/_versions.ts";
import config from "../../../deno.json" with { type: "json" };

Deno.test("EMBEDDED names modules that exist, in the versions of deno.json", async (t) => {
  const pinned: Record<string, string> = {
    [config.name]: config.version,
    ...Object.fromEntries(
      Object.entries(config.imports).map(([name, target]) => [name, target.split("@").at(-1)!]),
    ),
  };
  assertEquals(Object.entries(VERSIONS).filter(([name, version]) => pinned[name] !== version), []);
  for (const { name, version, modules } of EMBEDDED) {
    await t.step(`${name} ${version}`, async () => {
      assertEquals(version, pinned[name]);
      for (const load of Object.values(modules)) {
        assert(Object.keys(await load() as object).length > 0);
      }
    });
  }
  assertEquals(EMBEDDED_NAMES.filter((name) => name.startsWith("belljar")), [
    "belljar",
    ...Object.keys(config.exports).filter((key) => key !== ".").map((key) =>
      `belljar${key.slice(1)}`
    ),
  ]);
});

Deno.test("parseJsr() takes specifiers apart", async (t) => {
  const rows: [string, ReturnType<typeof parseJsr>][] = [
    ["jsr:@a/b", { package: "@a/b", range: "*", subpath: "" }],
    ["jsr:@a/b@^1.2", { package: "@a/b", range: "^1.2", subpath: "" }],
    ["jsr:/@a/b@1/c/d", { package: "@a/b", range: "1", subpath: "/c/d" }],
    ["jsr:@a/b/c", { package: "@a/b", range: "*", subpath: "/c" }],
    ["jsr:a", undefined],
    ["npm:@a/b", undefined],
  ];
  for (const [specifier, expected] of rows) {
    await t.step(specifier, () => assertEquals(parseJsr(specifier), expected));
  }
});

Deno.test("findJsr() finds embedded modules by package and range", async (t) => {
  const rows: [string, string][] = [
    ["jsr:@belljar/belljar", "belljar"],
    ["jsr:@belljar/belljar@0.1/events", "belljar/events"],
    ["jsr:@std/assert@1", "@std/assert"],
    ["jsr:@std/fmt@^1/colors", "@std/fmt/colors"],
  ];
  for (const [specifier, name] of rows) {
    await t.step(specifier, () => assertEquals(findJsr(specifier), { kind: "embedded", name }));
  }
  assertEquals(findJsr("jsr:@std/fmt@1").kind, "subpath");
  assertEquals(findJsr("jsr:@std/assert@2").kind, "version");
  assertEquals(findJsr("jsr:@std/yaml@1").kind, "unknown");
});
