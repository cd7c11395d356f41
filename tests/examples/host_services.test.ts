/**
 * Servers of the distribution on the host: a database, a cache and a web server, each on a port that is free, with its data in
 * a folder of the test, without root. `apt-get install postgresql redis-server nginx-light` brings them.
 */
import { probe, service, services, type ServiceSpec, test, type TestContext } from "belljar";

/** Finds programs, also where Debian keeps those that are not for everybody. */
async function find(name: string): Promise<string | undefined> {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  for await (const { name: version } of entries("/usr/lib/postgresql")) {
    folders.push(`/usr/lib/postgresql/${version}/bin`);
  }
  for (const folder of [...folders, "/usr/sbin", "/usr/bin"]) {
    const path = `${folder}/${name}`;
    const file = await Deno.stat(path).catch(() => undefined); // Not here: the next folder.
    if (file?.isFile) return path;
  }
  return undefined;
}

async function* entries(folder: string): AsyncGenerator<Deno.DirEntry> {
  try {
    yield* Deno.readDir(folder);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

const postgres = await find("postgres");
const initdb = await find("initdb");
const psql = await find("psql");
const redis = await find("redis-server");
const redisCli = await find("redis-cli");
const nginx = await find("nginx");

/** Why a test cannot run here, or `false` if it can. */
function missing(...packages: ("postgresql" | "redis-server" | "nginx-light")[]): string | false {
  const there = {
    postgresql: postgres && initdb && psql,
    "redis-server": redis && redisCli,
    "nginx-light": nginx,
  };
  const lacking = packages.filter((name) => !there[name]);
  return lacking.length > 0 && `not installed: ${lacking.join(", ")} (apt-get install)`;
}

/** PostgreSQL refuses to run as root, and no server of a test needs to. */
const NOBODY = 65534;
const asNobody = Deno.uid() === 0
  ? ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"]
  : [];

/** A folder that the servers of a test own; it is removed after they were stopped. */
async function makeFolder(t: TestContext): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "bj-servers-" });
  t.defer(() => Deno.remove(folder, { recursive: true }));
  if (Deno.uid() === 0) await Deno.chown(folder, NOBODY, NOBODY);
  return folder;
}

/** The cache: in memory alone. */
function cache(folder: string): ServiceSpec {
  return {
    name: "cache",
    command: [
      ...asNobody,
      ...[redis!, "--bind", "127.0.0.1", "--port", "{{port.redis}}", "--dir", folder],
      ...["--save", "", "--appendonly", "no", "--daemonize", "no"],
    ],
    env: { PORT: "{{port.redis}}" },
    ports: { redis: "auto" },
    // What a client sees, not only that the port is open.
    ready: probe.command(`${redisCli} -h 127.0.0.1 -p "$PORT" ping`, {
      stdout: /^PONG$/m,
      attemptTimeout: "5s",
    }),
    stop: { requireGraceful: true },
  };
}

/** The database: its cluster is made by a step that runs once, before it is started. */
function database(folder: string): ServiceSpec[] {
  return [
    {
      name: "cluster",
      command: [
        ...[...asNobody, initdb!, "-D", `${folder}/data`, "-U", "app", "--auth=trust"],
        ...["--no-sync", "--locale=C", "--encoding=UTF8"],
      ],
      cwd: folder,
      oneShot: true,
      startTimeout: "2m",
    },
    {
      name: "database",
      command: [
        ...[...asNobody, postgres!, "-D", `${folder}/data`, "-h", "127.0.0.1"],
        ...["-p", "{{port.sql}}", "-c", "unix_socket_directories=", "-c", "fsync=off"],
      ],
      cwd: folder,
      ports: { sql: "auto" },
      dependsOn: ["cluster"],
      ready: [probe.log("database system is ready to accept connections"), probe.tcp("sql")],
      startTimeout: "2m",
      // To PostgreSQL, SIGINT means: end the sessions and write everything back.
      stop: { signal: "SIGINT", target: "leader", grace: "30s", requireGraceful: true },
    },
  ];
}

/** A line of psql(1) that runs commands on the database of the set. */
const sql = (options: string) =>
  `${psql} -h {{svc.database.host}} -p {{svc.database.port}} -U app -d postgres -X -q -v ON_ERROR_STOP=1 ${options}`;

