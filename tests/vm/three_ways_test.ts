import { assert, assertEquals } from "@std/assert";
import { difference } from "../../scripts/same_streams.ts";
import { makeProject } from "../runner/_belljar.ts";
import { belljarCommand } from "./_terminal.ts";

/** The user's own cache: images and templates are not built anew for each test. */
const SHARED = {
  BELLJAR_CACHE_DIR: Deno.env.get("BELLJAR_CACHE_DIR") ?? `${Deno.env.get("HOME")}/.cache/belljar`,
};

/** A file of everything that can become of a test. */
const FILES = {
  "helper.ts": `import { assertEquals } from "@std/assert";
    export enum Port { http = 80 }
    export function check(port: Port) {
      assertEquals(port, 8080);
    }`,
  "x.test.ts": `import { afterEach, beforeAll, lab, test } from "belljar";
    import { check, Port } from "./helper.ts";
    const vm = lab.vm("v", "tiny");
    beforeAll(async () => void await vm.boot());
    afterEach(async (t) => t.log("after", t.name));
    test("fails in an imported helper", () => check(Port.http));
    test("fails in the guest", async () => void await vm.readTextFile("/nowhere"));
    test("fails although it caught", (t) => {
      try { t.assertEquals([1, 2], [1, 3]); } catch { /* on purpose */ }
    });
    test("fails twice, softly", (t) => {
      t.soft.assertEquals(1, 2);
      t.soft.assertMatch("abc", /d/);
    });
    test("runs out of time", { timeout: "2s" }, async () => void await vm.run("sleep 60"));
    test("fails in a step and goes on", async (t) => {
      await t.step("one", async () => void (await vm.run("exit 3")).assertOk()).catch(() => {});
    });
    test.skip("is never run", () => {});
    test.todo("is not written yet", "no time");
    test("is skipped by itself", (t) => t.skip("not today"));
    test("needs what is not there", { require: { memory: "1000G" } }, () => {});
    let times = 0;
    test("passes at the second attempt", { retries: 1 }, (t) => t.assertEquals(++times, 2));
    test.each([1, 2])("row %d", async (t, n) => t.assertEquals((await vm.run(\`echo \${n}\`)).stdout, \`\${n}\\n\`));
    test("leaves a process", async () => void await vm.runAsync("sleep 300"));
    `,
};

Deno.test("three ways: deno test, deno run and the binary tell the same story of every outcome", async () => {
  await using project = await makeProject(FILES);
  const file = project.path("x.test.ts");
  const by = (name: string) => project.path(`${name}.jsonl`);
  const denoTest = await project.denoTest([file], { ...SHARED, BELLJAR_EVENTS: by("test") });
  assertEquals(denoTest.code, 1, denoTest.out);
  const denoRun = await project.belljar(["run", "--events", by("run"), file], SHARED);
  assertEquals(denoRun.code, 1, denoRun.out);
  const reference = await Deno.readTextFile(by("run"));
  for (const status of ["passed", "failed", "skipped", "flaky"]) {
    assert(reference.includes(`"status":"${status}"`), `a test is ${status}`);
  }
  assertEquals(difference(reference, await Deno.readTextFile(by("test"))), undefined);
  if (!Deno.env.get("BELLJAR_BIN")) return;
  const [bin, ...args] = belljarCommand(["run", "--events", by("binary"), file]);
  const output = await new Deno.Command(bin!, { args, cwd: project.dir, env: SHARED }).output();
  assertEquals(output.code, 1);
  assertEquals(difference(reference, await Deno.readTextFile(by("binary"))), undefined);
});
