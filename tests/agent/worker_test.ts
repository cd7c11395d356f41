import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { GuestError } from "../../src/errors.ts";
import { type AgentClient, type OpRequest, toBytes, toText } from "../../src/wire/mod.ts";
import { connectAgent, Events, readFile, run, spawn, writeFile } from "./_agent.ts";

const isRoot = Deno.uid() === 0;
/** Why the kernel gives no namespaces here, as in a chroot; `undefined` where it does. */
const noNamespaces = await whyNoNamespaces();

async function whyNoNamespaces(): Promise<string | undefined> {
  if (!isRoot) return "needs root";
  const args = ["--user", "--mount", "--propagation", "private", "true"];
  const { success, stderr } = await new Deno.Command("unshare", { args }).output();
  return success ? undefined : new TextDecoder().decode(stderr).trim();
}

const GETPID = 39, GETUID = 102, SETRESUID = 117, PAUSE = 34, FORK = 57, EXIT_GROUP = 231;
const NEWNS = 0x20000, NEWUTS = 0x4000000, NEWPID = 0x20000000, NEWNET = 0x40000000;
const NEWUSER = 0x10000000;

async function startWorker(
  client: AgentClient,
  options: Omit<OpRequest<"workerSpawn">, "worker"> = {},
): Promise<{ id: number; pid: number; events: Events }> {
  const id = client.newId();
  const events = new Events(client, id);
  const { pid } = await client.request("workerSpawn", { worker: id, ...options });
  return { id, pid, events };
}

function call(client: AgentClient, principal: number, nr: number, args: number[] = []) {
  return client.request("syscall", { nr, args: args.map(BigInt) }, { principal });
}

Deno.test("a worker is a process of its own that runs everything", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const { id: principal, pid, events } = await startWorker(client);
  assertEquals((await call(client, principal, GETPID)).ret, BigInt(pid));
  await writeFile(client, `${dir}/f`, "from a worker", { principal });
  assertEquals(toText(await readFile(client, `${dir}/f`, { principal })), "from a worker");
  const result = await run(client, ["sh", "-c", "echo out; echo err >&2; exit 3"], { principal });
  assertEquals([result.stdout, result.stderr, result.code], ["out\n", "err\n", 3]);
  const error = await assertRejects(() => readFile(client, "/nope", { principal }), GuestError);
  assertEquals([error.errno, error.op, error.path], ["ENOENT", "readFile", "/nope"]);
  const failed = await assertRejects(() => spawn(client, ["no-such"], { principal }), GuestError);
  assertEquals([failed.code, failed.errno], ["SPAWN_EXEC", "ENOENT"]);
  await client.request("workerClose", { worker: principal });
  assertEquals(await events.next("workerExit"), { ev: "workerExit", code: 0 });
  const gone = await assertRejects(() => call(client, principal, GETPID), GuestError);
  assertEquals(gone.code, "NOSUCHID");
});

Deno.test("a worker's open files are its own, and counted", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const { id: principal, events } = await startWorker(client);
  const file = client.newId();
  const path = toBytes(`${dir}/f`);
  await client.request("fileOpen", { file, path, flags: 0o102, mode: 0o600 }, { principal });
  await client.request("fileWrite", { file, data: toBytes("x") }, { principal });
  const foreign = client.request("fileWrite", { file, data: toBytes("x") });
  assertEquals((await assertRejects(() => foreign, GuestError)).code, "NOSUCHID");
  assertEquals((await client.request("counters", {})).files, 1);
  await client.request("workerSignal", { worker: principal, sig: 9 });
  assertEquals((await events.next("workerExit")).sig, 9);
  const { files, workers } = await client.request("counters", {});
  assertEquals([files, workers], [0, 0]);
});

Deno.test({
  name: "a worker of a lesser user is refused what the machine may do",
  ignore: !isRoot,
  async fn() {
    await using agent = await connectAgent();
    const { client } = agent;
    const { id: principal } = await startWorker(client, { uid: 65534, gid: 65534, groups: [4, 5] });
    const error = await assertRejects(
      () => readFile(client, "/etc/shadow", { principal }),
      GuestError,
    );
    assertEquals(error.errno, "EACCES");
    const { stdout } = await run(client, ["sh", "-c", "id -u; id -g; id -G"], { principal });
    assertEquals(stdout, "65534\n65534\n65534 4 5\n");
    assert((await readFile(client, "/etc/shadow")).length > 0);
  },
});

