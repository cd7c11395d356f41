import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { BelljarError } from "../../src/errors.ts";
import { closeCurrentRun, processesWithToken } from "../../src/host/mod.ts";
import { currentRun, isLive, processes, procStat } from "../../src/host/mod.ts";
import { agentBinary } from "../../src/image/mod.ts";
import {
  freePort,
  jobs,
  probe,
  service,
  ServiceConfigError,
  ServiceExitedError,
  services,
  ServiceStartError,
  ServiceStopError,
  waitUntil,
  withServices,
} from "../../src/jobs/mod.ts";
import { Scope, setEventSink } from "../../src/scope/mod.ts";
import { scriptArgs } from "./_child.ts";

const SERVER = new URL("./fixtures/server.ts", import.meta.url).pathname;
const serve = (port = "{{port.http}}", ...rest: string[]): string[] => [
  Deno.execPath(),
  "run",
  "-A",
  "-q",
  "--no-config",
  "--no-lock",
  SERVER,
  port,
  ...rest,
];

/** Runs a test in a scope of its own, and checks that nothing of it is left. */
function test(name: string, body: (tmp: string) => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      const tmp = await Deno.realPath(await Deno.makeTempDir());
      const run = await currentRun({ agentBinary: () => agentBinary() });
      const scope = new Scope(name);
      try {
        await scope.run(() => body(tmp));
      } finally {
        await scope[Symbol.asyncDispose]();
        const left = (await processesWithToken(run.token)).map(({ command }) => command);
        await closeCurrentRun();
        jobs.cleanup();
        await Deno.remove(tmp, { recursive: true });
        assertEquals(left, [], "processes are left");
      }
    },
  });
}

async function alive(pid: number): Promise<boolean> {
  const stat = await procStat(pid);
  return stat !== undefined && isLive(stat);
}

test("jobs #87 a service that ends at once is told at once, with its errors", async () => {
  const started = performance.now();
  const error = await assertRejects(
    () =>
      service({
        name: "web",
        command: "echo cannot open config >&2; exit 3",
        ports: { http: "auto" },
        ready: probe.http("/"),
      }),
    ServiceStartError,
  );
  assert(performance.now() - started < 10_000);
  assertEquals([error.reason, error.result?.exitCode], ["exited", 3]);
  assertStringIncludes(error.logTail, "cannot open config");
  assertStringIncludes(error.message, 'Cannot start service "web": it ended before it was ready');
});

test("jobs #88 a service that is never ready is gone when that is told", async () => {
  const started = performance.now();
  const spec = {
    name: "web",
    command: "sleep 300 & sleep 300",
    ports: { http: "auto" as const },
    ready: probe.http("/"),
    startTimeout: 1,
  };
  const error = await assertRejects(() => service(spec), ServiceStartError);
  assert(performance.now() - started >= 995);
  assertEquals(error.reason, "timeout");
  assert(error.probes.length > 1);
  assertStringIncludes(error.probes.at(-1)!.reason!, "refused");
  assertEquals(jobs.list({ state: ["running", "stopped"] }), []);
});

test("jobs #89 tries on a server that never answers are cut off", async () => {
  // The kernel takes the connections, and nobody ever looks at them.
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const spec = {
    name: "web",
    command: "sleep 300",
    ready: probe.http({ url: `http://127.0.0.1:${port}/`, attemptTimeout: 0.2 }),
    startTimeout: 3,
  };
  const error = await assertRejects(() => service(spec), ServiceStartError);
  listener.close();
  const cut = error.probes.filter(({ reason }) => reason?.includes("no answer within 200 ms"));
  assert(cut.length >= 2, JSON.stringify(error.probes));
  assertEquals(error.reason, "timeout");
});

test("jobs #90 a server is ready with its first good status", async () => {
  const web = await service({
    name: "web",
    command: serve("{{port.http}}", "127.0.0.1", "http:503,503,200"),
    ports: { http: "auto" },
    ready: probe.http({ path: "/health", body: "hello" }),
  });
  assertEquals(web.state, "ready");
  assert(web.readyIn > 0);
  const answer = await fetch(web.url("http", "/x"), { headers: { connection: "close" } });
  assertEquals(await answer.text(), "hello");
});

