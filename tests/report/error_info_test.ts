import { assertEquals, assertStringIncludes } from "@std/assert";
import { GuestError } from "../../src/errors.ts";
import { errorInfo, escapeControl, escapeXml } from "../../src/report/mod.ts";

Deno.test("errorInfo() has the author's frame with its source, facts and causes", () => {
  const error = new GuestError("Cannot read it", {
    errno: "ENOENT",
    op: "readFile",
    path: "/x",
    cause: new Error("inner"),
  });
  const info = errorInfo(error, "closing");
  assertEquals([info.name, info.phase], ["GuestError", "closing"]);
  assertStringIncludes(info.frames![0]!.file, "error_info_test.ts");
  assertEquals(
    info.code!.lines.find(({ n }) => n === info.frames![0]!.line)?.text.includes("new GuestError"),
    true,
  );
  assertEquals(info.facts, { errno: "ENOENT", op: "readFile", path: "/x" });
  assertEquals(info.cause?.message, "inner");
});

Deno.test("errorInfo() unfolds what using and await using throw together", () => {
  const body = new Error("body");
  const closing = new Error("closing");
  const info = errorInfo(new SuppressedError(closing, body, "both"));
  assertEquals(info.message, "body");
  assertEquals(info.errors?.map(({ message, phase }) => [message, phase]), [[
    "closing",
    "closing",
  ]]);
});

Deno.test("errorInfo() takes anything that can be thrown", async (t) => {
  const cycle = new Error("cycle");
  cycle.cause = cycle;
  const hostile = new Error("x");
  Object.defineProperty(hostile, "message", {
    get: () => {
      throw new Error("no");
    },
  });
  const rows: [string, unknown, string][] = [
    ["undefined", undefined, "undefined"],
    ["null", null, "null"],
    ["text", "boom", `"boom"`],
    ["an object", { a: 1 }, "{ a: 1 }"],
    ["a cycle of causes", cycle, "cycle"],
    ["a message that throws", hostile, "cannot be read"],
    ["colours", new Error("\x1b[31mred\x1b[39m"), "red"],
  ];
  for (const [name, thrown, text] of rows) {
    await t.step(name, () => {
      const info = errorInfo(thrown);
      assertStringIncludes(info.message, text);
      assertEquals(info.message.includes("\x1b"), false);
      JSON.stringify(info);
    });
  }
});

Deno.test("errorInfo() bounds messages and aggregates", () => {
  const many = new AggregateError(
    Array.from({ length: 1000 }, (_, i) => new Error(`${i}`)),
    "x".repeat(1_000_000),
  );
  const info = errorInfo(many);
  assertEquals(info.errors?.length, 20);
  assertStringIncludes(info.message, "more characters)");
  assertEquals(JSON.stringify(info).length < 300_000, true);
});

Deno.test("escapes show what would steer a terminal or break XML", () => {
  assertEquals(escapeControl("a\x1b[1m\r\n\t\u202eb\x9b"), "a\\x1b[1m\\r\n\t\\u202eb\\x9b");
  assertEquals(escapeXml(`<&>"'\x00\ud800\u2066`), "&lt;&amp;&gt;&quot;&apos;\\x00\ufffd\\u2066");
});
