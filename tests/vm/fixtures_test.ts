import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertStringIncludes,
} from "@std/assert";
import { processesWithToken } from "../../src/host/mod.ts";
import { ofKind, outcomes } from "../runner/_belljar.ts";
import {
  entriesOf,
  FIXTURE,
  FIXTURES_DIR,
  makeFixtureProject,
  SHARED,
  unfinished,
  usingTest,
} from "./_fixtures.ts";
import { killAll, untilWritten } from "./_power_loss.ts";

Deno.test("a fixture is built once by four files that run at the same time", async () => {
  const files = Object.fromEntries(
    ["a", "b", "c", "d"].map((name) => [`${name}.test.ts`, usingTest("one")]),
  );
  await using made = await makeFixtureProject({
    ...files,
    "db.fixture.ts": FIXTURE,
    "lib.ts": 'export { TEXT } from "./text.ts";',
    "text.ts": 'export const TEXT = "one";',
    "data/x": "x",
  });
  const { project } = made;
  const first = await project.run(["-j", "4"], SHARED);
  assertEquals(first.code, 0, first.out + first.err);
  assertEquals(outcomes(first.events).length, 4);
  assertEquals(ofKind(first.events, "fixture_built").length, 1);
  const again = await project.run(["-j", "4"], SHARED);
  assertEquals(again.code, 0, again.out);
  assertEquals(ofKind(again.events, "fixture_building"), []);
  const started = ofKind(again.events, "vm_started");
  assertEquals(started.map(({ how }) => how), ["clone", "clone", "clone", "clone"]);
  assertEquals((await entriesOf(project)).length, 1);
});

Deno.test("a fixture is built again when what it was made from changes, and found again when it changes back", async (t) => {
  await using made = await makeFixtureProject({
    "a.test.ts": usingTest("one"),
    "db.fixture.ts": FIXTURE,
    "lib.ts": 'export { TEXT } from "./text.ts";',
    "text.ts": 'export const TEXT = "one";',
    "data/x": "x",
  });
  const { project } = made;
  const builds = async () => {
    const { code, events, out, err } = await project.run([], SHARED);
    assertEquals(code, 0, out + err);
    return ofKind(events, "fixture_built").length;
  };
  assertEquals(await builds(), 1);
  await t.step("the file that an import imports", async () => {
    await project.write({ "text.ts": 'export const TEXT = "two";', "a.test.ts": usingTest("two") });
    assertEquals(
      (await project.belljar(["fixture", "stale"], SHARED)).out,
      "db.fixture.ts  stale\n",
    );
    assertEquals(await builds(), 1);
    await project.write({ "text.ts": 'export const TEXT = "one";', "a.test.ts": usingTest("one") });
    assertEquals(await builds(), 0);
  });
  await t.step("a file of a folder of the host that it declares", async () => {
    await project.write({ "data/x": "y" });
    assertEquals(await builds(), 1);
    await project.write({ "data/x": "x" });
    assertEquals(await builds(), 0);
  });
  await t.step("nothing", async () => {
    await project.write({ "other.ts": "" });
    assertEquals(await builds(), 0);
    const { out, code } = await project.belljar(["fixture", "stale"], SHARED);
    assertEquals([out, code], ["", 0]);
    const listed = await project.belljar(["list", "--fixtures", "--json"], SHARED);
    const [fixture] = JSON.parse(listed.out).fixtures;
    assertEquals([fixture.file, fixture.state, fixture.vm], ["db.fixture.ts", "built", "db"]);
  });
});

Deno.test("a damaged fixture is built again with a warning", async (t) => {
  await using made = await makeFixtureProject({
    "a.test.ts": usingTest("one"),
    "db.fixture.ts": FIXTURE,
    "lib.ts": 'export const TEXT = "one";',
    "data": "",
  });
  const { project } = made;
  assertEquals((await project.run([], SHARED)).code, 0);
  const rows = ["state/state", "state/ram", "state/manifest.json", "fixture.json"];
  const ways = [["truncated", cut], ["zeroed", zero]] as const;
  for (
    const [name, [how, damage]] of rows.flatMap((row) => ways.map((way) => [row, way] as const))
  ) {
    await t.step(`${name} ${how}`, async () => {
      const [entry] = await entriesOf(project);
      await damage(`${entry!.dir}/${name}`);
      const { code, events, out } = await project.run([], SHARED);
      assertEquals(code, 0, out);
      assertEquals(ofKind(events, "fixture_built").length, 1);
      const warnings = ofKind(events, "warning").map(({ message }) => String(message));
      assertEquals(
        warnings.filter((message) => message.includes("db.fixture.ts is built again")).length,
        1,
        warnings.join("\n"),
      );
    });
  }
});

async function cut(path: string): Promise<void> {
  await Deno.truncate(path, 100);
}

