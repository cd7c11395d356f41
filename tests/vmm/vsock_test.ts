import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { HostError } from "../../src/errors.ts";
import { allowsVsock } from "../../src/vmm/_vsock_allowed.ts";
import { CID_TAKEN } from "../../src/vmm/qemu/launch.ts";
import { withFreeCid } from "../../src/vmm/qemu/start.ts";
import { chooseTransport, drawCid, HeldConn } from "../../src/vmm/vsock.ts";
import { makeTempDir } from "../host/_temp.ts";

const NO_DEVICE = "/dev/no-vhost-vsock";

Deno.test("chooseTransport() takes vsock where it can be had, and says why not", async (t) => {
  const missing = `no vsock: "${NO_DEVICE}" cannot be opened: No such file or directory`;
  const rows = [
    ["auto", "/dev/null", undefined, ["vsock", '"/dev/null" can be opened', false]],
    ["vsock", "/dev/null", undefined, ["vsock", "asked for", true]],
    ["serial", "/dev/null", undefined, ["serial", "asked for", true]],
    ["auto", NO_DEVICE, undefined, ["serial", missing, false]],
    ["auto", "/dev/null", "too old", ["serial", "no vsock: too old", false]],
  ] as const;
  for (const [choice, device, obstacle, expected] of rows) {
    await t.step(`${choice} ${device} ${obstacle ?? ""}`, async () => {
      const decision = await chooseTransport({ machine: "m", choice, device, obstacle });
      assertEquals([decision.transport, decision.why, decision.isWish], [...expected]);
    });
  }
});

Deno.test("chooseTransport() refuses vsock that was asked for and is not there", async () => {
  const error = await assertRejects(
    () => chooseTransport({ machine: "db", choice: "vsock", device: NO_DEVICE }),
    HostError,
  );
  assertEquals(error.code, "VSOCK_UNAVAILABLE");
  assertEquals(
    error.message,
    `Cannot start machine "db" with transport "vsock"
  actual:   "${NO_DEVICE}" cannot be opened: No such file or directory
  next:     as root, run modprobe vhost_vsock and give this user access to "${NO_DEVICE}"; or use ` +
      'transport "auto" or "serial"',
  );
});

Deno.test("allowsVsock() looks where Deno can have been told", async (t) => {
  await using dir = await makeTempDir();
  const write = async (name: string, text: string) => {
    const path = `${dir.path}/${name}`;
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(path, text);
  };
  const allowing = '{ "unstable": ["kv", "vsock"] }';
  await write("with/deno.json", allowing);
  await write("with/inner/main.ts", "");
  await write("shadow/deno.json", allowing);
  await write("shadow/inner/deno.json", "{}");
  await write("team/deno.json", '{ "workspace": ["./one"], "unstable": ["vsock"] }');
  await write("team/one/deno.jsonc", "{ /* nothing */ }");
  await write("noted/deno.json", '{ // "unstable": ["vsock"]\n}');
  await write("bare/main.ts", "");
  const rows = [
    ["with/inner", "main.ts", [], true],
    ["with/inner", "main.ts", ["--no-config"], false],
    ["shadow/inner", "main.ts", [], false],
    ["team/one", "main.ts", [], true],
    ["noted", "main.ts", [], false],
    ["bare", "main.ts", [], false],
    ["bare", "main.ts", ["--unstable-vsock"], true],
    ["bare", "main.ts", ["--config", "../with/deno.json"], true],
    ["bare", "main.ts", ["--config=../shadow/inner/deno.json"], false],
  ] as const;
  for (const [folder, main, flags, expected] of rows) {
    await t.step([folder, ...flags].join(" "), async () => {
      const cwd = `${dir.path}/${folder}`;
      assertEquals(
        await allowsVsock(["deno", "run", ...flags, main], `file://${cwd}/${main}`, cwd),
        expected,
      );
    });
  }
});

Deno.test("withFreeCid() draws again as long as an address is taken", async () => {
  const taken = () => new HostError("taken", { code: CID_TAKEN });
  const drawn: (number | undefined)[] = [];
  let next = 100;
  const result = await withFreeCid(true, (cid) => {
    drawn.push(cid);
    return drawn.length < 4 ? Promise.reject(taken()) : Promise.resolve("started");
  }, () => next++);
  assertEquals([result, drawn], ["started", [100, 101, 102, 103]]);
  assertEquals(await withFreeCid(false, (cid) => Promise.resolve(cid)), undefined);
});

Deno.test("withFreeCid() passes other errors on, and gives up when all are taken", async () => {
  let tries = 0;
  const other = new HostError("no memory", { code: "NO_MEMORY" });
  const start = (error: HostError) => () => {
    tries++;
    return Promise.reject(error);
  };
  assertEquals(await assertRejects(() => withFreeCid(true, start(other))), other);
  assertEquals(tries, 1);
  const taken = new HostError("taken", { code: CID_TAKEN });
  assertEquals(await assertRejects(() => withFreeCid(true, start(taken))), taken);
  assertEquals(tries, 9);
});

Deno.test("drawCid() draws no address of a host, and seldom the same", () => {
  const cids = Array.from({ length: 100 }, drawCid);
  assert(cids.every((cid) => cid > 0xffff && cid <= 0x7fff_ffff));
  assertNotEquals(new Set(cids).size, 1);
});

/** Both ends of a connection. */
async function pair(): Promise<[Deno.Conn, Deno.Conn]> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  return await Promise.all([Deno.connect({ hostname: "127.0.0.1", port }), listener.accept()]);
}

Deno.test("HeldConn tells its owner of the end, and its reader only when it is closed", async () => {
  const [here, there] = await pair();
  const held = new HeldConn(here);
  await there.write(new Uint8Array([7]));
  const buffer = new Uint8Array(4);
  assertEquals([await held.read(buffer), buffer[0]], [1, 7]);
  let read: number | null | undefined;
  const reading = held.read(buffer).then((n) => read = n);
  there.close();
  await held.ended;
  assertEquals(read, undefined);
  held.close();
  assertEquals(await reading, null);
  held.close(); // harmless when called again
});

Deno.test("HeldConn that is closed here has not been hung up", async () => {
  const [here, there] = await pair();
  using _there = there;
  const held = new HeldConn(here);
  let ended = false;
  held.ended.then(() => ended = true);
  const reading = held.read(new Uint8Array(4));
  held.close();
  assertEquals(await reading, null);
  assertEquals(ended, false);
});
