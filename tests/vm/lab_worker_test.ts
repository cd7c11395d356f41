import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { GuestError, StateError } from "../../src/errors.ts";
import { SignalError } from "../../src/values/mod.ts";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("workers");

test("3: a worker with a lesser user gets EACCES where the machine succeeds", async (vm) => {
  await vm.writeFile("/tmp/secret", "s", { mode: 0o600 });
  await using worker = await vm.spawnWorker({ uid: 1000, gid: 1000, groups: [] });
  const error = await assertRejects(() => worker.readFile("/tmp/secret"), GuestError);
  assertEquals(error.errno, "EACCES");
  assertEquals(await vm.readTextFile("/tmp/secret"), "s");
  assertEquals((await worker.run("id -u; id -g")).stdout, "1000\n1000\n");
  assertEquals((await worker.syscall("getuid")).ret, 1000n);
  await worker.close();
  assertEquals((await vm.syscall("getuid")).ret, 0n);
  assertEquals((await vm.run("id -u")).stdout, "0\n");
});

test("3: setresuid by a raw call in a worker counts for it alone", async (vm) => {
  await vm.writeFile("/tmp/secret2", "s", { mode: 0o600 });
  await using worker = await vm.spawnWorker();
  await using other = await vm.spawnWorker();
  assertEquals(await worker.readTextFile("/tmp/secret2"), "s");
  (await worker.syscall("setresuid", 1001, 1001, 1001)).check();
  const error = await assertRejects(() => worker.readFile("/tmp/secret2"), GuestError);
  assertEquals(error.errno, "EACCES");
  assertEquals((await worker.run("id -u")).stdout, "1001\n");
  assertEquals(await other.readTextFile("/tmp/secret2"), "s");
  assertEquals(await vm.readTextFile("/tmp/secret2"), "s");
});

test("a job has a group of its own, whatever rights its worker has left", async (vm) => {
  await using plain = await vm.spawnWorker();
  await using lesser = await vm.spawnWorker({ uid: 1000, gid: 1000, groups: [] });
  const groups = new Set<string>();
  for (const place of [vm, plain, lesser]) {
    for (let i = 0; i < 2; i++) {
      const { stdout } = await place.run("cat /proc/self/cgroup", { check: true });
      assertMatch(stdout, /^0::\/belljar\/[0-9a-f]{8}-\d+\n$/);
      groups.add(stdout);
    }
  }
  assertEquals(groups.size, 6);
});

test("4: namespaces, umask, cwd, capabilities and environment come from spawnWorker()", async (vm) => {
  await using worker = await vm.spawnWorker({
    unshare: ["mount", "net", "uts"],
    umask: 0o077,
    cwd: "/proc",
    env: { MARK: "here" },
    caps: ["sys_admin", "CAP_NET_ADMIN", "dac_override"],
  });
  await worker.run(
    "mkdir -p /tmp/private && mount -t tmpfs none /tmp/private && touch /tmp/private/in",
    {
      check: true,
    },
  );
  assert(await worker.exists("/tmp/private/in"));
  assert(!await vm.exists("/tmp/private/in"));
  assertEquals((await worker.run("echo $MARK; pwd")).stdout, "here\n/proc\n");
  await worker.run("touch /tmp/masked", { check: true });
  assertEquals((await vm.stat("/tmp/masked")).mode, 0o600);
  const status = await worker.readTextFile("/proc/self/status");
  assertEquals(/CapEff:\s*(\w+)/.exec(status)?.[1], "0000000000201002");
  const inner = await worker.readLink("/proc/self/ns/net");
  assert(inner !== await vm.readLink("/proc/1/ns/net"));
});

test("4: a user namespace lets a worker be root of its own", async (vm) => {
  await using worker = await vm.spawnWorker({ unshare: ["user", "mount"] });
  assert(await worker.readLink("/proc/self/ns/user") !== await vm.readLink("/proc/1/ns/user"));
});

