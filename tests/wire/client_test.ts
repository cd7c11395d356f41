import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AgentLostError, DeadlineError, GuestError } from "../../src/errors.ts";
import {
  AgentClient,
  decodeValue,
  encodeFrame,
  encodeMap,
  type Frame,
  FrameKind,
  FrameReader,
  LIMITS,
  makeProof,
  PROTOCOL_VERSION,
  SYNC_MAGIC,
  toBytes,
  writeAll,
} from "../../src/wire/mod.ts";

const SECRET = new Uint8Array(32).fill(5);
const EPOCH = new Uint8Array(16).fill(6);

/** The agent's end of a conversation, told frame by frame what to say: agents that lie cannot be had otherwise. */
class Peer implements AsyncDisposable {
  #conn: Deno.Conn;
  #reader = new FrameReader();
  #cleanup: () => Promise<void>;

  constructor(conn: Deno.Conn, cleanup: () => Promise<void>) {
    this.#conn = conn;
    this.#cleanup = cleanup;
  }

  async read(): Promise<
    Omit<Frame, "payload"> & { payload: Uint8Array; value: Record<string, unknown> }
  > {
    let frame = this.#reader.next();
    while (!frame) {
      const n = await this.#conn.read(this.#reader.room());
      if (n === null) throw new Error("the harness hung up");
      this.#reader.filled(n);
      frame = this.#reader.next();
    }
    const payload = frame.payload.slice();
    const isMap = frame.kind !== FrameKind.data && frame.kind !== FrameKind.credit &&
      payload.length > 0;
    return {
      ...frame,
      payload,
      value: (isMap ? decodeValue(payload) : {}) as Record<string, unknown>,
    };
  }

