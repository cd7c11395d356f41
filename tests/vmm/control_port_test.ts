import { assertEquals, assertRejects } from "@std/assert";
import { ControlPort } from "../../src/vmm/control_port.ts";
import { makeTempDir } from "../host/_temp.ts";

async function pipe(): Promise<AsyncDisposable & { port: ControlPort; peer: Deno.Conn }> {
  const dir = await makeTempDir();
  const path = `${dir.path}/c`;
  const listener = Deno.listen({ transport: "unix", path });
  const [peer, conn] = await Promise.all([
    Deno.connect({ transport: "unix", path }),
    listener.accept(),
  ]);
  listener.close();
  const port = new ControlPort(conn);
  return {
    port,
    peer,
    async [Symbol.asyncDispose]() {
      port.close();
      try {
        peer.close();
      } catch {
        // The test has closed it.
      }
      await dir[Symbol.asyncDispose]();
    },
  };
}

const bytes = (text: string) => new TextEncoder().encode(text);

async function read(conn: { read(b: Uint8Array): Promise<number | null> }, size = 100) {
  const buffer = new Uint8Array(size);
  const n = await conn.read(buffer);
  return n === null ? null : new TextDecoder().decode(buffer.subarray(0, n));
}

Deno.test("ControlPort hands the pipe to the next conversation without losing bytes", async () => {
  await using both = await pipe();
  const first = both.port.session();
  const waiting = read(first);
  const second = both.port.session();
  assertEquals(await waiting, null); // its conversation is over
  await both.peer.write(bytes("hello"));
  assertEquals(await read(second, 2), "he"); // by a read that the first had begun
  assertEquals(await read(second), "llo");
  await both.peer.write(bytes("again"));
  assertEquals(await read(second), "again");
});

Deno.test("ControlPort lets only the last conversation write", async () => {
  await using both = await pipe();
  const first = both.port.session();
  const second = both.port.session();
  await assertRejects(() => first.write(bytes("stale")), Deno.errors.BrokenPipe);
  await second.write(bytes("fresh"));
  assertEquals(await read(both.peer), "fresh");
});

Deno.test("ControlPort leaves it to the machine to say why the pipe ended", async () => {
  await using both = await pipe();
  const session = both.port.session();
  both.peer.close();
  const waiting = read(session);
  const later = new Promise((done) => setTimeout(done, 50, "waits"));
  const first = await Promise.race([waiting, later]);
  assertEquals(first, "waits");
  both.port.close();
  assertEquals(await waiting, null);
  assertEquals(await read(both.port.session()), null);
});
