import { assertEquals, assertStringIncludes } from "@std/assert";
import { makeProject, ofKind, type Project } from "./_belljar.ts";

async function git(project: Project, ...args: string[]): Promise<void> {
  const env = {
    GIT_AUTHOR_NAME: "a",
    GIT_AUTHOR_EMAIL: "a@b",
    GIT_COMMITTER_NAME: "a",
    GIT_COMMITTER_EMAIL: "a@b",
  };
  const { success, stderr } = await new Deno.Command("git", {
    args: ["-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false", ...args],
    cwd: project.dir,
    env,
  }).output();
  assertEquals(success, true, new TextDecoder().decode(stderr));
}

Deno.test("--since and --changed run the files whose imports changed", async (t) => {
  await using project = await makeProject({
    ".gitignore": ".cache\n*.jsonl\n",
    "lib/deep.ts": "export const deep = 1;",
    "lib/helper.ts": `export { deep } from "./deep.ts";`,
    "a.test.ts":
      `import { test } from "belljar"; import { deep } from "./lib/helper.ts"; test("a", (t) => t.assert(deep));`,
    "b.test.ts": `import { test } from "belljar"; test("b", () => {});`,
    "c.test.ts":
      `import { test } from "belljar"; test("c", async () => { await import("./" + "lib/deep.ts"); });`,
  });
  await git(project, "init", "-q");
  await git(project, "add", ".");
  await git(project, "commit", "-q", "-m", "one");
  const ran = async (...args: string[]) => {
    const { events, code, err } = await project.run(args);
    return { code, err, files: ofKind(events, "file_started").map(({ file }) => file).toSorted() };
  };
  await t.step("nothing", async () => {
    const { code, err } = await ran("--changed");
    assertEquals(code, 2);
    assertStringIncludes(err, "none is affected");
    assertEquals((await ran("--changed", "--allow-empty")).code, 0);
  });
  await t.step("a deep import, and what imports something computed", async () => {
    await project.write({ "lib/deep.ts": "export const deep = 2;" });
    assertEquals((await ran("--changed")).files, ["a.test.ts", "c.test.ts"]);
    await git(project, "commit", "-q", "-am", "two");
    assertEquals((await ran("--since", "HEAD~1")).files, ["a.test.ts", "c.test.ts"]);
  });
  await t.step("a new file", async () => {
    await project.write({ "d.test.ts": `import { test } from "belljar"; test("d", () => {});` });
    assertEquals((await ran("--changed")).files, ["c.test.ts", "d.test.ts"]);
  });
  await t.step("the configuration", async () => {
    await project.write({
      "belljar.config.ts": `import { defineConfig } from "belljar"; defineConfig({});`,
    });
    assertEquals((await ran("--changed")).files.length, 4);
  });
  await t.step("a ref that is not there", async () => {
    const { code, err } = await ran("--since", "nope");
    assertEquals(code, 2);
    assertStringIncludes(err, "Cannot tell what changed: git");
  });
});
