import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { StateError } from "../../src/errors.ts";
import { lab, LabError } from "../../src/lab/mod.ts";
import { closeRunAfterwards, inScope, labTest } from "./_lab.ts";

closeRunAfterwards();

labTest("restore() brings files, processes and a machine that has ended back", async ({ t }) => {
  const vm = await lab.vm("saved", "tiny").boot();
  await vm.writeFile("/tmp/state", "before");
  await vm.run("sleep 900 &", { keep: true });
  const snapshot = await vm.snapshot();
  assert(snapshot.path.length > 0);
  await vm.writeFile("/tmp/state", "after");
  assertEquals((await vm.run("echo it goes on")).stdout, "it goes on\n");
  const alive = async () => (await vm.processes()).some(({ command }) => command === "sleep 900");
  await t.step("from a running machine", async () => {
    await vm.restore(snapshot);
    assertEquals(vm.state, "booted");
    assertEquals(await vm.readTextFile("/tmp/state"), "before");
    assert(await alive());
    await vm.run("echo restored > /dev/console", { check: true });
    await vm.console.expect("restored", 30);
  });
  await t.step("from a paused machine", async () => {
    await vm.pause();
    await vm.restore(snapshot);
    assert(await alive());
  });
  await t.step("from one that was killed, and one that was shut down", async () => {
    await vm.kill();
    assertEquals(vm.state, "dead");
    await vm.restore(snapshot);
    assertEquals(await vm.readTextFile("/tmp/state"), "before");
    await vm.shutdown();
    await vm.restore(snapshot);
    assertEquals(vm.state, "booted");
    assertEquals((await vm.run("cat /tmp/state")).stdout, "before");
  });
  await t.step("but not from one that was deleted", async () => {
    assert(snapshot.size > 0);
    await snapshot.delete();
    await snapshot.delete();
    await assertRejects(() => vm.restore(snapshot), StateError, "it was deleted");
    assertEquals((await vm.run("echo still")).stdout, "still\n");
  });
});

labTest(
  "snapshot() refuses open files and streams by their places; processes and workers go on",
  async () => {
    const vm = await lab.vm("open", "tiny").boot();
    await vm.writeFile("/tmp/f", "");
    const file = await vm.openFile("/tmp/f", { read: true });
    const tail = await vm.tail("/tmp/f");
    const worker = await vm.spawnWorker();
    const process = await vm.runAsync("cat; exit 3");
    const error = await assertRejects(() => vm.snapshot(), StateError);
    for (const part of ['file "/tmp/f"', 'tail "/tmp/f"']) {
      assertStringIncludes(
        error.message,
        part,
      );
    }
    assertEquals(error.message.split("lab_snapshots_test.ts:").length, 3);
    await Promise.all([file.close(), tail.close()]);
    await process.write("before\n");
    await process.stdout.expect("before\n");
    const snapshot = await vm.snapshot();
    const later = await vm.runAsync("sleep 900");
    await process.write("after\n");
    await process.stdout.expect("after\n");
    assertEquals((await worker.run("echo works")).stdout, "works\n");
    await vm.restore(snapshot);
    assertEquals((await worker.run("echo works")).stdout, "works\n");
    await assertRejects(() => later.wait(10), Error, "was put back to");
    await process.write("again\n");
    await process.closeStdin();
    const { exitCode, stdout } = await process.wait(30);
    assertEquals([exitCode, stdout], [3, "before\nafter\nagain\n"]);
    const [fork] = await vm.fork();
    assert((await fork!.spawnWorker()).id > worker.id);
  },
);

labTest("fork() starts machines that go on from here, each on its own", async () => {
  const vm = await lab.vm("origin", "tiny").boot();
  await vm.writeFile("/tmp/n", "0");
  const forks = await vm.fork(2);
  assertEquals(forks.map(({ name }) => name), ["origin-fork1", "origin-fork2"]);
  const all = [vm, ...forks];
  await Promise.all(all.map((one, i) => one.writeFile("/tmp/n", String(i))));
  assertEquals(await Promise.all(all.map((one) => one.readTextFile("/tmp/n"))), ["0", "1", "2"]);
  assertEquals((await forks[0]!.run("hostname")).stdout, "origin-fork1\n");
  const random = await Promise.all(
    all.map(async (one) => (await one.run("head -c 16 /dev/urandom | hexdump -C")).stdout),
  );
  assertEquals(new Set(random).size, 3);
});

labTest("a snapshot of a file serves its tests, and is deleted with its scope", async () => {
  let path = "";
  await inScope("file", async (file) => {
    const vm = await lab.vm("reset", "tiny").boot();
    const snapshot = await vm.snapshot();
    path = snapshot.path;
    for (const name of ["one", "two"]) {
      await inScope(name, async () => {
        await vm.restore(snapshot);
        assertEquals(await vm.exists("/tmp/dirt"), false);
        await vm.writeFile("/tmp/dirt", name);
      }, file);
    }
  });
  await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
});

labTest("a lab is saved and restored as a whole, or not at all", async () => {
  const group = lab.lab("cluster");
  const [a, b] = [group.vm("left", "tiny"), group.vm("right", "tiny")];
  await group.boot();
  await a.writeFile("/tmp/x", "1");
  await b.writeFile("/tmp/x", "2");
  const snapshot = await group.snapshot();
  await Promise.all([a.remove("/tmp/x"), b.remove("/tmp/x")]);
  await group.restore(snapshot);
  assertEquals([await a.readTextFile("/tmp/x"), await b.readTextFile("/tmp/x")], ["1", "2"]);
  await using _file = await b.openFile("/tmp/x", { read: true });
  const error = await assertRejects(() => group.snapshot(), LabError);
  assertEquals([...error.failures.keys()], ["right"]);
});
