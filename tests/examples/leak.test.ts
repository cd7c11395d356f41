import { beforeAll, lab, test, type Vm } from "belljar";

let vm: Vm;
let pids: number[] = [];

beforeAll(async () => {
  vm = await lab.vm("leaky", "tiny").boot();
});

test("what a test leaves open is closed for it", async (t) => {
  const sleeper = await vm.runAsync("sleep", { args: ["300"] });
  const worker = await vm.spawnWorker();
  const child = await worker.runAsync("sleep", { args: ["300"] });
  await worker.openFile("/etc/hosts");
  pids = [sleeper.pid, child.pid];
  for (const pid of pids) t.assertEquals((await vm.run(`test -d /proc/${pid}`)).exitCode, 0);
  // Nothing is closed here on purpose: the report lists what the scope walker had to close, and where it was opened.
});

test("the next test finds none of it", async (t) => {
  for (const pid of pids) {
    t.assertEquals((await vm.run(`test -d /proc/${pid}`)).exitCode, 1, `process ${pid} is gone`);
  }
});
