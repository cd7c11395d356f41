/** The tests that belljar runs in the outer machine, as the text of a file. It imports what any user's file would. */

/** Options for {@linkcode innerTests}. */
export interface InnerOptions {
  /** Address that the machine must have; any but those of hosts if missing. */
  cid?: number;
  /** Options of `boot()`, as text. */
  boot: string;
  /** A hello without the secret, in hexadecimal. */
  forgedHello: string;
}

/** Path of the program of peer.c in the outer machine, where any user may run it. */
export const PEER = "/tmp/peer";

/**
 * Drives one machine by operations of every kind and has its agent count what came over the control port; then has
 * strangers crowd its listener, silent ones and ones with a forged hello, while it is worked with.
 */
export function innerTests({ cid, boot, forgedHello }: InnerOptions): string {
  return `
import { lab, test } from "belljar";

const vm = lab.vm("inner", "tiny", { memory: "128M" });

test("a machine is driven over vsock alone", { timeout: "10m" }, async (t) => {
  await vm.boot(${boot});
  t.log("transport", vm.info.transport, "CID", vm.info.cid, "because", vm.info.transportWhy);
  t.log(vm.info.how, JSON.stringify(vm.info.timings));
  t.assertEquals(vm.info.transport, "vsock");
  t.assert(${cid === undefined ? "vm.info.cid! > 2" : `vm.info.cid === ${cid}`});
  const before = await vm.counters();

  const first = performance.now();
  const result = await vm.run("cat", { args: ["/proc/self/status"] });
  t.log("first command in", Math.round(performance.now() - first), "ms");
  result.assertOk();
  t.assertStringIncludes(result.stdout, "Name:\\tcat");

  const bytes = new Uint8Array(1_000_000).map((_, i) => (i * 7919) >> 3);
  await vm.writeFile("/tmp/inner-bytes", bytes);
  t.assertEquals(await vm.readFile("/tmp/inner-bytes"), bytes);
  await vm.remove("/tmp/inner-bytes");

  const began = performance.now();
  const answers = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      if (i % 8 === 0) return (await vm.run("echo", { args: [String(i)] })).stdout.trim();
      await vm.writeFile("/tmp/inner-" + i, String(i));
      return await vm.readTextFile("/tmp/inner-" + i);
    }),
  );
  t.log("40 at once in", Math.round(performance.now() - began), "ms");
  t.assertEquals(answers, answers.map((_, i) => String(i)));

  const worker = await vm.spawnWorker();
  t.assertEquals((await worker.run("true")).exitCode, 0);
  await worker.close();

  const after = await vm.counters();
  t.log("control port:", before.controlOps, "requests before,", after.controlOps, "after",
    after.requests - before.requests, "operations");
  t.assertEquals(after.controlOps, before.controlOps);
  t.assert(after.requests - before.requests > 80);
  if (${cid !== undefined}) t.assertEquals(after.controlOps, 0);
});

const NOBODY = { uid: 65534, gid: 65534 };

/** What a program of another user of this host sees at a port. */
async function stranger(at, connections, ms, hex = "") {
  const args = [...at, connections, ms, hex].map(String);
  const { stdout, stderr } = await new Deno.Command("${PEER}", { args, cwd: "/", ...NOBODY }).output();
  return read(new TextDecoder().decode(stdout), new TextDecoder().decode(stderr));
}

function read(stdout, stderr) {
  const found = /connected (\\d+) refused (\\d+) bytes (\\d+) closed (\\d+)/.exec(stdout);
  if (!found) throw new Error("peer said " + stdout + stderr);
  const [connected, refused, bytes, closed] = found.slice(1).map(Number);
  return { connected, refused, bytes, closed };
}

/** The port of an agent on this host, which its command line tells everybody. */
async function localPort() {
  for await (const { name } of Deno.readDir("/proc")) {
    const words = await Deno.readTextFile("/proc/" + name + "/cmdline").catch(() => "");
    const port = /belljar-agent\\0agent\\0.*vsock:(\\d+)/.exec(words)?.[1];
    if (port) return port;
  }
  throw new Error("no agent listens");
}

test("strangers get nothing and disturb nothing", { timeout: "10m" }, async (t) => {
  const at = [vm.info.cid, ${cid === undefined ? 1024 : "await localPort()"}];
${cid === undefined ? "" : SEES_ANSWERS}
  const forged = await stranger(at, 4, 20_000, "${forgedHello}");
  t.log("forged", JSON.stringify(forged));
  t.assertEquals(forged, { connected: 4, refused: 0, bytes: 0, closed: 4 });

  // More than the agent has room for, for longer than it has patience.
  const crowd = stranger(at, 24, 60_000);
  let done = false;
  crowd.then(() => done = true);
  let rounds = 0;
  while (!done) {
    const { stdout } = await vm.run("echo", { args: [String(rounds)] });
    t.assertEquals(stdout, rounds + "\\n");
    rounds++;
  }
  const silent = await crowd;
  t.log("silent", JSON.stringify(silent), "during", rounds, "commands");
  t.assertEquals([silent.bytes, silent.closed], [0, silent.connected]);
  t.assert(silent.connected > 0);
  t.assert(rounds > 0);
${cid === undefined ? IN_THE_GUEST.replace("FORGED", forgedHello) : ""}
  t.assertEquals((await vm.run("true")).exitCode, 0);
});
`;
}

/** Tests that each boot a machine: the third takes one that stood by, at an address of its own. */
export function rowOfTests(boot: string): string {
  return `
import { lab, test } from "belljar";

const cids = new Set();

for (const name of ["one", "two", "three"]) {
  test("machine " + name, { timeout: "10m" }, async (t) => {
    const vm = await lab.vm(name, "tiny", { memory: "128M" }).boot(${boot});
    t.log(name, "CID", vm.info.cid, JSON.stringify(vm.info.timings));
    t.assertEquals(vm.info.transport, "vsock");
    const { controlOps } = await vm.counters();
    t.assertEquals((await vm.run("hostname")).stdout, name + "\\n");
    t.assertEquals((await vm.counters()).controlOps, controlOps);
    cids.add(vm.info.cid);
    t.assertEquals(vm.info.timings.aheadMs !== undefined, name === "three");
  });
}

test("each had an address of its own", (t) => t.assertEquals(cids.size, 3));
`;
}

/** That the program would see an answer if there were one. */
const SEES_ANSWERS = `
  const echo = Deno.listen({ transport: "vsock", cid: 1, port: 4242 });
  const seen = stranger([1, 4242], 1, 20_000, "68656c6c6f");
  const conn = await echo.accept();
  const buffer = new Uint8Array(16);
  await conn.write(buffer.subarray(0, await conn.read(buffer)));
  conn.close();
  echo.close();
  t.assertEquals(await seen, { connected: 1, refused: 0, bytes: 5, closed: 1 });
`;

/** A user of the guest, at the machine's own address and at its ports. */
const IN_THE_GUEST = `
  (await vm.run("modprobe", { args: ["vsock_loopback"] })).assertOk();
  await vm.copyIn("${PEER}", "${PEER}");
  for (const cid of [String(vm.info.cid), "1"]) {
    const inside = await vm.run("${PEER}", {
      args: [cid, "1024", "4", "20000", "FORGED"],
      user: "user",
    });
    const { bytes, connected, closed } = read(inside.stdout, inside.stderr);
    t.assertEquals([bytes, closed], [0, connected]);
    t.log("guest user at CID", cid, inside.stdout.trim());
  }
`;
