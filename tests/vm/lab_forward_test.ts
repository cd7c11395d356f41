/** Servers of a guest, reached from this host. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { GuestError, StateError } from "../../src/errors.ts";
import { probe, ServiceStartError } from "../../src/jobs/mod.ts";
import { lab, type Vm } from "../../src/lab/mod.ts";
import { inScope, labTest, sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("served");

const WEB = "exec busybox httpd -f -p 127.0.0.1:{{port.http}} -h /tmp/www";

async function get(url: string): Promise<string> {
  const response = await fetch(url, { headers: { connection: "close" } });
  return `${response.status} ${(await response.text()).trim()}`;
}

async function startWeb(vm: Vm, http: number | { guest: number; host: number | "auto" }) {
  await vm.writeFile("/tmp/www/index.html", "hello from the guest\n", { parents: true });
  await vm.writeFile("/tmp/www/big", new Uint8Array(8 * 1024 * 1024).fill(7));
  return await vm.service({
    name: "web",
    command: WEB,
    ports: { http },
    ready: probe.http({ port: "http", path: "/index.html" }),
  });
}

test("forward() reaches a server of the guest from this host", async (vm) => {
  await startWeb(vm, 8080);
  const web = await vm.forward({ guest: 8080 });
  assertEquals(await get(web.url("/index.html")), "200 hello from the guest");
  assertEquals(await get(web.url("/none")).then((text) => text.slice(0, 3)), "404");
  const all = await Promise.all(Array.from({ length: 20 }, () => get(web.url("/index.html"))));
  assertEquals(new Set(all), new Set(["200 hello from the guest"]));
  const big = new Uint8Array(await (await fetch(web.url("/big"))).arrayBuffer());
  assertEquals(big.length, 8 * 1024 * 1024);
  assert(big.every((byte) => byte === 7));
  assertEquals(web.errors, []);
  await web.close();
});

test("forward() ends with its scope, and tells what was refused", async (vm) => {
  const ports: number[] = [];
  const report = await inScope("inner", async () => {
    const nothing = await vm.forward({ guest: 9 });
    ports.push(nothing.port);
    using conn = await Deno.connect({ hostname: nothing.host, port: nothing.port });
    assertEquals(await conn.read(new Uint8Array(1)), null);
    await vm.waitUntil(() => nothing.errors.length === 1, { interval: 0.01 });
    const [error] = nothing.errors;
    assert(error instanceof GuestError);
    assertEquals([error.errno, error.vm], ["ECONNREFUSED", "served"]);
  });
  assertEquals(report.closed.map(({ kind, leaked }) => [kind, leaked]), [["forward", false]]);
  const dial = () => Deno.connect({ hostname: "127.0.0.1", port: ports[0]! });
  await assertRejects(dial, Deno.errors.ConnectionRefused);
});

test("a service with a port of the host is reached there, and restarts behind it", async (vm) => {
  const web = await startWeb(vm, { guest: 8081, host: "auto" });
  assert(web.ports.http !== 8081);
  const url = web.url("http", "/index.html");
  assertEquals(url, `http://127.0.0.1:${web.ports.http}/index.html`);
  assertEquals(await get(url), "200 hello from the guest");
  await web.restart();
  assertEquals(await get(url), "200 hello from the guest");
  await web.stop();
  await assertRejects(() => get(url));
  await web.restart();
  assertEquals(await get(web.url("http", "/index.html")), "200 hello from the guest");
});

test("services of a guest know each other by its own ports, the host by the forwarded ones", async (vm) => {
  const group = await vm.services([
    {
      name: "db",
      command: "exec nc -ll -p {{port.sql}} -e cat",
      ports: { sql: { guest: 5432, host: "auto" } },
    },
    {
      name: "api",
      command: "echo {{svc.db.port.sql}}; exec sleep 1000",
      dependsOn: ["db"],
      ready: probe.log(/^\d+$/),
    },
  ]);
  assertEquals(group.get("api").logs().trim(), "5432");
  const { DB_HOST: hostname = "", DB_PORT: port = "" } = group.env();
  using conn = await Deno.connect({ hostname, port: Number(port) });
  await conn.write(new TextEncoder().encode("select 1"));
  await conn.closeWrite();
  const answer = await new Response(conn.readable).text();
  assertEquals(answer, "select 1");
  await group.stop();
});

test("a service whose port of the host is taken says so, and leaves nothing", async (vm) => {
  await using taken = await vm.forward({ guest: 1 });
  const error = await assertRejects(
    () => startWeb(vm, { guest: 8082, host: taken.port }),
    ServiceStartError,
  );
  assertEquals([error.reason, error.portOwner?.[0]?.pid], ["portInUse", Deno.pid]);
});

labTest(
  "a forward outlives a reset of its machine, and holds a snapshot back while it is used",
  async () => {
    const vm = lab.vm("restless", "tiny");
    await assertRejects(() => vm.forward({ guest: 7 }), StateError, "boot()");
    await vm.boot();
    const start = () => vm.background("exec nc -ll -p 7 -e cat");
    const echo = async (port: number): Promise<string> => {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port });
      await conn.write(new TextEncoder().encode("hello"));
      const room = new Uint8Array(16);
      const n = await conn.read(room).catch(() => null);
      return new TextDecoder().decode(room.subarray(0, n ?? 0));
    };
    const through = await vm.forward({ guest: 7 });
    await start();
    await vm.waitUntil(async () => await echo(through.port) === "hello", { interval: 0.05 });
    const held = await Deno.connect({ hostname: "127.0.0.1", port: through.port });
    await vm.waitUntil(() => through.active === 1, { interval: 0.01 });
    const refused = await assertRejects(() => vm.snapshot(), StateError, "through the forward");
    assert(refused.message.includes("lab_forward_test.ts"), refused.message);
    await vm.reset();
    assertEquals(await held.read(new Uint8Array(1)).catch(() => null), null);
    held.close();
    await start();
    await vm.waitUntil(async () => await echo(through.port) === "hello", { interval: 0.05 });
    await vm.kill();
    assertEquals(await echo(through.port), "");
    await vm.waitUntil(() => through.active === 0, { interval: 0.01 }).catch(() => {});
    assert(through.errors.at(-1) instanceof Error);
  },
);