test("jobs #92 a port that is taken before the service has it is replaced", async () => {
  const taken: Deno.Listener[] = [];
  const web = await service({
    name: "web",
    ports: { http: "auto" },
    command: ({ ports }) => {
      if (taken.length < 2) taken.push(Deno.listen({ hostname: "127.0.0.1", port: ports.http! }));
      return serve(String(ports.http));
    },
  });
  const ports = taken.map(({ addr }) => (addr as Deno.NetAddr).port);
  for (const listener of taken) listener.close();
  assertEquals([taken.length, web.state], [2, "ready"]);
  assert(!ports.includes(web.ports.http!));
});

test("a service whose ports are taken three times is given up", async () => {
  const taken: Deno.Listener[] = [];
  const spec = {
    name: "web",
    ports: { http: "auto" as const },
    command: ({ ports }: { ports: Record<string, number> }) => {
      taken.push(Deno.listen({ hostname: "127.0.0.1", port: ports.http! }));
      return serve(String(ports.http));
    },
  };
  const error = await assertRejects(() => service(spec), ServiceStartError);
  for (const listener of taken) listener.close();
  assertEquals([taken.length, error.reason, error.portOwner?.[0]?.pid], [3, "portInUse", Deno.pid]);
});

test("a fixed port that is taken is told before anything is started", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const before = jobs.listIds();
  const spec = { name: "web", command: serve(), ports: { http: port } };
  const error = await assertRejects(() => service(spec), ServiceStartError);
  listener.close();
  assertEquals([error.reason, error.portOwner?.[0]?.pid], ["portInUse", Deno.pid]);
  assertEquals(jobs.listIds(), before);
});

test("a server that somebody else left behind makes no service ready", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const spec = {
    name: "web",
    command: "sleep 300",
    ready: probe.tcp(port),
    startTimeout: 3,
  };
  const error = await assertRejects(() => service(spec), ServiceStartError);
  listener.close();
  assert(error.probes.length > 0 && error.probes.every(({ ok }) => !ok));
  // On a busy machine the last try may have been cut off before it knew.
  const reasons = error.probes.map(({ reason }) => reason).join("\n");
  assertStringIncludes(reasons, "held by another process");
});

test("jobs #93 a server on either loopback is found", async () => {
  for (const host of ["127.0.0.1", "::1"]) {
    const web = await service({
      name: "web",
      command: serve("{{port.http}}", host),
      ports: { http: "auto" },
    });
    assertEquals(web.state, "ready");
    await web.stop();
  }
});

test("jobs #95 restart() waits for a new line in the log", async (tmp) => {
  const db = await service({
    name: "db",
    command:
      `if [ -e ${tmp}/again ]; then sleep 0.5; fi; touch ${tmp}/again; echo "READY as $$"; sleep 300`,
    ready: probe.log(/READY as (?<pid>\d+)/),
  });
  const [first, job] = [db.match.pid, db.job];
  assertEquals(Number(first), job.pid);
  const started = performance.now();
  await db.restart();
  assert(performance.now() - started >= 495);
  assert(db.job !== job && !await alive(job.pid!));
  assertEquals(Number(db.match.pid), db.job.pid);
});

test("jobs #96 a file that grows is ready when it is stable", async (tmp) => {
  const path = `${tmp}/data`;
  const db = await service({
    name: "db",
    command:
      `for i in 1 2 3 4; do echo $i >> ${path}; sleep 0.2; done; echo last >> ${path}; sleep 300`,
    ready: probe.file(path, { stableFor: 0.5, contains: "last" }),
  });
  assert(db.readyIn >= 1.25, `ready after ${db.readyIn} s`);
});