/** What is left of a file whose blocks were not written before the power went: its size. */
async function zero(path: string): Promise<void> {
  const { size } = await Deno.stat(path);
  await Deno.truncate(path, 0);
  await Deno.truncate(path, size);
}

Deno.test("a fixture whose build was killed with its guards and all is built anew, at every phase", async (t) => {
  const phases: [string, (path: string) => boolean][] = [
    ["its state is moved in", (path) => path.includes("/.new-") && path.endsWith("/state")],
    ["its record is begun", (path) => path.includes("/.new-") && path.includes("fixture.json")],
    ["its folder is made", (path) => path.includes("/.new-")],
  ];
  for (const [phase, wanted] of phases) {
    await t.step(`when ${phase}`, async () => {
      await using made = await makeFixtureProject({
        "a.test.ts": usingTest("one"),
        "db.fixture.ts": FIXTURE,
        "lib.ts": 'export const TEXT = "one";',
        "data": crypto.randomUUID(),
      });
      const { project } = made;
      await Deno.mkdir(FIXTURES_DIR, { recursive: true });
      using events = Deno.watchFs(FIXTURES_DIR);
      const child = project.start(["fixture", "build"], SHARED);
      const streams = [child.stdout, child.stderr].map((stream) =>
        stream.pipeTo(new WritableStream())
      );
      await untilWritten(events, wanted);
      const tokens = await tokensBelow(child.pid); // none before it has started anything, or when it is over
      await killAll(child, tokens);
      await Promise.all(streams);
      await Promise.all(tokens.map(gone));
      const { code, events: told, out } = await project.run([], SHARED);
      assertEquals(code, 0, out);
      const [entry, ...others] = await entriesOf(project);
      assertEquals(others, []);
      // The last phase may be over when the kill comes: then the entry is whole, and is used.
      assertEquals(ofKind(told, "warning"), []);
      const digest = entry!.key.split("-")[0]!;
      assertEquals((await unfinished()).filter((left) => left.includes(digest)), []);
    });
  }
});

Deno.test("a build that is killed leaves nothing that is used", async () => {
  await using made = await makeFixtureProject({
    "a.test.ts": usingTest("one"),
    "db.fixture.ts": `import { defineFixture, lab } from "belljar";
      export default defineFixture(async () => {
        const vm = await lab.vm("db", "tiny").boot();
        await vm.writeFile("/tmp/text", "one");
        const snapshot = await vm.snapshot();
        await snapshot.settled();
        if (Deno.env.get("STAY")) {
          console.log("saved");
          await new Promise((resolve) => setTimeout(resolve, 600_000));
        }
        return snapshot;
      });`,
  });
  const { project } = made;
  const child = project.start(["fixture", "build"], { ...SHARED, STAY: "1" });
  const text = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  for (let seen = ""; !seen.includes("saved");) {
    const { value, done } = await text.read();
    assert(!done, "the build ended too early");
    seen += value;
  }
  const tokens = await tokensBelow(child.pid);
  assert(tokens.length > 0);
  child.kill("SIGKILL");
  await child.status;
  await Promise.all([text.cancel(), child.stdout.cancel()]);
  await Promise.all(tokens.map(gone));
  assertEquals(await entriesOf(project), []);
  const { code, events, out } = await project.run([], SHARED);
  assertEquals(code, 0, out);
  assertEquals(ofKind(events, "fixture_built").length, 1);
  assertEquals((await entriesOf(project)).length, 1);
  const [entry] = await entriesOf(project);
  const digest = entry!.key.split("-")[0]!;
  assertEquals((await unfinished()).filter((name) => name.includes(digest)), []);
});

Deno.test("fixtures build on fixtures, and on what those were made from", async () => {
  await using made = await makeFixtureProject({
    "a.test.ts": `import { lab, test } from "belljar";
      test("has both", async (t) => {
        const vm = await lab.fixture("./sub/top.fixture.ts", { name: "mine" });
        t.assertEquals(vm.name, "mine");
        t.assertEquals((await vm.run("cat /tmp/base /tmp/top; hostname")).stdout, "1top mine\\n");
        t.assert((await vm.processes()).some(({ command }) => command === "sleep 1234"));
      });`,
    "base.fixture.ts": `import { defineFixture, lab } from "belljar";
      import { N } from "./n.ts";
      export default defineFixture(async () => {
        const vm = await lab.vm("base", "tiny", { memory: "128M" }).boot();
        await vm.writeFile("/tmp/base", N);
        await vm.run("sleep 1234 &", { keep: true });
        return await vm.snapshot();
      });`,
    "sub/top.fixture.ts": `import { defineFixture, lab } from "belljar";
      export default defineFixture(async () => {
        const vm = await lab.fixture("../base.fixture.ts");
        await vm.writeFile("/tmp/top", "top ");
        return await vm.snapshot();
      });`,
    "n.ts": 'export const N = "1";',
  });
  const { project } = made;
  const first = await project.run([], SHARED);
  assertEquals(first.code, 0, first.out + first.err);
  const [top] = (await entriesOf(project)).filter(({ record }) => record.path.includes("/sub/"));
  assertEquals(top!.record.spec.memoryBytes, 128 * 1024 ** 2);
  assertEquals(top!.record.inputs.fixtures.map(([path]) => path), [
    project.path("base.fixture.ts"),
  ]);
  await project.write({ "n.ts": 'export const N = "1" as string;' });
  const second = await project.run([], SHARED);
  assertEquals(second.code, 0, second.out);
  const keys = (await entriesOf(project)).filter(({ record }) => record.path.includes("/sub/"))
    .map(({ key }) => key);
  assertEquals(keys.length, 2);
  assertNotEquals(keys[0], keys[1]);
});