/** The web server: its configuration gets the port just before the start. */
async function web(folder: string): Promise<ServiceSpec> {
  await Deno.writeTextFile(
    `${folder}/nginx.conf.in`,
    `
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr info;
events {}
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  default_type application/json;
  server {
    listen 127.0.0.1:@PORT@;
    location = /health { return 200 '{"ok":true}'; }
    location / { root www; }
  }
}
`,
  );
  return {
    name: "api",
    command: [
      ...[...asNobody, "sh", "-ec"],
      `sed "s/@PORT@/$PORT/" nginx.conf.in > nginx.conf; exec "${nginx}" -p "$PWD" -c nginx.conf -e stderr`,
    ],
    cwd: folder,
    env: { PORT: "{{port.http}}" },
    ports: { http: "auto" },
    ready: probe.http({ path: "/health", body: '"ok":true' }),
    stop: { signal: "SIGQUIT", target: "leader", requireGraceful: true },
  };
}

const redisMissing = missing("redis-server");
test("redis alone, asked by its own client", { skip: redisMissing }, async (t) => {
  const folder = await makeFolder(t);
  const store = await service(cache(folder));
  const ask = async (...words: string[]) => {
    const { stdout } = await new Deno.Command(redisCli!, {
      args: ["-p", String(store.ports.redis), ...words],
    }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  t.assertEquals(await ask("set", "greeting", "hello"), "OK");
  t.assertEquals(await ask("get", "greeting"), "hello");

  await store.restart(); // on the same port, with nothing in it
  t.assertEquals(await ask("get", "greeting"), "");
  const { how, survivors } = await store.stop();
  t.assertEquals({ how, survivors }, { how: "graceful", survivors: [] });
});

const allMissing = missing("postgresql", "redis-server", "nginx-light");
test("a database, a cache and an api that are migrated before they are used", {
  skip: allMissing,
  timeout: "4m",
}, async (t) => {
  const folder = await makeFolder(t);
  await Deno.mkdir(`${folder}/www`);
  if (Deno.uid() === 0) await Deno.chown(`${folder}/www`, NOBODY, NOBODY);
  await Deno.writeTextFile(
    `${folder}/migration.sql`,
    `CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
     INSERT INTO users VALUES (1, 'ada'), (2, 'grace'), (3, 'margaret');\n`,
  );

  const group = await services([
    await web(folder),
    cache(folder),
    ...database(folder),
    {
      name: "migration",
      command: sql(`-f migration.sql`),
      cwd: folder,
      dependsOn: ["database"],
      oneShot: true,
    },
    {
      name: "publication",
      command: `${sql(`-At -c "SELECT json_agg(users ORDER BY id) FROM users"`)} > www/users.json
        ${redisCli} -p {{svc.cache.port}} -x set users < www/users.json`,
      cwd: folder,
      dependsOn: ["migration", "cache"],
      oneShot: true,
    },
  ], { timeout: "3m" });

  await t.step("each was started once what it needs was there", () => {
    const times = Object.fromEntries(group.timeline().map((entry) => [entry.name, entry]));
    const order = ["cluster", "database", "migration", "publication"];
    for (const [i, name] of order.entries()) {
      const before = times[order[i - 1] ?? ""];
      t.assert(!before || before.readyAt <= times[name]!.startedAt, `${name} came too early`);
    }
    t.assert(times.cache!.startedAt < times.database!.readyAt, "what needs nothing does not wait");
  });

  const users = [{ id: 1, name: "ada" }, { id: 2, name: "grace" }, { id: 3, name: "margaret" }];
  await t.step("the api and the cache have what the migration put into the database", async () => {
    const answer = await fetch(group.get("api").url("http", "/users.json"));
    t.assertEquals(await answer.json(), users);
    const { stdout } = await new Deno.Command(redisCli!, {
      args: ["-p", String(group.get("cache").ports.redis), "get", "users"],
    }).output();
    t.assertEquals(JSON.parse(new TextDecoder().decode(stdout)), users);
  });

  await t.step("whoever is started with the set finds it by the environment", async () => {
    const { stdout } = await new Deno.Command(psql!, {
      args: ["-h", "127.0.0.1", "-U", "app", "-d", "postgres", "-At", "-c", "SELECT 6 * 7"],
      env: { PGPORT: group.env().DATABASE_PORT! },
    }).output();
    t.assertEquals(new TextDecoder().decode(stdout).trim(), "42");
  });

  await t.step(
    "all of them stop when they are asked to, and nothing listens any more",
    async () => {
      const ports = group.all.flatMap(({ ports }) => Object.values(ports));
      const reports = await group.stop();
      const running = reports.filter(({ how }) => how !== "notRunning");
      t.assertEquals(
        running.map(({ service, how }) => `${service}: ${how}`).sort(),
        ["api: graceful", "cache: graceful", "database: graceful"],
      );
      t.assertStringIncludes(group.get("database").logs(), "database system is shut down");
      for (const port of ports) {
        await t.assertRejects(() => Deno.connect({ port, hostname: "127.0.0.1" }));
      }
    },
  );
});