test("jobs #97 a command probe that hangs is killed with each try", async (tmp) => {
  const spec = {
    name: "db",
    command: "sleep 300",
    ready: probe.command(`echo try >> ${tmp}/tries; sleep 301 & sleep 301`, {
      attemptTimeout: 0.2,
    }),
    startTimeout: 1.5,
  };
  const error = await assertRejects(() => service(spec), ServiceStartError);
  assertEquals(error.reason, "timeout");
  assert((await Deno.readTextFile(`${tmp}/tries`)).length >= 8);
  const left = await Promise.all(
    (await processes()).filter(isLive).map(({ pid }) =>
      Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "")
    ),
  );
  assertEquals(left.filter((line) => line === "sleep\x00301\x00"), []);
});

test("probes of commands, functions, delays, sockets and exits", async (tmp) => {
  const path = `${tmp}/socket`;
  const unix = Deno.listen({ transport: "unix", path });
  const accepting = (async () => {
    for await (const conn of unix) conn.close();
  })();
  let calls = 0;
  const db = await service({
    name: "db",
    command: "echo up; sleep 300",
    ready: [
      probe.command(["test", "-d", tmp]),
      probe.command("echo yes", { stdout: /^yes$/m }),
      probe.fn("third call", () => ++calls >= 3),
      probe.delay(0.1),
      probe.unix(path),
      probe.any(probe.file(`${tmp}/missing`), probe.log("up")),
      probe.not(probe.file(`${tmp}/missing`)),
      probe.all(probe.file(tmp), probe.log("up", { stream: "stdout" })),
    ],
  });
  assertEquals([db.state, calls], ["ready", 3]);
  unix.close();
  await accepting;
  const task = await service({ name: "migrate", command: "exit 4", ready: probe.exit(4) });
  assertEquals([task.job.status, task.state], ["failed:4", "stopped"]);
  const error = await assertRejects(
    () => service({ name: "migrate", command: "exit 5", oneShot: true }),
    ServiceStartError,
  );
  assertEquals([error.reason, error.result?.exitCode], ["exited", 5]);
});

test("jobs #99 services start and stop in the order of their dependencies", async (tmp) => {
  const log = `${tmp}/log`;
  const named = (name: string, delay: number) =>
    `trap 'sleep ${delay}; echo ${name} ends >> ${log}; exit 0' TERM; ` +
    `sleep ${delay}; echo ${name} ready >> ${log}; echo READY; while :; do sleep 0.05; done`;
  const group = await services([
    { name: "api", command: named("api", 0.3), ready: probe.log("READY"), dependsOn: ["db"] },
    { name: "db", command: named("db", 0.2), ready: probe.log("READY") },
  ]);
  const [db, api] = ["db", "api"].map((name) =>
    group.timeline().find((entry) => entry.name === name)!
  );
  assert(db!.readyAt <= api!.startedAt);
  assertEquals(api!.waitedFor, ["db"]);
  const reports = await group.stop();
  assertEquals(reports.map(({ how }) => how), ["graceful", "graceful"]);
  const lines = (await Deno.readTextFile(log)).trim().split("\n");
  assertEquals(lines, ["db ready", "api ready", "api ends", "db ends"]);
});

test("jobs #100 services that cannot be put into order are refused before any starts", async (t) => {
  void t;
  const before = jobs.listIds();
  const command = "sleep 300";
  const cycle = await assertRejects(
    () =>
      services([
        { name: "a", command, dependsOn: ["b"] },
        { name: "b", command, dependsOn: { a: "started" } },
      ]),
    ServiceConfigError,
    "a → b → a",
  );
  assertEquals(cycle.cycle, ["a", "b", "a"]);
  await assertRejects(
    () => services([{ name: "db", command }, { name: "api", command, dependsOn: ["dv"] }]),
    ServiceConfigError,
    'did you mean "db"',
  );
  await assertRejects(
    () => services([{ name: "a", command }, { name: "a", command }]),
    ServiceConfigError,
    'two services of the name "a"',
  );
  assertEquals(jobs.listIds(), before);
});

