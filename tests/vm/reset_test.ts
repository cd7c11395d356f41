import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { makeProject, ofKind, outcomes } from "../runner/_belljar.ts";
import { SHARED } from "./_fixtures.ts";

Deno.test("what a test does to a machine of its file is gone in the next", async () => {
  await using project = await makeProject({
    "x.test.ts": `import { beforeAll, defineFile, lab, test } from "belljar";
      defineFile({ resetBetweenTests: true });
      const vm = lab.vm("v", "tiny");
      const spare = lab.vm("spare", "tiny");
      beforeAll(async () => {
        await vm.boot();
        await vm.writeFile("/tmp/base", "base");
      });
      for (const name of ["one", "two", "three"]) {
        test(name, async (t) => {
          t.assertEquals(await vm.exists("/tmp/dirt"), false);
          t.assertEquals(await vm.readTextFile("/tmp/base"), "base");
          t.assertEquals((await vm.run("grep -c /mnt /proc/mounts")).stdout, "0\\n");
          const commands = (await vm.processes()).map(({ command }) => command);
          t.assert(!commands.includes("sleep 2000"), commands.join());
          await vm.run("mkdir -p /mnt; mount -t tmpfs none /mnt", { check: true });
          await vm.run("echo > /tmp/dirt; rm /tmp/base; sleep 2000 &", { check: true, keep: true });
          t.assertEquals(spare.state, "created");
          if (name === "one") await spare.boot();
          if (name === "two") await vm.kill();
        });
      }`,
  });
  const { code, events, out, err } = await project.run([], SHARED);
  assertEquals(code, 0, out + err);
  assertEquals(outcomes(events).length, 3);
  const { code: denoCode, out: denoOut } = await project.denoTest(["x.test.ts"], SHARED);
  assertEquals(denoCode, 0, denoOut);
});

Deno.test("processes, services and workers of the file go on in each test", async () => {
  await using project = await makeProject({
    "x.test.ts": `import { beforeAll, defineFile, lab, probe, test } from "belljar";
      defineFile({ resetBetweenTests: true });
      const vm = lab.vm("v", "tiny");
      let cat, count, worker, service;
      beforeAll(async () => {
        await vm.boot();
        cat = await vm.runAsync("while read line; do echo got $line; echo err $line >&2; done");
        count = await vm.background("while sleep 0.05; do echo $((n += 1)); done");
        worker = await vm.spawnWorker({ uid: 1000 });
        service = await vm.service({ name: "echo", command: "echo ready; exec sleep 5000", ready: probe.log("ready") });
        await cat.write("zero\\n");
        await cat.stdout.expect("got zero");
      });
      for (const name of ["one", "two", "three"]) {
        test(name, async (t) => {
          await cat.write(name + "\\n");
          await cat.stdout.expect("got " + name);
          await cat.stderr.expect("err " + name);
          const seen = count.stdout.text().length;
          await vm.waitUntil(() => count.stdout.text().length > seen + 20);
          t.assertEquals((await worker.run("id -u")).stdout, "1000\\n");
          t.assertEquals(service.state, "ready");
          t.assertEquals((await cat.status()).running, true);
          const other = await vm.spawnWorker();
          t.assert(other.id > worker.id);
          t.assertEquals((await other.run("id -u")).stdout, "0\\n");
          if (name === "two") await cat.kill("KILL");
        }, );
      }`,
  });
  const { code, events, out, err } = await project.run([], SHARED);
  const failed = outcomes(events).filter((line) => !line.endsWith("passed"));
  // The second test kills the process: what stands for it has ended, and that is said.
  assertEquals(failed.map((line) => line.split(":")[0]), ["x.test.ts > three"], out + err);
  assertEquals(code, 1);
  const warnings = ofKind(events, "warning").map(({ message }) => String(message));
  assert(warnings.some((message) => message.includes("runs again in machine")), warnings.join());
});

Deno.test("a stream that is open when the tests begin is refused with its line", async () => {
  await using project = await makeProject({
    "x.test.ts": `import { beforeAll, defineFile, lab, test } from "belljar";
      defineFile({ resetBetweenTests: true });
      const vm = lab.vm("v", "tiny");
      beforeAll(async () => {
        await vm.boot();
        await vm.tail("/etc/hosts");
      });
      test("one", () => {});
      test("two", () => {});`,
  });
  const { code, events } = await project.run([], SHARED);
  assertEquals(code, 1);
  assertEquals(outcomes(events), [
    "x.test.ts > one: failed (test)",
    "x.test.ts > two: failed (test)",
  ]);
  for (const { error } of ofKind(events, "test_finished")) {
    const { message } = error as { message: string };
    assertStringIncludes(message, `Cannot snapshot machine "v": it has something open`);
    assertStringIncludes(message, `tail "/etc/hosts", created at ${project.path("x.test.ts")}:6:`);
  }
});
