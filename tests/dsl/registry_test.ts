import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  afterAll,
  beforeEach,
  currentRegistry,
  defineFile,
  setRegistry,
  test,
  todo,
} from "../../src/dsl/mod.ts";
import { setEventSink } from "../../src/scope/mod.ts";
import { defined } from "./_run.ts";

Deno.test("test() keeps name, meta and flags in order", () => {
  const { tests } = defined(() => {
    test("a", () => {});
    test("b", { tags: ["x"], ticket: 7 }, () => {});
    test.only("c", () => {});
    test.skip("d", { skip: "flaky disk" }, () => {});
    test.todo("e", "later");
    test("f", { skip: true }, () => {});
  });
  assertEquals(tests.map(({ name, only, skip }) => [name, only, skip]), [
    ["a", false, undefined],
    ["b", false, undefined],
    ["c", true, undefined],
    ["d", false, "flaky disk"],
    ["e", false, "todo: later"],
    ["f", false, "skipped by its author"],
  ]);
  assertEquals(tests[1]!.meta, { tags: ["x"], ticket: 7 });
});

Deno.test("test() knows where it was called", () => {
  const { tests } = defined(() => test("here", () => {}));
  assertStringIncludes(tests[0]!.site?.file ?? "", "registry_test.ts");
  const source = Deno.readTextFileSync(new URL(import.meta.url)).split("\n");
  assertStringIncludes(source[tests[0]!.site!.line - 1]!, 'test("here"');
});

Deno.test("test() refuses a name that is taken, naming both places", () => {
  const error = assertThrows(
    () =>
      defined(() => {
        test("twice", () => {});
        test("twice", () => {});
      }),
    TypeError,
    `Test "twice" is defined twice: first at `,
  );
  assertEquals(error.message.match(/registry_test\.ts:\d+:\d+/g)?.length, 2);
});

Deno.test("test() refuses wrong types by name", async (t) => {
  const fn = () => {};
  const rows: [string, () => void, string][] = [
    ["no name", () => test("", fn), 'The name of a test must be text, got ""'],
    ["a number as name", () => test(7 as never, fn), "must be text, got number"],
    [
      "no function",
      () => test("x", {} as never),
      "must have a function as its last argument, got undefined",
    ],
    ["text as meta", () => test("x", "meta" as never, fn), "must be an object, got string"],
    ["timeout of another form", () => test("x", { timeout: "10 s" }, fn), '"10 s"'],
    [
      "timeout as object",
      () => test("x", { timeout: {} as never }, fn),
      `timeout of test "x" must be a duration`,
    ],
    [
      "a number as tag",
      () => test("x", { tags: [1] as never }, fn),
      `tags of test "x" must be a word`,
    ],
    [
      "text as slow",
      () => test("x", { slow: "yes" as never }, fn),
      `slow of test "x" must be true or false`,
    ],
    [
      "a number as skip",
      () => test("x", { skip: 1 as never }, fn),
      `skip of test "x" must be true or a reason`,
    ],
    ["half a retry", () => test("x", { retries: 0.5 }, fn), "a whole number from 0, got 0.5"],
    ["text as retries", () => test("x", { retries: "2" as never }, fn), "a whole number from 0"],
    [
      "text as only",
      () => test("x", { only: "y" as never }, fn),
      `only of test "x" must be true or false`,
    ],
    [
      "a mistyped requirement",
      () => test("x", { require: { kmv: true } as never }, fn),
      `did you mean "kvm"?`,
    ],
    [
      "a requirement of wrong type",
      () => test("x", { require: { memory: true as never } }, fn),
      "memory in require",
    ],
    ["rows that are none", () => test.each(7 as never), "takes an array of rows, got number"],
    [
      "a hook that is none",
      () => beforeEach("x" as never),
      "beforeEach() takes a function, got string",
    ],
    ["an option of the file", () => defineFile({ timout: 3 } as never), `did you mean "timeout"?`],
    ["no concurrency", () => defineFile({ concurrency: 0 }), "must be 1 or more, got 0"],
  ];
  for (const [name, call, text] of rows) {
    await t.step(name, () => {
      const error = assertThrows(() => defined(call)) as Error;
      assertStringIncludes(error.message, text);
      assertEquals(error instanceof TypeError || error instanceof RangeError, true);
    });
  }
});

Deno.test("test() warns about meta keys that are near the runner's", () => {
  const warnings: unknown[] = [];
  const previous = setEventSink((kind, { message }) => warnings.push([kind, message]));
  defined(() => test("x", { timout: 3, spec: "a" }, () => {}));
  setEventSink(previous);
  assertEquals(warnings, [[
    "warning",
    `Meta key "timout" of test "x" means nothing to the runner: did you mean "timeout"?`,
  ]]);
});

Deno.test("defineFile() is refused twice and after a test", () => {
  assertThrows(
    () => defined(() => (defineFile({}), defineFile({}))),
    TypeError,
    "defineFile() twice",
  );
  assertThrows(
    () => defined(() => (test("a", () => {}), defineFile({}))),
    TypeError,
    `test "a" is defined before it; call it at the top`,
  );
});

Deno.test("a sealed registry refuses tests, hooks and options", () => {
  const registry = defined(() => {});
  registry.seal("the tests run already");
  const previous = setRegistry(registry);
  try {
    const text = "the tests run already; define it at the top level";
    assertThrows(() => test("late", () => {}), TypeError, text);
    assertThrows(() => afterAll(() => {}), TypeError, text);
    assertThrows(() => defineFile({}), TypeError, text);
  } finally {
    setRegistry(previous);
  }
});

Deno.test("todo() skips all tests of the file", () => {
  assertEquals(
    defined(() => todo("until the driver exists")).skipAll,
    "todo: until the driver exists",
  );
});

Deno.test("test.each() names its rows and passes their values", async (t) => {
  const rows: [string, unknown[], string[]][] = [
    ["%s is %d", [["a", 1], ["b", 2]], ["a is 1", "b is 2"]],
    ["%# takes %j", [{ x: 1 }, "t"], [`0 takes {"x":1}`, `1 takes "t"`]],
    ["{user.name} logs in", [{ user: { name: "eve" } }], ["eve logs in"]],
    ["adds", [[1, 2], [3, 4]], ["adds (1, 2)", "adds (3, 4)"]],
    ["100%% of {missing}", [{ a: 1 }], [`100% of {missing} ({"a":1})`]],
    ["big", [[1n]], ["big (1n)"]],
  ];
  for (const [template, values, names] of rows) {
    await t.step(template, () => {
      const { tests } = defined(() => test.each(values)(template, () => {}));
      assertEquals(tests.map(({ name }) => name), names);
    });
  }
});

Deno.test("currentRegistry() outside of a runner says how to run the file", async () => {
  const code = `import { test } from ${
    JSON.stringify(new URL("../../src/dsl/mod.ts", import.meta.url).href)
  };
    try { test("x", () => {}); } catch (error) { console.log(error.message); }`;
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(path, code);
  const args = ["run", "-A", "-q", "--no-lock"];
  const map = new URL("../../scripts/fallback/import_map.json", import.meta.url).pathname;
  args.push(`--import-map=${map}`);
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [...args, path],
    stderr: "inherit",
  }).output();
  await Deno.remove(path);
  assertStringIncludes(new TextDecoder().decode(stdout), "belljar run FILE");
  assertEquals(typeof currentRegistry, "function");
});
