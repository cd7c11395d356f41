import { assert, assertEquals, assertRejects } from "@std/assert";
import { QmpClient, QmpError } from "../../src/vmm/mod.ts";
import { startMonitor } from "./_qemu.ts";
import { makeTempDir } from "../host/_temp.ts";

Deno.test("QmpClient negotiates and runs commands side by side", async () => {
  await using monitor = await startMonitor();
  await monitor.qmp.negotiate();
  const [version, status] = await Promise.all([
    monitor.qmp.execute<{ qemu: { major: number } }>("query-version"),
    monitor.qmp.execute<{ status: string }>("query-status"),
  ]);
  assert(version.qemu.major >= 7);
  assertEquals(status.status, "running");
});

Deno.test("QmpClient.execute() names the command and QEMU's class of the error", async () => {
  await using monitor = await startMonitor();
  await monitor.qmp.negotiate();
  const unknown = await assertRejects(() => monitor.qmp.execute("no-such-thing"), QmpError);
  assertEquals([unknown.command, unknown.errorClass], ["no-such-thing", "CommandNotFound"]);
  const refused = await assertRejects(
    () => monitor.qmp.execute("device_add", { driver: "nothing" }),
    QmpError,
    "nothing",
  );
  assertEquals(refused.errorClass, "GenericError");
});

Deno.test("QmpClient.waitFor() sees the event that the next command causes", async () => {
  await using monitor = await startMonitor();
  await monitor.qmp.negotiate();
  const stopped = monitor.qmp.waitFor("STOP", ({ event }) => event === "STOP");
  await monitor.qmp.execute("stop");
  assertEquals((await stopped).event, "STOP");
});

Deno.test("QmpClient rejects what is pending when QEMU is killed, and closes", async () => {
  await using monitor = await startMonitor();
  await monitor.qmp.negotiate();
  const never = monitor.qmp.waitFor("NEVER", () => false, { timeoutMs: 60_000 });
  monitor.kill();
  await assertRejects(() => never, QmpError, "gone");
  await monitor.qmp.closed;
  await assertRejects(() => monitor.qmp.execute("query-status"), QmpError, "gone");
});

Deno.test("QmpClient.execute() ends at its limit and by its signal", async () => {
  await using dir = await makeTempDir();
  const path = `${dir.path}/q`;
  using listener = Deno.listen({ transport: "unix", path });
  const accepted = listener.accept();
  const qmp = new QmpClient(await Deno.connect({ transport: "unix", path }));
  const other = await accepted; // says nothing: a monitor that hangs
  const error = await assertRejects(() => qmp.negotiate({ timeoutMs: 20 }), QmpError);
  assertEquals(error.command, "greeting");
  const stop = new AbortController();
  const command = qmp.execute("query-status", undefined, { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assertRejects(() => command, Error, "enough");
  qmp.close();
  other.close();
});
