import { assertEquals, assertRejects } from "@std/assert";
import { probe, ServiceStartError } from "../../src/jobs/mod.ts";
import { lab } from "../../src/lab/mod.ts";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("servers");

test("a service in the guest is ready when its port takes connections, and ends with its scope", async (vm) => {
  await vm.writeFile("/tmp/www/index.html", "hello from the guest\n", { parents: true });
  const web = await vm.service({
    name: "web",
    command: "exec busybox httpd -f -p {{port.http}} -h /tmp/www",
    ports: { http: 8080 },
    ready: probe.http({ port: "http", path: "/index.html" }),
  });
  assertEquals(web.state, "ready");
  const fetched = await vm.run("wget -q -O - http://127.0.0.1:8080/index.html", { check: true });
  assertEquals(fetched.stdout, "hello from the guest\n");
  const report = await web.stop();
  assertEquals([report.how, web.state], ["graceful", "stopped"]);
});

test("a service that exits at once fails at once, with its output", async (vm) => {
  const error = await assertRejects(
    () =>
      vm.service({ name: "broken", command: "echo cannot bind >&2; exit 3", ports: { x: 8081 } }),
    ServiceStartError,
  );
  assertEquals([error.reason, error.result?.exitCode], ["exited", 3]);
  assertEquals(error.logTail.includes("cannot bind"), true);
});

test("services depend on each other", async (vm) => {
  const group = await vm.services([
    { name: "db", command: "echo ready; exec sleep 1000", ready: probe.log("ready") },
    { name: "api", command: "exec sleep 1000", dependsOn: ["db"] },
  ]);
  assertEquals(group.all.map(({ name }) => name).sort(), ["api", "db"]);
  const reports = await group.stop();
  assertEquals(reports.map(({ how }) => how), ["graceful", "graceful"]);
});

test("processes of the guest take part in barriers by belljar-barrier", async (vm) => {
  const waiting = vm.run("belljar-barrier mixed 3 60; echo $?");
  await using worker = await vm.spawnWorker({ uid: 1000, gid: 1000, groups: [] });
  const user = worker.run("belljar-barrier mixed 3; echo $?");
  assertEquals(await lab.barrier("mixed", 3, 60), true);
  assertEquals([(await waiting).stdout, (await user).stdout], ["0\n", "0\n"]);
  assertEquals((await vm.run("belljar-barrier alone 2 0.2; echo $?")).stdout, "1\n");
  assertEquals((await vm.run("belljar-barrier; echo $?")).stdout, "2\n");
  assertEquals(await vm.readDir("/run/belljar/barriers"), []);
});

test("a link where a barrier's answer is expected is not followed", async (vm) => {
  await vm.writeFile("/tmp/precious", "precious", { mode: 0o600 });
  await using worker = await vm.spawnWorker({ uid: 1000, gid: 1000, groups: [] });
  const folder = "/run/belljar/barriers";
  await worker.symlink("/tmp/precious", `${folder}/evil.fifo`);
  await worker.writeFile(`${folder}/evil.new`, "1\n1\nsolo");
  await worker.rename(`${folder}/evil.new`, `${folder}/evil.wait`);
  assertEquals((await vm.run("belljar-barrier other 1; echo $?")).stdout, "0\n");
  assertEquals(await vm.readTextFile("/tmp/precious"), "precious");
});

test("barriers let tasks wait for each other, and can be used again", async () => {
  for (let round = 0; round < 3; round++) {
    const arrived: number[] = [];
    const results = await Promise.all([0, 1, 2].map(async (n) => {
      arrived.push(n);
      return await lab.barrier("meet", 3, 20);
    }));
    assertEquals(results, [true, true, true]);
    assertEquals(arrived.length, 3);
  }
  assertEquals(await lab.barrier("alone", 2, "50ms"), false);
});
