import { assert, assertEquals, assertRejects } from "@std/assert";
import { GuestError } from "../../src/errors.ts";
import { encodeFrame, FrameKind, LIMITS, toBytes, writeAll } from "../../src/wire/mod.ts";
import { connectAgent, readFile, run, spawn, writeFile } from "./_agent.ts";

Deno.test("a stream that nobody reads stalls its program, and nothing else", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const proc = await spawn(client, ["sh", "-c", "exec cat /dev/zero"]);
  const release = Promise.withResolvers<void>();
  let received = 0;
  proc.stdout.receive(async (chunk) => {
    received += chunk.length;
    await release.promise;
  });
  // The pipe and the credit are full when the program sleeps in its write.
  while ((await Deno.readTextFile(`/proc/${proc.pid}/stat`)).split(") ")[1]![0] !== "S");
  assert(received <= LIMITS.INITIAL_CREDIT, `${received}`);
  const { rssKb } = await client.request("counters", {});
  for (let i = 0; i < 200; i++) await client.request("ping", {});
  assertEquals((await run(client, ["echo", "still"])).stdout, "still\n");
  const after = await client.request("counters", {});
  assert(after.rssKb - rssKb < 4096, `${rssKb} to ${after.rssKb} KiB`);
  await client.request("procSignal", { proc: proc.id, sig: 9, target: 0 });
  release.resolve();
  await proc.stdout.ended;
});

Deno.test("200 MB of output need no memory, and delay no other operation", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const before = await client.request("counters", {});
  const proc = await spawn(client, ["head", "-c", "200000000", "/dev/zero"]);
  let received = 0;
  proc.stdout.receive((chunk) => void (received += chunk.length));
  let pings = 0;
  const pinging = (async () => {
    while (proc.stdout.isOpen) {
      await client.request("ping", {});
      pings++;
    }
  })();
  await proc.stdout.ended;
  await pinging;
  const after = await client.request("counters", {});
  assertEquals(received, 200_000_000);
  assert(pings > 100, `${pings} pings`);
  assert(after.rssKb - before.rssKb < 8192, `${before.rssKb} to ${after.rssKb} KiB`);
});

Deno.test("a discarded stream lets its program go on", async () => {
  await using agent = await connectAgent();
  const proc = await spawn(agent.client, ["sh", "-c", "head -c 5000000 /dev/zero; exit 4"]);
  proc.stdout.discard();
  assertEquals((await proc.events.next("exit")).code, 4);
  await proc.stdout.ended;
});

Deno.test("a readFile whose stream is refused is cancelled", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const stream = client.openStream("in");
  const action = client.request("readFile", { path: toBytes("/dev/zero"), stream: stream.id });
  stream.discard();
  assertEquals((await assertRejects(() => action, GuestError)).code, "CANCELLED");
  assertEquals((await client.request("counters", {})).streams, 0);
});

Deno.test("data beyond its credit ends the conversation", async () => {
  await using agent = await connectAgent();
  const { client, conn } = agent;
  const proc = await spawn(client, ["sleep", "60"], { input: true });
  const frame = encodeFrame(FrameKind.data, 0, proc.stdin!.id, new Uint8Array(LIMITS.MAX_DATA));
  for (let i = 0; i < 3; i++) await writeAll(conn, frame).catch(() => {});
  await client.closed;
});

Deno.test("what blocks on the pool delays nothing, and ends when cancelled", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const fifo = toBytes(`${dir}/fifo`);
  await client.request("mknod", { path: fifo, mode: 0o010600, dev: 0n });
  const abort = new AbortController();
  const blocked = Array.from(
    { length: 60 },
    () =>
      client.request("fileOpen", { file: client.newId(), path: fifo, flags: 0, mode: 0 }, {
        signal: abort.signal,
      }).catch((error) => error.name),
  );
  await writeFile(client, `${dir}/f`, "free");
  assertEquals((await readFile(client, `${dir}/f`)).length, 4);
  abort.abort();
  assertEquals(new Set(await Promise.all(blocked)), new Set(["AbortError"]));
  // The answers of the cancelled ones are not awaited by anybody: ask until they have all ended.
  while ((await client.request("counters", {})).files > 0);
  await client.request("ping", {});
});

Deno.test("200 operations at once are each answered with their own result", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const slow = run(client, ["sleep", "1"]);
  const results = await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    if (i % 4 === 0) return (await run(client, ["echo", `${i}`])).stdout.trim();
    await writeFile(client, `${dir}/${i}`, `${i}`);
    return new TextDecoder().decode(await readFile(client, `${dir}/${i}`));
  }));
  assertEquals(results, Array.from({ length: 200 }, (_, i) => `${i}`));
  assertEquals((await slow).code, 0);
});

Deno.test("an upload that is cancelled leaves nothing open", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const before = await client.request("counters", {});
  const abort = new AbortController();
  const stream = client.openStream("out");
  const request = client.request("writeFile", { path: toBytes(`${dir}/f`), stream: stream.id }, {
    signal: abort.signal,
  });
  await stream.write(new Uint8Array(100_000));
  abort.abort();
  await assertRejects(() => request, DOMException);
  await assertRejects(() => stream.ended.then(() => stream.write(new Uint8Array(10))), GuestError);
  stream.end();
  const after = await client.request("counters", {});
  assertEquals([after.streams, after.fds], [0, before.fds]);
});

Deno.test("more requests than the agent keeps are refused, and the others go on", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const pause = { nr: Deno.build.arch === "aarch64" ? 73 : 7, args: [0n, 0n, -1n] }; // poll, ppoll
  const abort = new AbortController();
  const all = Array.from(
    { length: 4200 },
    () => client.request("syscall", pause, { signal: abort.signal }).catch((error) => error.code),
  );
  assertEquals(await Promise.race(all.slice(-50)), "LIMIT");
  abort.abort();
  await Promise.all(all);
  await client.request("ping", {});
});
