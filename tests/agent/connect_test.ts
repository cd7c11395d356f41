import { assert, assertEquals, assertRejects } from "@std/assert";
import { GuestError } from "../../src/errors.ts";
import { LIMITS, toBytes, toText, type WireStream, writeAll } from "../../src/wire/mod.ts";
import { connectAgent, type TestAgent } from "./_agent.ts";

/** A connection through the agent. */
interface Connected {
  stdin: WireStream;
  stdout: WireStream;
}

async function connect({ client }: TestAgent, port: number, signal?: AbortSignal) {
  const stdin = client.openStream("out");
  const stdout = client.openStream("in");
  try {
    await client.request("connect", { port, stdin: stdin.id, stdout: stdout.id }, { signal });
  } catch (error) {
    client.dropStream(stdin);
    client.dropStream(stdout);
    throw error;
  }
  return { stdin, stdout } satisfies Connected;
}

function listen(hostname = "127.0.0.1"): { listener: Deno.Listener; port: number } {
  const listener = Deno.listen({ hostname, port: 0 });
  return { listener, port: (listener.addr as Deno.NetAddr).port };
}

async function readAll(conn: Deno.Conn): Promise<number> {
  let total = 0;
  const room = new Uint8Array(64 * 1024);
  for (let n = await conn.read(room); n !== null; n = await conn.read(room)) total += n;
  return total;
}

/** Waits until the agent holds no more streams than before, and as many descriptors. */
async function untilFigures({ client }: TestAgent, wanted: { streams: number; fds: number }) {
  for (;;) {
    const { streams, fds } = await client.request("counters", {});
    if (streams === wanted.streams && fds === wanted.fds) return;
  }
}

Deno.test("connect carries bytes both ways, and each direction ends by itself", async () => {
  await using agent = await connectAgent();
  const { streams, fds } = await agent.client.request("counters", {});
  const { listener, port } = listen();
  using _listener = listener;
  const [{ stdin, stdout }, server] = await Promise.all([connect(agent, port), listener.accept()]);
  using _server = server;
  await stdin.write(toBytes("question"));
  stdin.end();
  // The server sees the end of what it is sent, and answers after it.
  assertEquals(await readAll(server), "question".length);
  const answer = stdout.collect();
  await writeAll(server, toBytes("answer"));
  await server.closeWrite();
  assertEquals(toText(await answer), "answer");
  assertEquals(await stdout.ended, 0);
  await untilFigures(agent, { streams, fds });
});

Deno.test("connect lets the peer end first", async () => {
  await using agent = await connectAgent();
  const { listener, port } = listen();
  using _listener = listener;
  const [{ stdin, stdout }, server] = await Promise.all([connect(agent, port), listener.accept()]);
  using _server = server;
  await server.closeWrite();
  assertEquals(await stdout.ended, 0);
  await stdin.write(toBytes("late"));
  stdin.end();
  assertEquals(await readAll(server), 4);
});

Deno.test("connect holds a sender back, and nobody else", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const { listener, port } = listen();
  using _listener = listener;
  const [{ stdin, stdout }, server] = await Promise.all([connect(agent, port), listener.accept()]);
  using _server = server;
  const before = await client.request("counters", {});
  const size = 16 * 1024 * 1024;
  let isSent = false;
  const sending = stdin.write(new Uint8Array(size)).then(() => isSent = true);
  // More than the sockets hold: it waits for credit, which comes when the server reads.
  for (let i = 0; i < 100; i++) await client.request("ping", {});
  assert(!isSent);
  const after = await client.request("counters", {});
  assert(after.rssKb - before.rssKb < 4096, `${before.rssKb} to ${after.rssKb} KiB`);
  const reading = readAll(server);
  await sending;
  stdin.end();
  assertEquals(await reading, size);
  // And the other way: what nobody takes stays with the server.
  const release = Promise.withResolvers<void>();
  let received = 0;
  stdout.receive(async (chunk) => {
    received += chunk.length;
    await release.promise;
  });
  const answering = writeAll(server, new Uint8Array(size)).then(() => server.closeWrite());
  for (let i = 0; i < 100; i++) await client.request("ping", {});
  assert(received <= LIMITS.INITIAL_CREDIT, `${received}`);
  release.resolve();
  await answering;
  assertEquals(await stdout.ended, 0);
  assertEquals(received, size);
});

Deno.test("connect reaches a server that listens on ::1 alone", async () => {
  await using agent = await connectAgent();
  const { listener, port } = listen("::1");
  using _listener = listener;
  const [{ stdin, stdout }, server] = await Promise.all([connect(agent, port), listener.accept()]);
  server.close();
  assertEquals(await stdout.ended, 0);
  stdin.end();
});