Deno.test("a fixture that cannot be built says why, with the author's line", async (t) => {
  await using made = await makeFixtureProject({
    "a.test.ts": `import { lab, test } from "belljar";
      const names = ["throws", "nothing", "none", "circle", "late", "exits", "missing"];
      for (const name of names) {
        test(name, async () => void await lab.fixture(\`./\${name}.fixture.ts\`));
      }`,
    "throws.fixture.ts": `import { defineFixture } from "belljar";
      console.log("before");
      export default defineFixture(async () => {
        throw new Error("no database here");
      });`,
    "nothing.fixture.ts": `import { defineFixture } from "belljar";
      defineFixture(async () => {});`,
    "none.fixture.ts": "export {};",
    "circle.fixture.ts": `import { defineFixture, lab } from "belljar";
      defineFixture(async () => (await lab.fixture("./circle.fixture.ts")).snapshot());`,
    "late.fixture.ts": `import { defineFixture } from "belljar";
      defineFixture(() => new Promise(() => {}), { timeout: 0.5 });`,
    "exits.fixture.ts": `import { defineFixture } from "belljar";
      defineFixture(() => { console.error("bye"); Deno.exit(7); });`,
  });
  const { project } = made;
  const { events, code } = await project.run([], SHARED);
  assertEquals(code, 1);
  const rows = {
    throws: [/no database here/, /throws\.fixture\.ts:4/, /it printed\s+before/],
    nothing: [/it is undefined/, /return await vm\.snapshot\(\)/],
    none: [/it defines none/],
    circle: [/builds on itself/, /circle\.fixture\.ts → circle\.fixture\.ts/],
    late: [/it did not end within 500 ms/, /option timeout/],
    exits: [/its process has ended/, /ended with code 7/, /bye/],
    missing: [/Cannot find fixture/, /missing\.fixture\.ts/],
  };
  for (const [name, patterns] of Object.entries(rows)) {
    await t.step(name, () => {
      const finished = ofKind(events, "test_finished").find(({ test }) => test === name)!;
      assertEquals(finished.status, "failed");
      const text = JSON.stringify(finished.error).replaceAll("\\n", "\n");
      for (const pattern of patterns) assertMatch(text, pattern);
    });
  }
  assertEquals(await entriesOf(project), []);
});

Deno.test("under deno test a fixture is built in a process of its own", async () => {
  await using made = await makeFixtureProject({
    "a.test.ts": usingTest("one"),
    "b.test.ts": usingTest("one"),
    "db.fixture.ts": FIXTURE,
    "lib.ts": 'export const TEXT = "one";',
    "data": "",
  });
  const { project } = made;
  const { code, out, err } = await project.denoTest(
    ["--parallel", "a.test.ts", "b.test.ts"],
    SHARED,
  );
  assertEquals(code, 0, out + err);
  assertEquals((out + err).split("building").length - 1, 1);
  assertStringIncludes(out, "2 passed");
  assertEquals((await entriesOf(project)).length, 1);
});

/** Run tokens in the environments of a process' descendants. */
async function tokensBelow(pid: number): Promise<string[]> {
  const tokens = new Set<string>();
  const visit = async (parent: number): Promise<void> => {
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const stat = await Deno.readTextFile(`/proc/${name}/stat`).catch(() => "");
      if (Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) !== parent) continue;
      const env = await Deno.readTextFile(`/proc/${name}/environ`).catch(() => "");
      const token = /(?:^|\0)BELLJAR_TOKEN=([^\0]+)/.exec(env)?.[1];
      if (token) tokens.add(token);
      await visit(Number(name));
    }
  };
  await visit(pid);
  return [...tokens];
}

async function gone(token: string): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if ((await processesWithToken(token)).length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`processes of run ${token} are left`);
}
