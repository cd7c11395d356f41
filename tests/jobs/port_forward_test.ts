/** Ports behind which those of a "guest" lie: the agent as a process of this host, with servers on the same interface. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AgentLostError, GuestError } from "../../src/errors.ts";
import { closeCurrentRun } from "../../src/host/mod.ts";
import { type ForwardOptions, PortForward, PortInUseError } from "../../src/jobs/mod.ts";
import { writeAll } from "../../src/wire/mod.ts";
import { type AgentPlace, openAgent } from "./_guest.ts";

Deno.test.afterAll(closeCurrentRun);

function forward({ client }: AgentPlace, options: ForwardOptions): Promise<PortForward> {
  return PortForward.open(options, { client: () => client });
}

function listen(): { listener: Deno.TcpListener; port: number } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return { listener, port: listener.addr.port };
}

function dial({ host: hostname, port }: PortForward): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname, port });
}

/** Both ends of a connection through a forward. */
async function connection(through: PortForward, listener: Deno.TcpListener) {
  const [client, server] = await Promise.all([dial(through), listener.accept()]);
  return { client, server };
}

async function readAll(conn: Deno.Conn): Promise<number> {
  let total = 0;
  const room = new Uint8Array(64 * 1024);
  for (let n = await conn.read(room); n !== null; n = await conn.read(room)) total += n;
  return total;
}

async function untilIdle(through: PortForward): Promise<void> {
  while (through.active > 0) await new Promise((resolve) => setTimeout(resolve, 1));
}

Deno.test("a forwarded port carries many connections at once, each with its own bytes", async () => {
  await using place = await openAgent();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => new Response(`got ${await request.text()}`),
  );
  await using through = await forward(place, { guest: server.addr.port });
  const answers = await Promise.all(
    Array.from({ length: 60 }, async (_, i) => {
      const response = await fetch(through.url("/"), {
        method: "POST",
        body: `${i}`,
        headers: { connection: "close" },
      });
      return await response.text();
    }),
  );
  assertEquals(answers, Array.from({ length: 60 }, (_, i) => `got ${i}`));
  assert(through.connections > 1, `${through.connections} connections`);
  assertEquals(through.errors, []);
  await through.close();
  await server.shutdown();
});

Deno.test("a forwarded port keeps the two directions of a connection apart", async () => {
  await using place = await openAgent();
  const { listener, port } = listen();
  using _listener = listener;
  await using through = await forward(place, { guest: port });
  const { client, server } = await connection(through, listener);
  await writeAll(client, new Uint8Array(300_000));
  await client.closeWrite();
  assertEquals(await readAll(server), 300_000); // Its end, while the answer is still to come.
  await writeAll(server, new Uint8Array(500_000));
  server.close();
  assertEquals(await readAll(client), 500_000);
  client.close();
  await untilIdle(through);
  assertEquals(through.errors, []);
});

Deno.test("a forwarded port holds a sender back that nobody reads, and nothing else", async () => {
  await using place = await openAgent();
  const { listener, port } = listen();
  using _listener = listener;
  await using through = await forward(place, { guest: port });
  const size = 32 * 1024 * 1024;
  const { client, server } = await connection(through, listener);
  const rss = Deno.memoryUsage().external;
  let isSent = false;
  const sending = writeAll(client, new Uint8Array(size)).then(() => isSent = true);
  for (let i = 0; i < 100; i++) await place.client.request("ping", {});
  assert(!isSent);
  assert(Deno.memoryUsage().external - rss < size + 8 * 1024 * 1024);
  const other = await connection(through, listener);
  await writeAll(other.client, new Uint8Array(3));
  await other.client.closeWrite();
  assertEquals(await readAll(other.server), 3);
  const received = readAll(server);
  await sending;
  await client.closeWrite();
  assertEquals(await received, size);
  for (const conn of [client, server, other.client, other.server]) conn.close();
});

