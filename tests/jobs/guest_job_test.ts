import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { isLive, processes, procStat } from "../../src/host/mod.ts";
import {
  freePort,
  guestPlace,
  JobLostError,
  jobs,
  JobUnkillableError,
  probe,
  ServiceExitedError,
  ServiceStartError,
  startService,
  startServices,
} from "../../src/jobs/mod.ts";
import { Scope } from "../../src/scope/mod.ts";
import type { BaseJob } from "../../src/jobs/base_job.ts";
import { jobCases } from "./_cases.ts";
import { type AgentPlace, openAgent } from "./_guest.ts";

jobCases("agent", openAgent);

function test(name: string, body: (place: AgentPlace) => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      await using place = await openAgent();
      await body(place);
    },
  });
}

test("jobs #3 polls of a job cost the agent nothing", async ({ background, client }) => {
  const job = await background("sleep 60");
  const before = await client.request("counters", {});
  for (let i = 0; i < 1000; i++) await job.wait(0);
  const after = await client.request("counters", {});
  assertEquals(after.requests - before.requests, 1);
  assertEquals(after.streams, before.streams);
});

test("jobs #7 killing what has ended sends no signal", async ({ background, client }) => {
  const job = await background("true");
  await job.wait(30);
  const before = await client.request("counters", {});
  await job.kill();
  assertEquals((await client.request("counters", {})).signalsSent, before.signalsSent);
});

test("jobs #22 what survives SIGKILL is named, and still runs", async ({ background, client }) => {
  const job = await background("trap '' TERM; echo up; while :; do sleep 0.1; done");
  await job.stdout.waitFor("up");
  // The fault: the agent's answers say that signals were sent, and none is.
  const request = client.request.bind(client);
  client.request =
    ((op: string, ...rest: unknown[]) =>
      op === "procSignal"
        ? Promise.resolve({ count: 1 })
        : (request as (...args: unknown[]) => unknown)(op, ...rest)) as typeof client.request;
  const error = await assertRejects(
    () => job.kill({ grace: 0.1, killMargin: 0.1 }),
    JobUnkillableError,
  );
  assertEquals([error.id, job.state], [job.id, "running"]);
  assert(error.survivors.some(({ pid }) => pid === job.pid));
  assertStringIncludes(error.message, `pid ${job.pid}`);
  client.request = request;
  assertEquals((await job.kill({ grace: 0 })).status, "killed:137");
});

test("jobs #34 waits on a machine that goes away are told so", async ({ background, agent, client }) => {
  const long = await Promise.all([1, 2, 3].map(() => background("sleep 300")));
  const waits = long.map((job) => assertRejects(() => job.wait(), JobLostError));
  agent.kill("SIGKILL");
  const errors = await Promise.all(waits);
  assertEquals(errors.map(({ id }) => id), long.map(({ id }) => id));
  assertEquals(
    long.map(({ status, exitCode }: { status: string; exitCode?: number }) => [status, exitCode]),
    [
      ["lost", undefined],
      ["lost", undefined],
      ["lost", undefined],
    ],
  );
  assertEquals(long[0]!.result()?.exitCode, -1);
  await Promise.all(long.map((job) => job[Symbol.asyncDispose]()));
  assert(client.lost);
  for (const job of long) Deno.kill(-job.pid!, "SIGKILL");
});

test("jobs #35 short jobs that fork twice leave no zombie and no descriptor", async ({ background, client, agent }) => {
  const before = await client.request("counters", {});
  for (let round = 0; round < 10; round++) {
    const batch = await Promise.all(
      Array.from({ length: 50 }, () => background("(sh -c 'exit 0' &) ; exit 0")),
    );
    for (const job of batch) assertEquals((await job.wait(60)).status, "done:0");
  }
  const zombies = async () =>
    (await processes()).filter(({ ppid, state }) => ppid === agent.pid && state === "Z");
  for (let i = 0; i < 100 && (await zombies()).length > 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assertEquals(await zombies(), []);
  const after = await client.request("counters", {});
  assertEquals([after.fds, after.procs, after.streams], [before.fds, before.procs, before.streams]);
});

test("a start that is aborted leaves no process", async ({ background, client }) => {
  const controller = new AbortController();
  const reason = new Error("enough");
  const starting = assertRejects(() => background("sleep 299", { signal: controller.signal }));
  controller.abort(reason);
  assertEquals(await starting, reason);
  for (let i = 0; i < 100 && (await client.request("counters", {})).procs > 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assertEquals((await client.request("counters", {})).procs, 0);
});

test("a service of a guest is started, probed and stopped there", async ({ client, tmp }) => {
  const scope = new Scope("services");
  const place = guestPlace({ client: () => client });
  const server = new URL("./fixtures/server.ts", import.meta.url).pathname;
  const group = await startServices(
    [
      {
        name: "web",
        command: [
          Deno.execPath(),
          "run",
          "-A",
          "-q",
          "--no-config",
          "--no-lock",
          server,
          "{{port.http}}",
        ],
        ports: { http: "auto" },
      },
      {
        name: "client",
        command: `echo {{svc.web.url}} > ${tmp}/url; sleep 300`,
        dependsOn: ["web"],
        ready: [
          probe.file(`${tmp}/url`, { contains: "http" }),
          probe.command(["test", "-s", `${tmp}/url`]),
        ],
      },
    ],
    place,
    {},
    scope,
  );
  const web = group.get("web");
  assertEquals(web.job.origin, { kind: "guest", vm: "here" });
  assertEquals(await Deno.readTextFile(`${tmp}/url`), `${web.url()}\n`);
  const pids = group.all.map(({ job }) => job.pid!);
  await scope.close();
  for (const pid of pids) {
    const stat = await procStat(pid);
    assert(!stat || !isLive(stat));
  }
});

test("a service of a guest that crashes is told, and one that cannot start too", async ({ client }) => {
  const place = guestPlace({ client: () => client });
  const db = await startService({
    name: "db",
    command: "echo up; sleep 1; exit 2",
    ready: probe.log("up"),
  }, place);
  const reason = await new Promise<unknown>((resolve) =>
    db.signal.addEventListener("abort", () => resolve(db.signal.reason), { once: true })
  );
  assert(reason instanceof ServiceExitedError);
  assertEquals(reason.result.exitCode, 2);
  await db[Symbol.asyncDispose]();
  const port = await freePort();
  const spec = { name: "web", command: "sleep 300", ready: probe.tcp(port), startTimeout: 2 };
  const error = await assertRejects(() => startService(spec, place), ServiceStartError);
  assertStringIncludes(error.probes.at(-1)!.reason!, `nobody listens on port ${port}`);
  assertEquals(jobs.list({ state: "running" }), []);
});

test("looking at a job costs nothing, however much it has printed", async ({ background }) => {
  const job = await background("head -c 1048576 /dev/zero; exec sleep 300");
  while (job.stdout.stats().totalWritten < 1_048_576) {
    await job.stdout.changedSince(job.stdout.stats().totalWritten);
  }
  const { external } = Deno.memoryUsage();
  const real = job as unknown as BaseJob;
  for (let i = 0; i < 64; i++) {
    assertEquals(await real.look(), { state: "running", exitCode: -1, signal: null });
  }
  assert(Deno.memoryUsage().external - external < 1024 * 1024);
  await job.kill();
  assertEquals(await real.look(), { state: "killed", exitCode: 143, signal: "SIGTERM" });
});
