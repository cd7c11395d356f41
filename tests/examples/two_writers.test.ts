import { lab, test } from "belljar";

test("two concurrent writers do not tear", async (t) => {
  const vm = await lab.vm("v", "tiny").boot();
  const w1 = await vm.spawnWorker();
  const w2 = await vm.spawnWorker();
  const p1 = await w1.runAsync("dd", {
    args: ["if=/dev/urandom", "of=/tmp/a", "bs=1M", "count=8"],
  });
  const p2 = await w2.runAsync("dd", {
    args: ["if=/dev/urandom", "of=/tmp/b", "bs=1M", "count=8"],
  });
  (await p1.wait("10s")).assertOk();
  (await p2.wait("10s")).assertOk();
  t.assertEquals((await vm.stat("/tmp/a")).size, 8 * 1024 * 1024);
  t.assertEquals((await vm.stat("/tmp/b")).size, 8 * 1024 * 1024);
}); // here the scope walker closes p2, p1, w2, w1 and the VM, newest first