test("jobs #101 one failure ends all that were started with it", async () => {
  const error = await assertRejects(
    () =>
      services([
        { name: "one", command: "sleep 300" },
        { name: "two", command: "sleep 0.3; exit 9", ready: probe.log("never") },
        { name: "three", command: "sleep 300", dependsOn: ["two"] },
      ]),
    ServiceStartError,
  );
  assertEquals([error.service, error.reason, error.result?.exitCode], ["two", "exited", 9]);
  const own = jobs.list({ origin: "host" }).filter(({ state }) => state === "running");
  assertEquals(own, []);
});

test("jobs #102 a service that crashes ends the body", async () => {
  const logs: unknown[] = [];
  const previous = setEventSink((kind, fields) => kind === "service_log" && logs.push(fields));
  let aborted = false;
  const error = await assertRejects(
    () =>
      withServices(
        [{ name: "db", command: "echo ready; sleep 0.5; echo oops; exit 7" }],
        (group) =>
          new Promise<never>(() =>
            group.signal.addEventListener("abort", () => aborted = true, { once: true })
          ),
      ),
    ServiceExitedError,
  );
  setEventSink(previous);
  assertEquals([error.service, error.result.exitCode, aborted], ["db", 7, true]);
  assertStringIncludes(error.logTail, "oops");
  assertEquals(logs, [{ service: "db", text: "ready\noops\n" }]);
});

test("jobs #103 logs are shown when the body throws, and not when it succeeds", async () => {
  const logs: unknown[] = [];
  const previous = setEventSink((kind, fields) => kind === "service_log" && logs.push(fields));
  const specs = [{ name: "db", command: "echo from db; sleep 300" }];
  const boom = new Error("the body's own");
  let pid = 0;
  const error = await assertRejects(() =>
    withServices(specs, (group) => {
      pid = group.get("db").job.pid!;
      throw boom;
    })
  );
  assertEquals(error, boom);
  assert(!await alive(pid));
  assertEquals(logs, [{ service: "db", text: "from db\n" }]);
  assertEquals(await withServices(specs, () => "fine"), "fine");
  setEventSink(previous);
  assertEquals(logs.length, 1);
});

test("logs that are always forwarded are shown once, as they come", async () => {
  const logs: unknown[] = [];
  const previous = setEventSink((kind, fields) => kind === "service_log" && logs.push(fields.text));
  const specs = [{
    name: "db",
    command: "echo one; sleep 0.3; printf 't'; sleep 0.1; echo wo; printf rest; sleep 300",
    ready: probe.log("rest"),
    logs: { forward: "always" as const },
  }];
  await assertRejects(() =>
    withServices(specs, () => {
      throw new Error("the body's own");
    })
  );
  setEventSink(previous);
  assertEquals(logs.join("|"), "one\n|two\n|rest");
});

test("a body's error is kept beside one of stopping", async () => {
  const boom = new Error("the body's own");
  const specs = [{
    name: "db",
    command: "trap '' TERM; echo up; while :; do sleep 0.05; done",
    ready: probe.log("up"),
    stop: { grace: 0.1, requireGraceful: true },
  }];
  const error = await assertRejects(() =>
    withServices(specs, () => {
      throw boom;
    })
  ) as SuppressedError;
  assertEquals(error.name, "SuppressedError");
  assertEquals(error.suppressed, boom);
  assert(error.error instanceof ServiceStopError);
});

test("jobs #105 stop() tells how, and again that there was nothing to do", async () => {
  const db = await service({
    name: "db",
    command: "trap 'sleep 0.05; exit 0' TERM; echo up; while :; do sleep 0.02; done",
    ready: probe.log("up"),
  });
  const report = await db.stop();
  assertEquals([report.service, report.how, report.result.status], ["db", "graceful", "done:0"]);
  assert(report.elapsed < 3);
  const again = await db.stop();
  assertEquals([again.how, again.result], ["notRunning", report.result]);
  assertEquals(db.state, "stopped");
});

test("jobs #106 a service that must end by itself and does not is an error, and stopped", async () => {
  const db = await service({
    name: "db",
    command: "trap '' TERM; echo up; while :; do sleep 0.05; done",
    ready: probe.log("up"),
    stop: { grace: 0.2, requireGraceful: true },
  });
  const error = await assertRejects(() => db.stop(), ServiceStopError);
  assertEquals([error.report.how, error.report.result.status], ["forced", "killed:137"]);
  assertEquals([db.state, await alive(db.job.pid!)], ["stopped", false]);
});

