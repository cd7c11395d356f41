import { assertEquals, assertRejects } from "@std/assert";
import { ImageError } from "../../src/errors.ts";
import { groupMembers } from "../../src/host/mod.ts";
import { findProgram, runTool, runToolOk } from "../../src/image/_tool.ts";
import { tempDir } from "./objects.ts";

Deno.test("runTool() returns output, messages and code", async () => {
  const output = await runTool("sh", ["-c", "cat; echo oops >&2; exit 3"], {
    stdin: new TextEncoder().encode("in"),
  });
  assertEquals(new TextDecoder().decode(output.stdout), "in");
  assertEquals([output.stderr, output.code, output.success], ["oops\n", 3, false]);
});

Deno.test("runTool() does not mind a program that ignores its input", async () => {
  const output = await runTool("true", [], { stdin: new Uint8Array(1024 * 1024) });
  assertEquals(output.success, true);
});

Deno.test("runTool() names a missing program and how to get it", async () => {
  const error = await assertRejects(
    () => runTool("belljar-no-such-tool", [], { install: "install it" }),
    ImageError,
  );
  assertEquals(
    error.message,
    'Cannot run "belljar-no-such-tool": there is no such program\n  next:     install it',
  );
});

Deno.test("runToolOk() shows the last lines of what failed", async () => {
  await assertRejects(
    () => runToolOk("do it", "sh", ["-c", "echo because >&2; exit 9"], { next: "try again" }),
    ImageError,
    'Cannot do it: "sh" ended with code 9\n  actual:   because\n  next:     try again',
  );
});

Deno.test("runTool() kills the whole group when its signal aborts, before it rejects", async () => {
  await using dir = await tempDir();
  const controller = new AbortController();
  const reason = new Error("enough");
  const pids = `${dir.path}/pids`;
  await Deno.writeTextFile(pids, "");
  const watcher = Deno.watchFs(pids);
  const running = runTool("sh", ["-c", `echo $$ >${pids}; sleep 600 & wait`], {
    signal: controller.signal,
  });
  let pid = "";
  for await (const _ of watcher) {
    pid = (await Deno.readTextFile(pids)).trim();
    if (pid !== "") break;
  }
  controller.abort(reason);
  assertEquals(await running.catch((error) => error), reason);
  const left = (await groupMembers(Number(pid))).filter(({ state }) => state !== "Z");
  assertEquals(left, []);
});

Deno.test("runTool() ends a program that takes too long", async () => {
  await assertRejects(
    () => runTool("sleep", ["600"], { timeoutMs: 50 }),
    ImageError,
    "expected: an end within 0.05 s",
  );
});

Deno.test("findProgram() looks beyond PATH", async () => {
  assertEquals(await findProgram("belljar-no-such-tool"), undefined);
  assertEquals((await findProgram("sh"))?.endsWith("/sh"), true);
});
