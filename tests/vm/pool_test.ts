import { assertEquals, assertStringIncludes } from "@std/assert";
import { makeProject, ofKind, outcomes } from "../runner/_belljar.ts";

/** The user's own cache: images and templates are not built anew for each test. */
const SHARED = {
  BELLJAR_CACHE_DIR: Deno.env.get("BELLJAR_CACHE_DIR") ?? `${Deno.env.get("HOME")}/.cache/belljar`,
};

Deno.test("files wait for memory in turn, and waiting is not charged to their tests", async () => {
  const file = `import { lab, test } from "belljar";
    test("boots", { timeout: "8s" }, async (t) => {
      const vm = await lab.vm("v", "tiny").boot();
      await vm.run("sleep 5");
    });`;
  await using project = await makeProject({
    "a.test.ts": file,
    "b.test.ts": file,
    "c.test.ts": file,
  });
  const { code, events, out } = await project.run(["-j", "3", "--memory", "300M"], SHARED);
  assertEquals(code, 0, out);
  assertEquals(ofKind(events, "file_queued").length >= 2, true);
  const most = Math.max(
    ...ofKind(events, "pool").map(({ used }) => (used as { memoryBytes: number }).memoryBytes),
  );
  assertEquals(most, 256 * 2 ** 20);
});

Deno.test("files that hold a machine and want another beyond the budget are told to claim", async () => {
  const file = (own: string, other: string) =>
    `import { lab, test } from "belljar";
    test("two machines", async (t) => {
      // Booted: a clone is charged less than its memory, and two more would fit.
      await lab.vm("one", "tiny").boot({ cold: true });
      Deno.writeTextFileSync("${own}", "");
      while (!await Deno.stat("${other}").catch(() => undefined)) await new Promise((r) => setTimeout(r, 10));
      await lab.vm("two", "tiny").boot();
    });`;
  await using project = await makeProject({
    "a.test.ts": file("a", "b"),
    "b.test.ts": file("b", "a"),
  });
  const { code, events, out } = await project.run(["-j", "2", "--memory", "700M"], SHARED);
  assertEquals(code, 1, out);
  assertEquals(outcomes(events).map((line) => line.split(": ")[1]).toSorted(), [
    "failed (test)",
    "passed",
  ]);
  assertStringIncludes(out, `Cannot start "two": it would wait for ever`);
  assertStringIncludes(out, `await lab.claim({ memory: "512M" })`);
});

Deno.test("a machine that can never fit fails at once, with the sum", async () => {
  await using project = await makeProject({
    "a.test.ts": `import { lab, test } from "belljar";
      test("too big", () => lab.vm("v", "tiny", { memory: "2G" }).boot());`,
  });
  const { code, out } = await project.run(["--memory", "1G"], SHARED);
  assertEquals(code, 1);
  assertStringIncludes(out, "it needs 2 GiB of the 1 GiB that all machines may use together");
});

Deno.test("what a killed file held goes to the others", async () => {
  await using project = await makeProject({
    "a.test.ts": `import { lab, test } from "belljar";
      test("dies", async () => {
        await lab.vm("v", "tiny").boot();
        Deno.writeTextFileSync("up", "");
        await new Promise((r) => setTimeout(r, 500));
        Deno.kill(Deno.pid, "SIGKILL");
        await new Promise(() => {});
      });`,
    "b.test.ts": `import { lab, test } from "belljar";
      test("waits", async () => {
        while (!await Deno.stat("up").catch(() => undefined)) await new Promise((r) => setTimeout(r, 10));
        await lab.vm("v", "tiny").boot();
      });`,
  });
  const { events } = await project.run(["-j", "2", "--memory", "300M"], SHARED);
  assertEquals(outcomes(events), ["a.test.ts > dies: failed (host)", "b.test.ts > waits: passed"]);
});