Deno.test({
  name: "setresuid by a raw call holds for all that the worker does, and for it alone",
  ignore: !isRoot,
  async fn() {
    await using agent = await connectAgent();
    const { client } = agent;
    const { id: principal } = await startWorker(client);
    assertEquals((await call(client, principal, SETRESUID, [65534, 65534, 65534])).errno, 0);
    assertEquals((await call(client, principal, GETUID)).ret, 65534n);
    const error = await assertRejects(
      () => readFile(client, "/etc/shadow", { principal }),
      GuestError,
    );
    assertEquals(error.errno, "EACCES");
    assertEquals((await run(client, ["id", "-u"], { principal })).stdout, "65534\n");
    assertEquals((await run(client, ["id", "-u"])).stdout, "0\n");
    assertEquals((await call(client, 0, GETUID)).ret, 0n);
  },
});

Deno.test({
  name: "capabilities, umask, folder and environment are set before the worker begins",
  ignore: !isRoot,
  async fn() {
    await using agent = await connectAgent();
    const { client } = agent;
    const { id: principal } = await startWorker(client, {
      uid: 65534,
      gid: 65534,
      caps: [10],
      umask: 0o27,
      cwd: toBytes("/usr"),
      env: [toBytes("X=1")],
    });
    const script = "grep CapEff /proc/self/status; umask; pwd; echo $X";
    const { stdout } = await run(client, ["sh", "-c", script], { principal });
    assertEquals(stdout, "CapEff:\t0000000000000400\n0027\n/usr\n1\n");
  },
});

Deno.test({
  name: "namespaces belong to the worker and its children" +
    (noNamespaces ? ` (not run: ${noNamespaces})` : ""),
  ignore: noNamespaces !== undefined,
  async fn(t) {
    await using agent = await connectAgent();
    const { client, dir } = agent;
    await Deno.mkdir(`${dir}/mnt`);
    const rows: [string, number, string, string][] = [
      ["uts", NEWUTS, "hostname other; hostname", "other\n"],
      ["net", NEWNET, "ls /sys/class/net | wc -l; grep -c : /proc/net/dev", ""],
      ["mount", NEWNS, "mount -t tmpfs none $DIR && touch $DIR/x && ls $DIR", "x\n"],
      ["pid and mount", NEWPID | NEWNS, "ls -d /proc/[0-9]* | wc -l", ""],
      ["user", NEWUSER | NEWNS, "mount -t tmpfs none $DIR && touch $DIR/x && ls $DIR", "x\n"],
    ];
    for (const [name, unshare, script, expected] of rows) {
      await t.step(name, async () => {
        const env = [toBytes(`DIR=${dir}/mnt`)];
        const { id: principal, events } = await startWorker(client, { unshare, env });
        const { stdout, stderr, code } = await run(client, ["sh", "-c", script], { principal });
        assertEquals([stderr, code], ["", 0]);
        if (expected) assertEquals(stdout, expected);
        else assert(Number(stdout.trim().split("\n").at(-1)) < 10, stdout);
        await client.request("workerClose", { worker: principal });
        await events.next("workerExit");
      });
    }
    assertEquals((await run(client, ["ls", `${dir}/mnt`])).stdout, "");
    const { zombies, workers } = await client.request("counters", {});
    assertEquals([zombies, workers], [0, 0]);
  },
});

Deno.test({
  name: "processes of a pid namespace are known by the machine's numbers",
  ignore: !isRoot,
  async fn() {
    await using agent = await connectAgent({ detectLeaks: false });
    const { client } = agent;
    const worker = await startWorker(client, { unshare: NEWPID });
    const principal = worker.id;
    const proc = await spawn(client, ["sh", "-c", "echo $$; exec sleep 60"], { principal });
    const status = await Deno.readTextFile(`/proc/${proc.pid}/status`);
    assertMatch(status, new RegExp(`NSpid:\\t${proc.pid}\\t3\n`));
    assertEquals((await call(client, principal, GETPID)).ret, 2n);
    // The worker goes, its child stays, and so does the namespace until that has ended.
    await client.request("workerClose", { worker: principal });
    await worker.events.next("workerExit");
    assertEquals((await client.request("procStatus", { proc: proc.id })).running, true);
    await client.request("procSignal", { proc: proc.id, sig: 15, target: 0 });
    assertEquals((await proc.events.next("exit")).sig, 15);
    await proc.events.next("empty");
  },
});

