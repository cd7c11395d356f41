import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AgentLostError } from "../../src/errors.ts";
import {
  AgentClient,
  encodeFrame,
  encodeMap,
  FrameKind,
  makeProof,
  PROTOCOL_VERSION,
  SYNC_MAGIC,
  toText,
  writeAll,
} from "../../src/wire/mod.ts";
import { startAgent } from "./_agent.ts";

const EPOCH = new Uint8Array(16).fill(1);

async function helloFrame(secret: Uint8Array, changes: Record<string, unknown> = {}) {
  const nonce = new Uint8Array(16).fill(2);
  const proof = await makeProof(secret, "host", EPOCH, nonce);
  const map = { proto: PROTOCOL_VERSION, version: "x", epoch: EPOCH, nonce, proof, ...changes };
  return encodeFrame(FrameKind.hello, 0, 0, encodeMap(map));
}

/** What the agent says until it closes the connection. */
async function everything(conn: Deno.Conn): Promise<Uint8Array> {
  return new Uint8Array(await new Response(conn.readable).arrayBuffer());
}

Deno.test("agent says what it is to a harness with the secret", async () => {
  await using agent = await startAgent();
  const { conn, secret } = agent;
  const client = await AgentClient.connect(conn, { machine: "m", secret, epoch: EPOCH });
  assertEquals(client.agent.pid, agent.process.pid);
  assertEquals(client.agent.role, "process");
  assertEquals(client.agent.arch, Deno.build.arch);
  client.close();
});

Deno.test("agent looks for its mark in stale bytes", async () => {
  await using agent = await startAgent();
  const { conn, secret } = agent;
  const junk = new Uint8Array(200_000).map((_, i) => (i * 7919) % 251);
  await writeAll(conn, junk);
  await writeAll(conn, SYNC_MAGIC.subarray(0, 9));
  await writeAll(conn, SYNC_MAGIC.subarray(0, 15));
  const client = await AgentClient.connect(conn, { machine: "m", secret, epoch: EPOCH });
  await client.request("ping", {});
  client.close();
});

Deno.test("agent takes a hello that arrives byte by byte", async () => {
  await using agent = await startAgent();
  const { conn, secret } = agent;
  const bytes = [...SYNC_MAGIC, ...await helloFrame(secret)];
  for (const byte of bytes) await conn.write(new Uint8Array([byte]));
  const answer = new Uint8Array(16);
  assertEquals(await conn.read(answer), 16);
  assertEquals(answer, SYNC_MAGIC);
});

Deno.test("agent says nothing to a peer that proves nothing", async (t) => {
  const cases: Record<string, (secret: Uint8Array) => Promise<Uint8Array> | Uint8Array> = {
    "a wrong secret": () => helloFrame(new Uint8Array(32)),
    "a proof of a wrong length": (secret) => helloFrame(secret, { proof: new Uint8Array(31) }),
    "no nonce": (secret) => helloFrame(secret, { nonce: undefined }),
    "an epoch that is text": (secret) => helloFrame(secret, { epoch: "0123456789abcdef" }),
    "a request instead": () => encodeFrame(FrameKind.request, 0, 1, encodeMap({ op: "ping" })),
    "a hello of 5000 bytes": () => encodeFrame(FrameKind.hello, 0, 0, new Uint8Array(5000)),
    "no MessagePack": () => encodeFrame(FrameKind.hello, 0, 0, new Uint8Array(20).fill(0xc1)),
    "a length of 4 GiB": () => new Uint8Array([255, 255, 255, 255, 1, 0, 0, 0, ...EPOCH]),
  };
  for (const [name, make] of Object.entries(cases)) {
    await t.step(name, async () => {
      await using agent = await startAgent();
      await writeAll(agent.conn, SYNC_MAGIC);
      await writeAll(agent.conn, await make(agent.secret));
      assertEquals(await everything(agent.conn), new Uint8Array(0));
    });
  }
});

Deno.test("agent tells its version to a harness of another one", async () => {
  await using agent = await startAgent();
  const { conn, secret } = agent;
  await writeAll(conn, SYNC_MAGIC);
  await writeAll(conn, await helloFrame(secret, { proto: PROTOCOL_VERSION + 1 }));
  const answer = await everything(conn);
  assertEquals(answer.subarray(0, 16), SYNC_MAGIC);
  assertEquals(answer[20], FrameKind.error);
  assertStringIncludes(toText(answer), "agent of belljar");
});

Deno.test("agent ends the conversation when the harness breaks the protocol", async (t) => {
  const cases: Record<string, Uint8Array> = {
    "an unknown kind": encodeFrame(10, 0, 1, new Uint8Array(0)),
    "a second hello": encodeFrame(FrameKind.hello, 0, 0, new Uint8Array(0)),
    "a reply": encodeFrame(FrameKind.reply, 0, 1, encodeMap({})),
    "a length of 2 MiB": new Uint8Array([0, 0, 32, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
    "data for an id never drawn": encodeFrame(FrameKind.data, 0, 77, new Uint8Array(1)),
    "an id above 2^53": new Uint8Array([0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]),
  };
  for (const [name, frame] of Object.entries(cases)) {
    await t.step(name, async () => {
      await using agent = await startAgent();
      const { conn, secret } = agent;
      const client = await AgentClient.connect(conn, { machine: "m", secret, epoch: EPOCH });
      await writeAll(conn, frame);
      const lost = await client.closed;
      assert(lost instanceof AgentLostError);
      await assertRejects(() => client.request("ping", {}), AgentLostError);
    });
  }
});

Deno.test("quiesce ends the conversation after its answer", async () => {
  await using agent = await startAgent();
  const { conn, secret } = agent;
  const client = await AgentClient.connect(conn, { machine: "m", secret, epoch: EPOCH });
  await client.request("quiesce", {});
  await client.closed;
});
