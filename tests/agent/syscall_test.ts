import { assert, assertEquals, assertRejects } from "@std/assert";
import { GuestError } from "../../src/errors.ts";
import {
  type AgentClient,
  type OpReply,
  type OpRequest,
  toBytes,
  toText,
} from "../../src/wire/mod.ts";
import { connectAgent, Events } from "./_agent.ts";

/** Numbers of asm/unistd_64.h; the tests of the sanitized agent run where it is native. */
const NR = {
  read: 0,
  write: 1,
  close: 3,
  poll: 7,
  mmap: 9,
  pipe: 22,
  pause: 34,
  getpid: 39,
  fork: 57,
  uname: 63,
  chdir: 80,
  umask: 95,
  writev: 20,
  sched_setaffinity: 203,
  sched_getaffinity: 204,
  getrandom: 318,
};
const EFAULT = 14, EBADF = 9, EINTR = 4;

type Table = Partial<OpRequest<"syscall">>;

function call(
  client: AgentClient,
  nr: number,
  args: (number | bigint)[] = [],
  table: Table = {},
): Promise<OpReply<"syscall">> {
  return client.request("syscall", { nr, args: args.map(BigInt), ...table });
}

Deno.test({
  name: "syscall",
  ignore: Deno.build.arch !== "x86_64",
  async fn(t) {
    await using agent = await connectAgent();
    const { client, dir } = agent;

    await t.step("returns numbers and failures", async () => {
      assertEquals(await call(client, NR.getpid), {
        ret: BigInt(agent.process.pid),
        errno: 0,
        outs: [],
      });
      assertEquals(await call(client, NR.close, [-1]), { ret: -1n, errno: EBADF, outs: [] });
      assertEquals((await call(client, 100_000)).errno, 38);
    });
    await t.step("gives back every buffer", async () => {
      const uname = await call(client, NR.uname, [0], { bufs: [390], ptrs: [0] });
      assert(toText(uname.outs[0]!).startsWith("Linux\0"));
      const random = await call(client, NR.getrandom, [0, 100, 0], { bufs: [100], ptrs: [0] });
      assertEquals(random.ret, 100n);
      assert(random.outs[0]!.some((byte) => byte !== 0));
    });
    await t.step("follows nested pointers", async () => {
      const [read, write] = await pipe(client);
      const iov = new Uint8Array(32);
      new DataView(iov.buffer).setBigUint64(8, 3n, true);
      new DataView(iov.buffer).setBigUint64(24, 4n, true);
      const sent = await call(client, NR.writev, [write, 0, 2], {
        bufs: [iov, toBytes("abc"), toBytes("defg")],
        ptrs: [1],
        nested: [[0, 1, 0], [0, 2, 16]],
      });
      assertEquals(sent.ret, 7n);
      const got = await call(client, NR.read, [read, 0, 16], { bufs: [16], ptrs: [1] });
      assertEquals(toText(got.outs[0]!.subarray(0, 7)), "abcdefg");
      await call(client, NR.close, [read]);
      await call(client, NR.close, [write]);
    });
    await t.step("a length beyond its buffer fails instead of breaking the agent", async () => {
      const [read, write] = await pipe(client);
      await call(client, NR.write, [write, 0, 4096], { bufs: [4096], ptrs: [1] });
      const got = await call(client, NR.read, [read, 0, 4096], { bufs: [16], ptrs: [1] });
      assert(got.errno === EFAULT || got.ret <= 16n, `${got.ret}`);
      await call(client, NR.close, [read]);
      await call(client, NR.close, [write]);
      await client.request("ping", {});
    });
    await t.step("what a thread has set holds in its next call", async () => {
      const mask = new Uint8Array(128);
      mask[0] = 1;
      await call(client, NR.sched_setaffinity, [0, 128, 0], { bufs: [mask], ptrs: [2] });
      const got = await call(client, NR.sched_getaffinity, [0, 128, 0], { bufs: [128], ptrs: [2] });
      assertEquals(got.outs[0]![0], 1);
      await call(client, NR.umask, [0o77]);
      assertEquals((await call(client, NR.umask, [0o22])).ret, 0o77n);
      await call(client, NR.chdir, [0], { bufs: [toBytes("/usr\0")], ptrs: [0] });
      const relative = client.request("stat", { path: toBytes("share"), follow: true });
      assertEquals((await assertRejects(() => relative, GuestError)).errno, "ENOENT");
    });
    await t.step("an open file fills its argument", async () => {
      const file = client.newId();
      await client.request("fileOpen", {
        file,
        path: toBytes(`${dir}/f`),
        flags: 0o102,
        mode: 0o600,
      });
      const table = { bufs: [toBytes("text")], ptrs: [1], files: [[0, file]] };
      assertEquals((await call(client, NR.write, [0, 0, 4], table)).ret, 4n);
      assertEquals(await Deno.readTextFile(`${dir}/f`), "text");
      await client.request("fileClose", { file });
      const error = await assertRejects(() => call(client, NR.write, [0, 0, 4], table), GuestError);
      assertEquals(error.code, "NOSUCHID");
    });
    await t.step("a process that it forks ends at once", async () => {
      const { ret } = await call(client, NR.fork);
      assert(ret > 0n);
      await client.request("ping", {});
    });
    await t.step("readMem reads what is mapped", async () => {
      const map = await call(client, NR.mmap, [0, 4096, 3, 0x22, -1, 0]);
      const { data } = await client.request("readMem", { addr: map.ret, length: 4096 });
      assertEquals(data, new Uint8Array(4096));
      const action = client.request("readMem", { addr: 8n, length: 8 });
      assertEquals((await assertRejects(() => action, GuestError)).errno, "EFAULT");
    });
  },
});

