import { assert, assertEquals, assertRejects } from "@std/assert";
import { probe, ServiceExitedError, ServiceStartError } from "../../src/jobs/mod.ts";
import { Scope } from "../../src/scope/mod.ts";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("services");

/** A server of one answer per connection, out of what `tiny` has. */
const SERVER =
  `while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' | nc -l -p {{port.http}}; done`;

test("services of a guest start in order, are probed there, and end with their scope", async (vm) => {
  const scope = new Scope("services");
  const group = await scope.run(() =>
    vm.services([
      {
        name: "client",
        command: "nc 127.0.0.1 {{svc.web.port}} < /dev/null; sleep 300",
        dependsOn: ["web"],
        ready: probe.log("hello"),
      },
      {
        name: "web",
        command: SERVER,
        ports: { http: "auto" },
        ready: [probe.tcp("http"), probe.http({ path: "/", body: "hello" })],
        stop: { grace: 1 },
      },
    ])
  );
  assertEquals(group.timeline().map(({ name }) => name), ["web", "client"]);
  const { http } = group.get("web").ports;
  assertEquals(group.env().WEB_PORT, String(http));
  // Between two connections nobody listens for a moment.
  await vm.waitUntil(
    async () => (await vm.run(`nc 127.0.0.1 ${http} < /dev/null`)).stdout.endsWith("hello"),
    { timeout: 60, interval: 0.05 },
  );
  const pids = group.all.map(({ job }) => job.pid);
  await scope[Symbol.asyncDispose]();
  const alive = (await vm.processes()).filter(({ state }) => state !== "Z");
  assertEquals(alive.filter(({ pid }) => pids.includes(pid)), []);
  assert(!alive.some(({ command }) => command.startsWith("nc ")), JSON.stringify(alive));
});

test("a service of a guest that crashes aborts its signal", async (vm) => {
  const db = await vm.service({
    name: "db",
    command: "echo up; sleep 1; echo oops >&2; exit 2",
    ready: probe.log("up"),
  });
  const reason = await new Promise<unknown>((resolve) =>
    db.signal.addEventListener("abort", () => resolve(db.signal.reason), { once: true })
  );
  assert(reason instanceof ServiceExitedError);
  assertEquals([reason.result.exitCode, reason.logTail], [2, "up\noops"]);
});

test("a service of a guest that is never ready is gone when that is told", async (vm) => {
  const spec = {
    name: "web",
    command: "sleep 303 & sleep 303",
    ready: probe.tcp(4321),
    startTimeout: 1,
  };
  const error = await assertRejects(() => vm.service(spec), ServiceStartError);
  assertEquals([error.reason, error.probes.at(-1)?.reason], [
    "timeout",
    "nobody listens on port 4321",
  ]);
  const left = (await vm.processes()).filter(({ command }) => command === "sleep 303");
  assertEquals(left.filter(({ state }) => state !== "Z"), []);
});

test("files and commands of a guest are looked at there", async (vm) => {
  const db = await vm.service({
    name: "db",
    command: "sleep 0.5; echo 12 > /tmp/db.pid; sleep 300",
    ready: [
      probe.file("/tmp/db.pid", { contains: /^\d+$/m }),
      probe.command("test -s /tmp/db.pid"),
    ],
  });
  assertEquals(db.host, "127.0.0.1");
  assertEquals((await db.stop()).how, "graceful");
});
