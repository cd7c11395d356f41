/** Servers inside a guest: a small TCP server that keeps values, and busybox httpd in front of it. */
import { beforeAll, lab, probe, ServiceStartError, test, type Vm } from "belljar";

let vm: Vm;

/** One conversation of the TCP server: a line in, a line out. */
const STORE = `#!/bin/sh
read -r verb key value
case $verb in
  set) printf '%s' "$value" > "/srv/data/$key" && echo stored ;;
  get) cat "/srv/data/$key" 2>/dev/null || echo none ;;
  ping) echo pong ;;
  *) echo "no such verb: $verb" ;;
esac
`;

/** A page that asks the TCP server. */
const PAGE = `#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "get $QUERY_STRING" | nc 127.0.0.1 "$STORE_PORT"
`;

beforeAll(async () => {
  vm = await lab.vm("servers", "tiny").boot({
    files: [
      { path: "/srv/store", content: STORE, mode: 0o755 },
      { path: "/srv/www/cgi-bin/value", content: PAGE, mode: 0o755 },
      { path: "/srv/www/index.html", content: "<h1>it works</h1>\n" },
    ],
  });
});

test("an http server in front of a tcp server, both in one guest", async (t) => {
  const group = await vm.services([
    {
      name: "web",
      command: "exec httpd -f -v -p 127.0.0.1:{{port.http}} -h /srv/www",
      env: { STORE_PORT: "{{svc.store.port}}" },
      ports: { http: "auto" },
      // Asked from within the guest: nobody but the guest has to reach its ports.
      ready: probe.http({ path: "/index.html", body: "it works", attemptTimeout: "5s" }),
      dependsOn: ["fill"],
      stop: { requireGraceful: true },
    },
    {
      name: "store",
      command: "mkdir -p /srv/data && exec nc -ll -p {{port.tcp}} -e /srv/store",
      env: { PORT: "{{port.tcp}}" },
      ports: { tcp: "auto" },
      ready: [
        probe.tcp("tcp"),
        probe.command(`echo ping | nc 127.0.0.1 "$PORT"`, { stdout: "pong", attemptTimeout: "5s" }),
      ],
    },
    {
      name: "fill",
      command: "echo set answer 42 | nc 127.0.0.1 {{svc.store.port}} | grep stored",
      dependsOn: ["store"],
      oneShot: true,
    },
  ]);

  const order = group.timeline().toSorted((a, b) => a.startedAt - b.startedAt);
  t.assertEquals(order.map(({ name }) => name), ["store", "fill", "web"]);

  const { http } = group.get("web").ports;
  const get = async (path: string) =>
    (await vm.run(`wget -q -O - http://127.0.0.1:${http}${path}`, { check: true })).stdout;
  t.assertEquals(await get("/"), "<h1>it works</h1>\n");
  t.assertEquals((await get("/cgi-bin/value?answer")).trim(), "42");

  // A restart of one does not concern the other, and keeps its port.
  await group.get("store").restart();
  t.assertEquals((await get("/cgi-bin/value?nothing")).trim(), "none");

  const reports = await group.stop();
  t.assertEquals(
    reports.map(({ service, how }) => `${service}: ${how}`).sort(),
    ["fill: notRunning", "store: graceful", "web: graceful"],
  );
  const left = (await vm.processes()).filter(({ command }) => /^(nc|httpd) /.test(command));
  t.assertEquals(left, []);
});

test("a server that cannot start says why at once", async (t) => {
  const error = await t.assertRejects(
    () =>
      vm.service({
        name: "web",
        command: "exec httpd -f -p 127.0.0.1:{{port.http}} -h /no/such/folder",
        ports: { http: "auto" },
        startTimeout: "60s",
      }),
    ServiceStartError,
  );
  t.assertEquals(error.reason, "exited");
  t.assertStringIncludes(error.logTail, "/no/such/folder");
});

test("a server that a test leaves running is stopped with it", async (t) => {
  const web = await vm.service({
    name: "web",
    command: "exec httpd -f -p 127.0.0.1:8088 -h /srv/www",
    ports: { http: 8088 },
  });
  t.assertEquals(web.state, "ready"); // By default: its port takes connections.
});

test("and the next one finds its port free", async (t) => {
  const listening = await vm.run("netstat -ltn | grep -c :8088");
  t.assertEquals(listening.stdout, "0\n");
});