Deno.test("a worker that cannot be made says at which step", async (t) => {
  await using agent = await connectAgent();
  const { client } = agent;
  const rows: [string, Omit<OpRequest<"workerSpawn">, "worker">, string][] = [
    ["a folder that is none", { cwd: toBytes("/no/such") }, "ENOENT"],
    ["a namespace that is none", { unshare: 1 }, "FORMAT"],
    ["a capability that is none", { caps: [99] }, "FORMAT"],
    ["a negative uid", { uid: -1 }, "LIMIT"],
  ];
  for (const [name, options, code] of rows) {
    await t.step(name, async () => {
      const error = await assertRejects(() => startWorker(client, options), GuestError);
      assertEquals(error.code, code);
    });
  }
  const { workers, zombies } = await client.request("counters", {});
  assertEquals([workers, zombies], [0, 0]);
});

Deno.test("a worker that is stuck delays nobody, and can be cancelled or killed", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const { id: principal, events } = await startWorker(client);
  const other = await startWorker(client);
  const proc = await spawn(client, ["cat"], { principal, input: true });
  const abort = new AbortController();
  const path = toBytes(`${dir}/fifo`);
  await client.request("mknod", { path, mode: 0o010600, dev: 0n }, { principal });
  const stuck = readFile(client, `${dir}/fifo`, { principal }).catch((error) => error.code);
  const queued = client.request("stat", { path, follow: true }, {
    principal,
    signal: abort.signal,
  });
  // Its processes and the other worker go on.
  await proc.stdin!.write(toBytes("still here"));
  proc.stdin!.end();
  assertEquals(toText(await proc.stdout.collect()), "still here");
  assertEquals((await proc.events.next("exit")).code, 0);
  assertEquals((await call(client, other.id, GETPID)).ret, BigInt(other.pid));
  abort.abort();
  await assertRejects(() => queued, DOMException);
  await writeFile(client, `${dir}/fifo`, "");
  await stuck;

  const paused = client.request("syscall", { nr: PAUSE, args: [] }, {
    principal,
    signal: AbortSignal.timeout(20),
  });
  await assertRejects(() => paused, DOMException);
  assertEquals((await call(client, principal, GETUID)).errno, 0);

  const lost = [call(client, principal, PAUSE), call(client, principal, GETPID)]
    .map((one) => one.catch((error) => error.code));
  await client.request("workerSignal", { worker: principal, sig: 9 });
  assertEquals(await Promise.all(lost), ["WORKERGONE", "WORKERGONE"]);
  assertEquals((await events.next("workerExit")).sig, 9);
});

Deno.test("raw calls that end or copy a worker do no more than that", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const { id: principal, pid, events } = await startWorker(client);
  assert((await call(client, principal, FORK)).ret > 0n);
  assertEquals((await call(client, principal, GETPID)).ret, BigInt(pid));
  const end = await assertRejects(() => call(client, principal, EXIT_GROUP, [7]), GuestError);
  assertEquals(end.code, "WORKERGONE");
  assertEquals((await events.next("workerExit")).code, 7);
});

Deno.test("syscallAsync of a worker", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const { id: principal } = await startWorker(client);
  const id = client.newId();
  const events = new Events(client, id);
  await client.request("syscallAsync", { call: id, nr: PAUSE, args: [] }, { principal });
  while ((await client.request("syscallState", { call: id })).state !== 1);
  assertEquals((await call(client, principal, GETUID)).errno, 0);
  await client.request("syscallCancel", { call: id });
  const { ret, errno } = await events.next("syscall");
  assertEquals([ret, errno], [-1n, 4]);
});

Deno.test("100 workers at once, each with its own answers", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const before = await client.request("counters", {});
  const workers = await Promise.all(Array.from({ length: 100 }, () => startWorker(client)));
  const pids = await Promise.all(workers.map(({ id }) => call(client, id, GETPID)));
  assertEquals(pids.map(({ ret }) => Number(ret)), workers.map(({ pid }) => pid));
  await Promise.all(workers.map(({ id }) => client.request("workerClose", { worker: id })));
  await Promise.all(workers.map(({ events }) => events.next("workerExit")));
  const after = await client.request("counters", {});
  assertEquals([after.workers, after.fds, after.zombies], [0, before.fds, 0]);
});
