import { assertEquals, assertRejects } from "@std/assert";
import { closeCurrentRun } from "../../src/host/mod.ts";
import {
  jobs,
  loadServices,
  probe,
  runWithServices,
  ServiceConfigError,
  withServices,
} from "../../src/jobs/mod.ts";
import { Scope, setEventSink } from "../../src/scope/mod.ts";

async function file(name: string, text: string): Promise<{ path: string } & AsyncDisposable> {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/${name}`;
  await Deno.writeTextFile(path, text);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}

Deno.test("jobs #108 loadServices() reads commands as they are", async () => {
  const line = 'rm -rf $X; echo "a b"';
  await using conf = await file("services.conf", `# comment\n\n  \n${line}\n`);
  const specs = await loadServices(conf.path);
  assertEquals(specs, [{ name: "service-1", command: line }]);
  await using scope = new Scope("load");
  await scope.run(() =>
    withServices(
      [{ ...specs[0]!, command: 'X=; echo "a  b" $0', oneShot: true }],
      (group) => assertEquals(group.get("service-1").logs(), "a  b /bin/sh"),
    )
  );
  await closeCurrentRun();
  jobs.cleanup();
});

Deno.test("loadServices() reads a Procfile", async () => {
  await using proc = await file("Procfile.dev", "web: serve --port 1\n# none\ndb-1:postgres\n");
  assertEquals(await loadServices(proc.path), [
    { name: "web", command: "serve --port 1" },
    { name: "db-1", command: "postgres" },
  ]);
});

Deno.test("loadServices() reads JSON with comments", async () => {
  const text = `{
    // who listens
    "services": [{ "name": "web", "command": "echo // no comment, /* really */", "ports": { "http": "auto" }, },],
  }`;
  await using json = await file("services.jsonc", text);
  assertEquals(await loadServices(json.path), [{
    name: "web",
    command: "echo // no comment, /* really */",
    ports: { http: "auto" },
  }]);
});

Deno.test("loadServices() names what it cannot read", async () => {
  const rows = [
    ["services.json", "[", "it is no JSON"],
    ["services.json", "3", "it holds no list"],
    ["Procfile", "just a command", "line 1"],
  ] as const;
  for (const [name, text, expected] of rows) {
    await using bad = await file(name, text);
    await assertRejects(() => loadServices(bad.path), ServiceConfigError, expected);
  }
  await assertRejects(() => loadServices("/nope/services.conf"), ServiceConfigError, "/nope");
  await using wrong = await file("services.json", '[{ "name": "a", "comand": "x" }]');
  await assertRejects(() => loadServices(wrong.path), TypeError, '"command"');
});

Deno.test("jobs #107 runWithServices() ends with the command's exit code", async () => {
  const logs: unknown[] = [];
  const previous = setEventSink((kind, fields) => kind === "service_log" && logs.push(fields));
  await using scope = new Scope("run");
  const specs = [{ name: "db", command: "echo up; sleep 300", ready: probe.log("up") }];
  const result = await scope.run(() =>
    runWithServices(specs, "echo $DB_HOST; exit 5", { setExitCode: true })
  );
  assertEquals([result.exitCode, Deno.exitCode, result.stdout], [5, 5, "127.0.0.1\n"]);
  Deno.exitCode = 0;
  assertEquals(jobs.list({ state: "running" }), []);
  assertEquals(logs, [{ service: "db", text: "up\n" }]);
  assertEquals((await scope.run(() => runWithServices(specs, ["true"]))).ok, true);
  assertEquals(logs.length, 1);
  setEventSink(previous);
  await closeCurrentRun();
  jobs.cleanup();
});