test("a worker's surface is the machine's, in order on one thread", async (vm) => {
  await using worker = await vm.spawnWorker();
  assertEquals((await worker.syscall("gettid")).ret, BigInt(worker.pid));
  await worker.writeFile("/tmp/ww", "w");
  assertEquals((await worker.stat("/tmp/ww")).size, 1);
  assertEquals(await worker.readTextFile("/proc/self/comm").then((s) => s.length > 0), true);
  await using proc = await worker.runAsync("cat");
  await proc.write("hello");
  await proc.closeStdin();
  assertEquals((await proc.wait("20s")).stdout, "hello");
  assertEquals(worker.handle(), worker.handle());
  const job = vm.jobs.get(proc.job.id)!;
  assertEquals(job.origin, { kind: "guest", vm: "workers", worker: String(worker.id) });
});

test("kill() reaches the children of this worker alone, and join() collects them", async (vm) => {
  await using worker = await vm.spawnWorker();
  await using other = await vm.spawnWorker();
  for (let i = 0; i < 3; i++) await worker.runAsync("sleep", { args: ["800"] });
  await using kept = await other.runAsync("sleep", { args: ["801"] });
  const early = await worker.join("100ms");
  assertEquals([early.results.length, early.pending.length], [0, 3]);
  for (const wrong of [{}, [], null]) {
    await assertRejects(() => worker.kill(wrong as unknown as number), SignalError, "got");
  }
  assertEquals(await worker.kill("INT"), 3);
  const joined = await worker.join("30s");
  assertEquals([joined.exitCode, joined.pending], [130, []]);
  assertEquals(joined.results.map(({ signal }) => signal), ["SIGINT", "SIGINT", "SIGINT"]);
  assertEquals(await worker.kill(), 0);
  assertEquals((await kept.status()).running, true);
});

test("join() gives the worst code, and close() twice is one close", async (vm) => {
  const worker = await vm.spawnWorker();
  for (const code of [0, 3, 1]) await worker.runAsync(`exit ${code}`);
  const joined = await worker.join("30s");
  assertEquals([joined.exitCode, joined.results.length], [3, 3]);
  const child = await worker.runAsync("sleep", { args: ["802"] });
  await Promise.all([worker.close(), worker.close()]);
  assertEquals((await child.wait("10s")).signal, "SIGTERM");
  await assertRejects(() => worker.run("true"), StateError, "it is closed");
  const gone = (await vm.processes()).filter(({ pid, state }) =>
    pid === worker.pid && state !== "Z"
  );
  assertEquals(gone, []);
});

test("terminate() ends the worker's own process, and later calls say so", async (vm) => {
  await using worker = await vm.spawnWorker();
  await worker.terminate("KILL");
  assertEquals(await worker.exit, { signal: "SIGKILL" });
  await assertRejects(() => worker.stat("/"), StateError, "its process ended with SIGKILL");
});

test("an exit_group by a raw call costs the worker alone", async (vm) => {
  await using worker = await vm.spawnWorker();
  await worker.syscall("exit_group", 7).catch(() => {});
  assertEquals(await worker.exit, { code: 7 });
  assertEquals((await vm.run("echo on")).stdout, "on\n");
});

test(
  "spawnWorker() refuses threads with a pointer, and wrong options by name",
  async (vm, { t }) => {
    const rows: [object, string][] = [
      [{ thread: true }, "use vm.syscallAsync(), for a command vm.runAsync()"],
      [{ uid: -1 }, "uid of vm.spawnWorker() must be a whole number from 0"],
      [{ groups: 5 }, "must be an array of numbers"],
      [{ caps: ["net_admn"] }, '"net_admn"'],
      [{ unshare: ["network"] }, 'got "network"'],
      [{ umask: 0o1000 }, "from 0 to 0o777"],
      [{ nmae: 1 }, "Unknown option"],
    ];
    for (const [options, message] of rows) {
      await t.step(message, async () => {
        const error = await vm.spawnWorker(options).then(() => undefined, (error) => error);
        assert(error instanceof TypeError || error instanceof RangeError, String(error));
        assert(error.message.includes(message), error.message);
      });
    }
  },
);