  async answerHello(change: Record<string, unknown> = {}, before?: Uint8Array): Promise<void> {
    while (!this.#reader.skipPast(SYNC_MAGIC)) {
      this.#reader.filled((await this.#conn.read(this.#reader.room())) ?? 0);
    }
    const { value } = await this.read();
    const nonce = value.nonce as Uint8Array;
    const hello = {
      proto: PROTOCOL_VERSION,
      version: "test",
      nonce,
      proof: await makeProof(SECRET, "agent", value.epoch as Uint8Array, nonce),
      pid: 1,
      arch: "x86_64",
      kernel: "6.1",
      role: "agent",
      caps: [],
      ...change,
    };
    if (before) await writeAll(this.#conn, before);
    await writeAll(this.#conn, SYNC_MAGIC);
    await this.say(FrameKind.hello, 0, hello);
  }

  say(kind: number, id: number, value: Record<string, unknown> | Uint8Array): Promise<void> {
    const payload = value instanceof Uint8Array ? value : encodeMap(value);
    return writeAll(this.#conn, encodeFrame(kind, 0, id, payload));
  }

  raw(bytes: Uint8Array): Promise<void> {
    return writeAll(this.#conn, bytes);
  }

  hangUp(): void {
    this.#conn.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#conn.close();
    } catch {
      // The test hung up itself.
    }
    await this.#cleanup();
  }
}

async function pair(): Promise<{ peer: Peer; conn: Deno.Conn }> {
  const dir = await Deno.makeTempDir({ prefix: "bj-wire-" });
  using listener = Deno.listen({ transport: "unix", path: `${dir}/s` });
  const accepted = listener.accept();
  const conn = await Deno.connect({ transport: "unix", path: `${dir}/s` });
  const peer = new Peer(await accepted, () => Deno.remove(dir, { recursive: true }));
  return { peer, conn };
}

async function talk() {
  const { peer, conn } = await pair();
  const [client] = await Promise.all([
    AgentClient.connect(conn, { secret: SECRET, epoch: EPOCH, machine: "m" }),
    peer.answerHello(),
  ]);
  return { peer, client };
}

Deno.test("AgentClient gives each of 200 requests its own answer, in any order", async () => {
  const { peer, client } = await talk();
  await using _ = peer;
  const asked = Array.from(
    { length: 200 },
    (_, i) => client.request("readLink", { path: toBytes(`/l${i}`) }),
  );
  const frames = [];
  for (let i = 0; i < 200; i++) frames.push(await peer.read());
  for (const frame of frames.reverse()) {
    await peer.say(FrameKind.reply, frame.id, { to: frame.value.path });
  }
  const answers = await Promise.all(asked);
  assertEquals(
    answers.map(({ to }) => new TextDecoder().decode(to)),
    asked.map((_, i) => `/l${i}`),
  );
  client.close();
});

Deno.test("AgentClient drops stale bytes and answers to an older hello", async () => {
  const { peer, conn } = await pair();
  await using _ = peer;
  const stale = encodeFrame(
    FrameKind.hello,
    0,
    0,
    encodeMap({
      proto: 1,
      version: "x",
      nonce: new Uint8Array(16),
      proof: new Uint8Array(32),
      pid: 1,
      arch: "",
      kernel: "",
      role: "",
      caps: [],
    }),
  );
  const before = new Uint8Array([...toBytes("half a li"), ...SYNC_MAGIC, ...stale]);
  const [client] = await Promise.all([
    AgentClient.connect(conn, { secret: SECRET, epoch: EPOCH, machine: "m" }),
    peer.answerHello({}, before),
  ]);
  assertEquals(client.agent.version, "test");
  client.close();
});

Deno.test("AgentClient refuses an agent without a proof", async () => {
  const { peer, conn } = await pair();
  await using _ = peer;
  const connecting = AgentClient.connect(conn, { secret: SECRET, epoch: EPOCH, machine: "m" });
  await Promise.all([
    assertRejects(() => connecting, AgentLostError, "no valid proof"),
    peer.answerHello({ proof: new Uint8Array(32) }),
  ]);
});

Deno.test("AgentClient.connect() names both versions when they differ", async () => {
  const { peer, conn } = await pair();
  await using _ = peer;
  const connecting = AgentClient.connect(conn, { secret: SECRET, epoch: EPOCH, machine: "m" });
  await peer.raw(SYNC_MAGIC);
  await peer.say(FrameKind.error, 0, { code: "version", errno: 0, op: "hello", detail: "0.0.9" });
  const error = await assertRejects(() => connecting, AgentLostError);
  assertStringIncludes(error.message, "0.0.9");
  assertStringIncludes(error.message, "0.1.0");
});

Deno.test("AgentClient.connect() ends when its signal aborts, with that reason", async () => {
  const { peer, conn } = await pair();
  await using _ = peer;
  const reason = new Error("enough");
  const controller = new AbortController();
  const connecting = AgentClient.connect(conn, {
    secret: SECRET,
    epoch: EPOCH,
    machine: "m",
    signal: controller.signal,
  });
  controller.abort(reason);
  assertEquals(await assertRejects(() => connecting), reason);
});

Deno.test("AgentClient makes a GuestError of an error frame", async () => {
  const { peer, client } = await talk();
  await using _ = peer;
  const asking = client.request("stat", { path: toBytes("/x"), follow: true });
  const { id } = await peer.read();
  await peer.say(FrameKind.error, id, { code: "errno", errno: 2, op: "stat", path: toBytes("/x") });
  const error = await assertRejects(() => asking, GuestError);
  assertEquals([error.errno, error.op, error.path, error.vm, error.code], [
    "ENOENT",
    "stat",
    "/x",
    "m",
    "ENOENT",
  ]);
  client.close();
});

Deno.test("AgentClient cancels what is aborted or late, and ignores the answer that still comes", async () => {
  const { peer, client } = await talk();
  await using _ = peer;
  const reason = new Error("stop");
  const controller = new AbortController();
  const aborted = client.request("ping", {}, { signal: controller.signal });
  const first = await peer.read();
  controller.abort(reason);
  assertEquals(await assertRejects(() => aborted), reason);
  assertEquals([(await peer.read()).kind, first.id], [FrameKind.cancel, first.id]);
  const late = client.request("ping", {}, { timeoutMs: 5 });
  const second = await peer.read();
  await assertRejects(() => late, DeadlineError, "Cannot finish ping");
  assertEquals((await peer.read()).kind, FrameKind.cancel);
  await peer.say(FrameKind.reply, first.id, {});
  await peer.say(FrameKind.error, second.id, { code: "cancelled", errno: 0, op: "ping" });
  const alive = client.request("ping", {});
  await peer.say(FrameKind.reply, (await peer.read()).id, {});
  await alive;
  client.close();
});

Deno.test("AgentClient ends the conversation with an agent that lies, and rejects what is pending", async (t) => {
  const rows: [string, (peer: Peer) => Promise<void>, string][] = [
    ["an answer to nobody", (peer) => peer.say(FrameKind.reply, 99, {}), "nobody made"],
    [
      "data of no stream",
      (peer) => peer.say(FrameKind.data, 99, new Uint8Array(1)),
      "does not exist",
    ],
    [
      "a huge length",
      (peer) => peer.raw(new Uint8Array([255, 255, 255, 127, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
      "at most",
    ],
    ["a wrong type", (peer) => peer.say(FrameKind.reply, 1, { to: "text" }), "expected bytes"],
    ["an unknown event", (peer) => peer.say(FrameKind.event, 0, { ev: "x" }), "unknown event"],
    [
      "an event about nothing",
      (peer) => peer.say(FrameKind.event, 77, { ev: "empty" }),
      "does not exist",
    ],
    ["a second hello", (peer) => peer.say(FrameKind.hello, 0, {}), "mid-conversation"],
    ["garbage", (peer) => peer.say(FrameKind.reply, 1, new Uint8Array([0xc1])), "not used"],
    ["a hang-up", (peer) => Promise.resolve(peer.hangUp()), "closed the connection"],
  ];
  for (const [name, lie, text] of rows) {
    await t.step(name, async () => {
      const { peer, client } = await talk();
      await using _ = peer;
      const asking = client.request("readLink", { path: toBytes("/l") });
      await peer.read();
      const refused = assertRejects(() => asking, AgentLostError, text);
      await lie(peer);
      await refused;
      assertEquals((await client.closed).code, "AGENT_LOST");
      await assertRejects(() => client.request("ping", {}), AgentLostError);
    });
  }
});

Deno.test("WireStream grants credit as its sink consumes, and never more than its window", async () => {
  const { peer, client } = await talk();
  await using _ = peer;
  const stream = client.openStream("in");
  const gate = Promise.withResolvers<void>();
  let got = 0;
  stream.receive(async (chunk) => {
    await gate.promise;
    got += chunk.length;
  });
  const chunk = new Uint8Array(LIMITS.MAX_DATA);
  await peer.say(FrameKind.data, stream.id, chunk);
  await peer.say(FrameKind.data, stream.id, chunk);
  const alive = client.request("ping", {});
  const next = await peer.read();
  assertEquals(next.kind, FrameKind.request); // No credit came first: the sink holds it back.
  await peer.say(FrameKind.reply, next.id, {});
  await alive;
  gate.resolve();
  assertEquals((await peer.read()).kind, FrameKind.credit);
  await peer.say(FrameKind.close, stream.id, new Uint8Array(0));
  assertEquals(await stream.ended, 0);
  assertEquals(got, 2 * LIMITS.MAX_DATA);
  client.close();
});

Deno.test("WireStream ends the conversation when the agent sends more than was granted", async () => {
  const { peer, client } = await talk();
  await using _ = peer;
  const stream = client.openStream("in");
  const chunk = new Uint8Array(LIMITS.MAX_DATA);
  for (let sent = 0; sent <= LIMITS.INITIAL_CREDIT; sent += chunk.length) {
    await peer.say(FrameKind.data, stream.id, chunk).catch(() => {}); // The harness may hang up first.
  }
  assertStringIncludes((await client.closed).message, "more data on stream");
  assertEquals(await stream.ended, -1);
});

Deno.test("WireStream.write() waits for credit and stops when the guest closes", async () => {
  const { peer, client } = await talk();
  await using _ = peer;
  const stream = client.openStream("out");
  const writing = stream.write(new Uint8Array(LIMITS.INITIAL_CREDIT + 10));
  let got = 0;
  while (got < LIMITS.INITIAL_CREDIT) got += (await peer.read()).length;
  const more = new Uint8Array(4);
  new DataView(more.buffer).setUint32(0, 4096, true);
  await peer.say(FrameKind.credit, stream.id, more);
  await writing;
  assertEquals((await peer.read()).length, 10);
  await peer.say(FrameKind.close, stream.id, { errno: 32 });
  await stream.ended;
  const error = await assertRejects(() => stream.write(new Uint8Array(1)), GuestError);
  assertEquals(error.errno, "EPIPE");
  client.close();
});

Deno.test("WireStream.readable() holds the sender back and ends with the stream", async () => {
  const { peer, client } = await talk();
  await using _ = peer;
  const stream = client.openStream("in");
  const reader = stream.readable().getReader();
  await peer.say(FrameKind.data, stream.id, toBytes("abc"));
  assertEquals((await reader.read()).value, toBytes("abc"));
  await peer.say(FrameKind.close, stream.id, new Uint8Array(0));
  assert((await reader.read()).done);
  client.close();
});