test("stop.command asks before the signal does", async (tmp) => {
  const db = await service({
    name: "db",
    command: `while [ ! -e ${tmp}/stop ]; do sleep 0.02; done; echo bye`,
    stop: { command: ["touch", `${tmp}/stop`] },
  });
  const { how, result } = await db.stop();
  assertEquals([how, result.status, result.stdout], ["graceful", "done:0", "bye\n"]);
});

Deno.test("probe.notify() hears READY=1", async () => {
  const path = new URL("./fixtures/notify.ts", import.meta.url).pathname;
  const [run, ...flags] = await scriptArgs(path);
  const own = flags.slice(flags.indexOf("--no-check") + 1, -1);
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: [run!, "--unstable-net", ...flags, ...own, path, "service"],
    cwd: new URL("../../", import.meta.url),
  }).output();
  assertEquals([new TextDecoder().decode(stdout), success], ["ready\n", true]);
});

test("probe.notify() says what it needs where datagrams are off", async () => {
  const spec = { name: "warm", command: "sleep 300", ready: probe.notify() };
  const error = await assertRejects(() => service(spec), BelljarError);
  assertEquals(error.code, "NO_DATAGRAM");
});

test("a service is restarted as often as it may be, then it has failed", async (tmp) => {
  const db = await service({
    name: "db",
    command: `echo start >> ${tmp}/starts; sleep 1.5; exit 1`,
    onExit: { restart: "onFailure", max: 2, backoff: 0.01 },
  });
  await new Promise((resolve) => db.signal.addEventListener("abort", resolve, { once: true }));
  assertEquals(db.state, "failed");
  assertEquals(await Deno.readTextFile(`${tmp}/starts`), "start\n".repeat(3));
  assertThrows(() => db.assertAlive(), ServiceExitedError);
});

test("a service that is not healthy any more counts as ended", async (tmp) => {
  await Deno.writeTextFile(`${tmp}/healthy`, "");
  const db = await service({
    name: "db",
    command: "sleep 300",
    healthy: probe.file(`${tmp}/healthy`, { interval: 0.02 }),
  });
  await Deno.remove(`${tmp}/healthy`);
  const reason = await new Promise<unknown>((resolve) =>
    db.signal.addEventListener("abort", () => resolve(db.signal.reason), { once: true })
  );
  assert(reason instanceof ServiceExitedError);
  assertStringIncludes(reason.message, "is not healthy");
  await db.stop();
});

test("templates reach the ports of the service and of its dependencies", async () => {
  const group = await services([
    { name: "db", command: serve(), ports: { http: "auto" } },
    {
      name: "api",
      command: "echo $DB {{svc.db.port.http}}; sleep 300",
      env: { DB: "{{svc.db.url}}" },
      dependsOn: ["db"],
      ready: probe.log("http"),
    },
  ]);
  const { http } = group.get("db").ports;
  assertEquals(group.get("api").logs(), `http://127.0.0.1:${http} ${http}`);
  assertEquals(group.env(), {
    DB_HOST: "127.0.0.1",
    DB_PORT: String(http),
    DB_HTTP_PORT: String(http),
    DB_URL: `http://127.0.0.1:${http}`,
    API_HOST: "127.0.0.1",
  });
  await assertRejects(
    () => service({ name: "x", command: "echo {{port.nope}}" }),
    ServiceConfigError,
    "{{port.nope}}",
  );
});

test("an external service is probed, never started or stopped", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const accepting = (async () => {
    for await (const conn of listener) conn.close();
  })();
  const db = await service({ name: "db", command: "", external: true, ports: { sql: port } });
  assertEquals([db.state, db.url("sql")], ["ready", `http://127.0.0.1:${port}`]);
  await db[Symbol.asyncDispose]();
  listener.close();
  await accepting;
});

