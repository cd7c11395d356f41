import { assertEquals, assertStringIncludes } from "@std/assert";
import { readEvents } from "../../src/runner/event_file.ts";
import { makeProject, ofKind, outcomes, type Project } from "./_belljar.ts";

/** Two files: one whose test waits and closes orderly, one that must not be started with `-j 1`. */
async function waiting(body: string): Promise<Project> {
  return await makeProject({
    "a.test.ts": `import { test } from "belljar";
      test("waits", async (t) => {
        t.defer(async () => {
          await Deno.writeTextFile("closing", "");
          ${body}
          await Deno.writeTextFile("closed", "");
        });
        await Deno.writeTextFile("ready", String(Deno.pid));
        await new Promise(() => {});
      });
      test("next", () => {});`,
    "b.test.ts": `import { test } from "belljar"; test("b", () => {});`,
  });
}

async function waitFor(path: string): Promise<string> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    const text = await Deno.readTextFile(path).catch(() => undefined);
    if (text !== undefined && (text !== "" || !path.endsWith("ready"))) return text;
    await new Promise((resolve) => setTimeout(resolve, 10)); // another process makes the file
  }
  throw new Error(`${path} was not made`);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`${signal} lets what runs close what it opened, starts nothing more and exits 130`, async () => {
    await using project = await waiting("");
    const child = project.start([
      "run",
      "-j",
      "1",
      "--events",
      "events.jsonl",
      "a.test.ts",
      "b.test.ts",
    ]);
    const pid = Number(await waitFor(project.path("ready")));
    child.kill(signal);
    const { code, stdout } = await child.output();
    assertEquals(code, 130);
    assertEquals(await exists(project.path("closed")), true);
    const events = await readEvents(project.path("events.jsonl"));
    assertEquals(outcomes(events), ["a.test.ts > next: skipped", "a.test.ts > waits: skipped"]);
    assertEquals(ofKind(events, "run_finished")[0]?.status, "interrupted");
    assertEquals(ofKind(events, "file_started").length, 1);
    assertStringIncludes(new TextDecoder().decode(stdout), "INTERRUPTED");
    assertEquals(await exists(`/proc/${pid}`), false);
  });
}

Deno.test("a second Ctrl-C kills what does not close, and still reports", async () => {
  await using project = await waiting("await new Promise(() => {});");
  const child = project.start(["run", "-j", "1", "--events", "events.jsonl", "a.test.ts"]);
  const pid = Number(await waitFor(project.path("ready")));
  child.kill("SIGINT");
  await waitFor(project.path("closing"));
  child.kill("SIGINT");
  const { code, stdout } = await child.output();
  assertEquals(code, 130);
  assertEquals(await exists(project.path("closed")), false);
  assertEquals(await exists(`/proc/${pid}`), false);
  const events = await readEvents(project.path("events.jsonl"));
  assertEquals(ofKind(events, "file_finished")[0]?.status, "interrupted");
  assertStringIncludes(new TextDecoder().decode(stdout), "INTERRUPTED");
});

Deno.test("kill -9 of belljar ends the processes of its files, which close first", async () => {
  await using project = await waiting("");
  const child = project.start(["run", "--events", "events.jsonl", "a.test.ts"]);
  const pid = Number(await waitFor(project.path("ready")));
  const deadline = performance.now() + 20_000;
  const last = async () => (await readEvents(project.path("events.jsonl"))).at(-1)?.kind;
  while (await last() !== "test_started" && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20)); // the test may be seen before its event is
  }
  child.kill("SIGKILL");
  await child.output();
  await waitFor(project.path("closed"));
  while (await exists(`/proc/${pid}`) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20)); // not our child: nothing tells its end
  }
  assertEquals(await exists(`/proc/${pid}`), false);
  assertEquals(await last(), "test_started");
});

Deno.test("kill -9 of belljar ends a file whose event loop is blocked", async () => {
  await using project = await makeProject({
    "a.test.ts": `import { test } from "belljar";
      test("blocks", () => { Deno.writeTextFileSync("ready", String(Deno.pid)); for (;;); });`,
  });
  const child = project.start(["run", "a.test.ts"]);
  const pid = Number(await waitFor(project.path("ready")));
  child.kill("SIGKILL");
  await child.output();
  const deadline = performance.now() + 10_000;
  while (await exists(`/proc/${pid}`) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20)); // see above
  }
  assertEquals(await exists(`/proc/${pid}`), false);
});
