import { assert, assertEquals, assertRejects } from "@std/assert";
import { DeadlineError } from "../../src/errors.ts";
import { closeCurrentRun } from "../../src/host/mod.ts";
import {
  background,
  clearPort,
  freePort,
  jobs,
  PortInUseError,
  portOwner,
  reservePort,
  waitForPortFree,
} from "../../src/jobs/mod.ts";
import { Scope } from "../../src/scope/mod.ts";

const SERVER = new URL("./fixtures/server.ts", import.meta.url).pathname;
const serve = (
  port: number,
): string[] => [
  Deno.execPath(),
  "run",
  "-A",
  "-q",
  "--no-config",
  "--no-lock",
  SERVER,
  String(port),
];

Deno.test("reservePort() keeps a port until it is released", async () => {
  await using reserved = await reservePort();
  const { port } = reserved;
  assertEquals((await portOwner(port)).map(({ pid }) => pid), [Deno.pid]);
  await using next = await reservePort({ from: port });
  assert(next.port > port);
  reserved.release();
  reserved.release();
  Deno.listen({ hostname: "127.0.0.1", port }).close();
});

Deno.test("reservePort() refuses what is no port", async () => {
  await assertRejects(() => reservePort({ from: 70_000 }), RangeError, "70000");
  await assertRejects(() => reservePort({ form: 1 } as never), TypeError, '"from"');
});

Deno.test("freePort() returns a port that nobody has", async () => {
  assertEquals(await portOwner(await freePort()), []);
});

Deno.test("jobs #110 portOwner() lists who listens, not who is connected", async () => {
  await using scope = new Scope("ports");
  const port = await freePort();
  const job = await scope.run(() => background(serve(port)));
  await job.stdout.waitFor("listening", { timeout: 30 });
  const client = await Deno.connect({ hostname: "127.0.0.1", port });
  const owners = await portOwner(port);
  client.close();
  assertEquals(owners.map(({ pid, pgid, jobId }) => [pid, pgid, jobId]), [[
    job.pid,
    job.pid,
    job.id,
  ]]);
  assert(owners[0]!.command.includes("server.ts"));
  await job.kill();
  await closeCurrentRun();
  jobs.cleanup();
});

Deno.test("clearPort() ends what this run started", async () => {
  await using scope = new Scope("ports");
  const port = await freePort();
  const job = await scope.run(() => background(serve(port)));
  await job.stdout.waitFor("listening", { timeout: 30 });
  assertEquals((await clearPort(port)).map(({ pid }) => pid), [job.pid]);
  await waitForPortFree(port);
  assertEquals((await job.wait(30)).status, "failed:143");
  await closeCurrentRun();
  jobs.cleanup();
});

Deno.test('clearPort() ends others only with only: "any"', async () => {
  const port = await freePort();
  const [program, ...args] = serve(port);
  const child = new Deno.Command(program!, { args, detached: true, stdin: "null", stdout: "piped" })
    .spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  const error = await assertRejects(() => clearPort(port), PortInUseError);
  assertEquals([error.port, error.owners.map(({ pid }) => pid)], [port, [child.pid]]);
  const waiting = await assertRejects(() => waitForPortFree(port, { timeout: 0.1 }), DeadlineError);
  assert(waiting.message.includes(String(child.pid)));
  assertEquals((await clearPort(port, { only: "any" })).length, 1);
  assertEquals((await child.status).signal, "SIGTERM");
  assertEquals(await portOwner(port), []);
});