test("the end of the scope stops a service and tells nobody that it was forgotten", async () => {
  const scope = new Scope("inner");
  const db = await scope.run(() => service({ name: "db", command: "sleep 300" }));
  const { closed, error } = await scope.close();
  assertEquals(error, undefined);
  assertEquals(closed.map(({ kind, name, leaked }) => [kind, name, leaked]), [[
    "service",
    "db",
    false,
  ]]);
  assertEquals(db.state, "stopped");
});

test("a scope that ends while services start leaves nothing of them", async (tmp) => {
  const scope = new Scope("inner");
  const command = `touch ${tmp}/up; sleep 300`;
  const starting = assertRejects(() =>
    scope.run(() =>
      services([
        { name: "db", command, ready: probe.log("never") },
        { name: "api", command, dependsOn: ["db"] },
      ])
    )
  );
  await waitUntil(() => Deno.stat(`${tmp}/up`), { retryErrors: true, interval: 0.01 });
  const { error } = await scope.close();
  assertEquals(error, undefined);
  assertStringIncludes(String(await starting), "were stopped while they started");
  assertEquals(jobs.list({ state: "running" }), []);
});

test("a service that is there already is used with reuse, and stays", async () => {
  const first = await service({ name: "web", command: serve(), ports: { http: "auto" } });
  const again = await service({
    name: "web",
    command: serve(),
    ports: { http: first.ports.http! },
    reuse: true,
  });
  assertEquals([again.state, again.url()], ["ready", first.url()]);
  assertThrows(() => again.job, Error, "it runs elsewhere");
  await again[Symbol.asyncDispose]();
  assertEquals(first.job.state, "running");
  await first.stop();
  const fresh = await service({
    name: "web",
    command: serve(),
    ports: { http: first.ports.http! },
    reuse: true,
  });
  assertEquals(fresh.job.state, "running");
});

test("an aborted start leaves nothing and rejects with the reason", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  const specs = [{ name: "db", command: "sleep 300", ready: probe.log("never") }];
  const starting = assertRejects(() => services(specs, { signal: controller.signal }));
  setTimeout(() => controller.abort(reason), 200);
  assertEquals(await starting, reason);
});

test("services() stops at its own limit and at its own width", async () => {
  const late = await assertRejects(
    () =>
      services([{ name: "db", command: "sleep 300", ready: probe.log("never") }], { timeout: 0.3 }),
    ServiceStartError,
  );
  assertEquals(late.reason, "timeout");
  const group = await services(
    ["a", "b", "c"].map((name) => ({
      name,
      command: "sleep 0.2; echo up; sleep 300",
      ready: probe.log("up"),
    })),
    { maxParallel: 1 },
  );
  const times = group.timeline().sort((one, two) => one.startedAt - two.startedAt);
  assert(times[1]!.startedAt >= times[0]!.readyAt && times[2]!.startedAt >= times[1]!.readyAt);
});

test("misuse of a specification is named", async () => {
  const port = await freePort();
  const rows: [unknown, string][] = [
    [{ name: "a", command: "x", comand: 1 }, 'did you mean "command"'],
    [{ name: "a b", command: "x" }, "a name of letters"],
    [{ name: "a", command: "x", ports: { http: "8080" } }, '"auto"'],
    [{ name: "a", command: "x", ports: { http: 99_999 } }, "1 to 65535"],
    [{ name: "a", command: "x", ready: "/health" }, "must be a probe"],
    [{ name: "a", command: "x", dependsOn: { b: "up" } }, "started, ready, succeeded, completed"],
    [{ name: "a", command: "x", stop: { grace: "5" } }, "grace"],
    [{ name: "a", command: "x", onExit: "restart" }, "onExit"],
    [{ name: "a" }, "it has no command"],
  ];
  for (const [spec, text] of rows) {
    const error = await assertRejects(() => service(spec as never)) as Error;
    assertStringIncludes(error.message, text);
  }
  assertThrows(() => probe.http({ port, pth: "/" } as never), TypeError, '"path"');
  assertThrows(() => probe.log(3 as never), TypeError, "number");
});