Deno.test("a port on which nobody listens: the connection ends, and its error is kept", async () => {
  await using place = await openAgent();
  const { listener, port } = listen();
  listener.close();
  await using through = await forward(place, { guest: port });
  const client = await dial(through);
  assertEquals(await client.read(new Uint8Array(1)), null);
  client.close();
  await untilIdle(through);
  const [error] = through.errors;
  assert(error instanceof GuestError);
  assertEquals([error.errno, error.op], ["ECONNREFUSED", "connect"]);
  // A server that comes later is reached.
  using late = Deno.listen({ hostname: "127.0.0.1", port });
  const { client: next, server } = await connection(through, late);
  next.close();
  server.close();
});

Deno.test("a client that is gone ends its connection in the guest", async () => {
  await using place = await openAgent();
  const { listener, port } = listen();
  using _listener = listener;
  await using through = await forward(place, { guest: port });
  const { client, server } = await connection(through, listener);
  const endless = assertRejects(async () => {
    while (true) await server.write(new Uint8Array(64 * 1024));
  });
  await client.read(new Uint8Array(1));
  client.close();
  await endless;
  server.close();
  await untilIdle(through);
});

Deno.test("close() ends a forward with all its connections, and gives its port back", async () => {
  await using place = await openAgent();
  const { streams } = await place.client.request("counters", {});
  const { listener, port } = listen();
  using _listener = listener;
  const through = await forward(place, { guest: port });
  const pairs = [await connection(through, listener), await connection(through, listener)];
  assertEquals(through.active, 2);
  await Promise.all([through.close(), through.close()]);
  assertEquals(through.active, 0);
  for (const { client, server } of pairs) {
    assertEquals(await client.read(new Uint8Array(1)).catch(() => null), null);
    assertEquals(await server.read(new Uint8Array(1)).catch(() => null), null);
    client.close();
    server.close();
  }
  await assertRejects(() => dial(through), Deno.errors.ConnectionRefused);
  while ((await place.client.request("counters", {})).streams > streams);
  assertEquals(place.client.stats.streams, 0);
});

Deno.test("a lost agent ends the connections, and later ones say why", async () => {
  await using place = await openAgent();
  const { listener, port } = listen();
  using _listener = listener;
  await using through = await forward(place, { guest: port });
  const { client, server } = await connection(through, listener);
  place.agent.kill("SIGKILL");
  assertEquals(await client.read(new Uint8Array(1)).catch(() => null), null);
  client.close();
  server.close();
  await untilIdle(through);
  const next = await dial(through);
  assertEquals(await next.read(new Uint8Array(1)), null);
  next.close();
  await untilIdle(through);
  assertEquals(through.errors.map((error) => error instanceof AgentLostError), [true, true]);
});

Deno.test("a forward takes the port of the host that it is given, if that is free", async () => {
  await using place = await openAgent();
  const { listener, port } = listen();
  await using first = await forward(place, { guest: 80 });
  const error = await assertRejects(
    () => forward(place, { guest: 80, host: first.port }),
    PortInUseError,
  );
  assertEquals([error.port, error.owners[0]?.pid], [first.port, Deno.pid]);
  assertStringIncludes(error.message, '"auto"');
  listener.close();
  await using given = await forward(place, { guest: 80, host: port });
  assertEquals(given.port, port);
});

Deno.test("a forward refuses what is no port, by name", async () => {
  const nowhere = { client: () => Promise.reject() as never };
  const refused = (options: unknown) =>
    PortForward.open(options as ForwardOptions, nowhere).then(() => "", (error) => String(error));
  assertStringIncludes(await refused({}), "{ guest: 80 }");
  assertStringIncludes(await refused({ guest: "http" }), 'number of a port, got "http"');
  assertStringIncludes(await refused({ guest: 0 }), "expected 1 to 65535");
  assertStringIncludes(await refused({ guest: 80, host: "any" }), 'number or "auto", got "any"');
  assertStringIncludes(await refused({ guset: 80 }), 'did you mean "guest"');
});