Deno.test("connect tells a refusal, and what cannot be meant", async (t) => {
  await using agent = await connectAgent();
  const { client } = agent;
  const { streams, fds } = await client.request("counters", {});
  const { listener, port } = listen();
  await t.step("a port on which nobody listens", async () => {
    const { listener, port } = listen();
    listener.close();
    const error = await assertRejects(() => connect(agent, port), GuestError);
    assertEquals([error.errno, error.op], ["ECONNREFUSED", "connect"]);
  });
  await t.step("ports that are none", async () => {
    for (const wrong of [0, -1, 65536]) {
      const error = await assertRejects(() => connect(agent, wrong), GuestError);
      assertEquals(error.code, "LIMIT");
    }
  });
  await t.step("one stream for both directions, or one that is in use", async () => {
    const id = client.newId();
    const same = client.request("connect", { port, stdin: id, stdout: id });
    assertEquals((await assertRejects(() => same, GuestError)).code, "FORMAT");
    const { stdin, stdout } = await connect(agent, port);
    const taken = client.request("connect", { port, stdin: stdin.id, stdout: client.newId() });
    assertEquals((await assertRejects(() => taken, GuestError)).code, "FORMAT");
    stdin.end();
    stdout.discard();
    await stdout.ended;
  });
  listener.close();
  await untilFigures(agent, { streams, fds });
});

Deno.test("connect hangs up on a server that goes on when nobody listens any more", async () => {
  await using agent = await connectAgent();
  const { streams, fds } = await agent.client.request("counters", {});
  const { listener, port } = listen();
  using _listener = listener;
  const [{ stdin, stdout }, server] = await Promise.all([connect(agent, port), listener.accept()]);
  using _server = server;
  const endless = assertRejects(async () => {
    for (;;) await server.write(new Uint8Array(64 * 1024));
  });
  stdin.end();
  stdout.discard();
  await endless;
  await stdout.ended;
  await untilFigures(agent, { streams, fds });
});

Deno.test("connect tells the sender that the server is gone", async () => {
  await using agent = await connectAgent();
  const { streams, fds } = await agent.client.request("counters", {});
  const { listener, port } = listen();
  using _listener = listener;
  const [{ stdin, stdout }, server] = await Promise.all([connect(agent, port), listener.accept()]);
  await stdin.write(new Uint8Array(1024));
  server.close(); // With bytes that it has not read: a reset.
  await stdout.ended;
  const error = await assertRejects(async () => {
    for (;;) await stdin.write(new Uint8Array(1024));
  }, GuestError);
  assertEquals(error.op, "write");
  stdin.end();
  await untilFigures(agent, { streams, fds });
});

Deno.test({
  name: "connect that gets no answer is cancelled, and delays no other",
  ignore: Deno.build.arch !== "x86_64",
  async fn() {
    await using agent = await connectAgent();
    const { client } = agent;
    const { streams } = await client.request("counters", {});
    // A server that takes nobody: socket, bind and listen with the shortest queue.
    const call = (nr: number, args: number[], table = {}) =>
      client.request("syscall", { nr, args: args.map(BigInt), ...table });
    const { ret: fd } = await call(41, [2, 1, 0]);
    const address = new Uint8Array([2, 0, 0, 0, 127, 0, 0, 1, ...new Uint8Array(8)]);
    await call(49, [Number(fd), 0, 16], { bufs: [address], ptrs: [1] });
    await call(50, [Number(fd), 0]);
    const named = await call(51, [Number(fd), 0, 0], {
      bufs: [16, new Uint8Array([16, 0, 0, 0])],
      ptrs: [1, 2],
    });
    const port = new DataView(named.outs[0]!.buffer, named.outs[0]!.byteOffset).getUint16(2);
    const held = [await connect(agent, port)];
    const limit = new AbortController();
    const waiting = Array.from({ length: 8 }, () => connect(agent, port, limit.signal));
    const outcomes = Promise.allSettled(waiting);
    for (let i = 0; i < 50; i++) await client.request("ping", {});
    const reason = new Error("enough");
    limit.abort(reason);
    for (const outcome of await outcomes) {
      if (outcome.status === "fulfilled") held.push(outcome.value);
      else assertEquals(outcome.reason, reason);
    }
    assert(held.length < 9, "none of them had to wait");
    for (const { stdin, stdout } of held) {
      stdin.end();
      stdout.discard();
    }
    for (;;) if ((await client.request("counters", {})).streams === streams) break;
    await call(3, [Number(fd)]);
  },
});

Deno.test("100 connections at once, each with its own bytes", async () => {
  await using agent = await connectAgent();
  const { streams, fds } = await agent.client.request("counters", {});
  const { listener, port } = listen();
  const serving = (async () => {
    for await (const conn of listener) {
      // It may be gone before it has all: the client of this connection has hung up then.
      conn.readable.pipeTo(conn.writable).catch(() => {});
    }
  })();
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const { stdin, stdout } = await connect(agent, port);
      const answer = stdout.collect();
      await stdin.write(toBytes(`I am ${i}`));
      stdin.end();
      return toText(await answer);
    }),
  );
  assertEquals(answers, Array.from({ length: 100 }, (_, i) => `I am ${i}`));
  listener.close();
  await serving.catch(() => {});
  await untilFigures(agent, { streams, fds });
});