async function pipe(client: AgentClient): Promise<[number, number]> {
  const { outs } = await call(client, NR.pipe, [0], { bufs: [8], ptrs: [0] });
  const view = new DataView(outs[0]!.buffer, outs[0]!.byteOffset, 8);
  return [view.getInt32(0, true), view.getInt32(4, true)];
}

Deno.test("syscall refuses tables that make no sense", async (t) => {
  await using agent = await connectAgent();
  const rows: [string, (number | bigint)[], Table][] = [
    ["seven arguments", [0, 0, 0, 0, 0, 0, 0], {}],
    ["a slot above 5", [], { bufs: [8], ptrs: [6] }],
    ["a slot below -1", [], { bufs: [8], ptrs: [-2] }],
    ["a slot twice", [], { bufs: [8, 8], ptrs: [1, 1] }],
    ["more slots than buffers", [], { bufs: [8], ptrs: [0, 1] }],
    ["65 buffers", [], { bufs: Array(65).fill(1) }],
    ["a buffer of a negative size", [], { bufs: [-1] }],
    ["a buffer that is too large", [], { bufs: [800_000] }],
    ["buffers that are too large together", [], { bufs: [400_000, 400_000] }],
    ["a parent that is none", [], { bufs: [8], nested: [[1, 0, 0]] }],
    ["a child that is none", [], { bufs: [8], nested: [[0, 1, 0]] }],
    ["a buffer within itself", [], { bufs: [8], nested: [[0, 0, 0]] }],
    ["an offset at the end", [], { bufs: [15, 8], nested: [[0, 1, 8]] }],
    ["a negative offset", [], { bufs: [16, 8], nested: [[0, 1, -8]] }],
    ["an offset that overflows", [], { bufs: [16, 8], nested: [[0, 1, 2 ** 53 - 1]] }],
    ["patches that overlap", [], { bufs: [16, 8], nested: [[0, 1, 0], [0, 1, 7]] }],
    ["a triple of two", [], { bufs: [16, 8], nested: [[0, 1]] }],
    ["a file for no slot", [], { files: [[6, 1]] }],
  ];
  for (const [name, args, table] of rows) {
    await t.step(name, async () => {
      const action = () => call(agent.client, NR.getpid, args, table);
      assertEquals((await assertRejects(action, GuestError)).code, "FORMAT");
    });
  }
});

Deno.test("a blocked syscall delays later ones alone, and can be cancelled", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const abort = new AbortController();
  const blocked = client.request("syscall", { nr: NR.pause, args: [] }, { signal: abort.signal });
  const later = call(client, NR.getpid);
  await client.request("ping", {});
  await client.request("stat", { path: toBytes("/"), follow: true });
  abort.abort();
  await assertRejects(() => blocked, DOMException);
  assertEquals((await later).ret, BigInt(agent.process.pid));
});

Deno.test("a cancelled syscall that has not begun is never made", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const [first, second] = [new AbortController(), new AbortController()];
  const blocked = client.request("syscall", { nr: NR.pause, args: [] }, { signal: first.signal });
  const queued = client.request("syscall", { nr: NR.fork, args: [] }, { signal: second.signal });
  second.abort();
  await assertRejects(() => queued, DOMException);
  first.abort();
  await assertRejects(() => blocked, DOMException);
  assertEquals((await client.request("counters", {})).zombies, 0);
});

Deno.test("syscallAsync tells its state, and its result when it returns", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const [read, write] = await pipe(client);
  const id = client.newId();
  const events = new Events(client, id);
  await client.request("syscallAsync", {
    call: id,
    nr: NR.read,
    args: [BigInt(read), 0n, 8n],
    bufs: [8],
    ptrs: [1],
  });
  const state = async () => (await client.request("syscallState", { call: id })).state;
  while (await state() !== 1);
  assertEquals((await client.request("syscallState", { call: id })).nr, NR.read);
  await call(client, NR.write, [write, 0, 3], { bufs: [toBytes("yes")], ptrs: [1] });
  const result = await events.next("syscall");
  assertEquals([result.ret, toText(result.outs[0]!.subarray(0, 3))], [3n, "yes"]);
  assertEquals(await state(), 2);
});

Deno.test("syscallCancel interrupts, and many blocked calls delay nothing", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const ids = Array.from({ length: 100 }, () => client.newId());
  const events = ids.map((id) => new Events(client, id));
  for (const id of ids) {
    await client.request("syscallAsync", { call: id, nr: NR.pause, args: [] });
  }
  assert((await client.request("counters", {})).threads > 100);
  assertEquals((await call(client, NR.getpid)).errno, 0);
  await Promise.all(ids.map((id) => client.request("syscallCancel", { call: id })));
  for (const one of events) {
    const { ret, errno } = await one.next("syscall");
    assertEquals([ret, errno], [-1n, EINTR]);
  }
  const error = await assertRejects(
    () => client.request("syscallState", { call: client.newId() }),
    GuestError,
  );
  assertEquals(error.code, "NOSUCHID");
});
