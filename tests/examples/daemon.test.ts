import { beforeAll, lab, test, type Vm, waitUntil } from "belljar";

let vm: Vm;

// A machine of the file: all tests below share it, and the file's end closes it.
beforeAll(async () => {
  vm = await lab.vm("web", "tiny").boot();
  await vm.mkdir("/srv/www", { recursive: true });
  await vm.writeFile("/srv/www/index.html", "<h1>it works</h1>\n");
});

test("a daemon answers over the guest's loopback, and is gone when killed", async (t) => {
  const httpd = await vm.background("httpd -f -p 127.0.0.1:8080 -h /srv/www", { name: "httpd" });

  const page = await waitUntil(async () => {
    const got = await vm.run("wget -q -O - http://127.0.0.1:8080/");
    return got.ok && got.stdout;
  }, { desc: "httpd to answer", timeout: "20s" });
  t.assertEquals(page, "<h1>it works</h1>\n");

  const ended = await vm.jobKill(httpd);
  t.assertEquals(ended.status, "killed:143");
  const refused = await vm.run("wget -q -O - http://127.0.0.1:8080/");
  t.assert(!refused.ok, "nobody may listen any more");
});

test("a daemon that is left running is closed by the scope", async (t) => {
  const httpd = await vm.background("httpd -f -p 127.0.0.1:8081 -h /srv/www");
  t.assert(httpd.pid !== undefined);
  // No jobKill: when this test ends the walker ends the daemon and says so in the report.
});

test("and the next test sees nothing of it", async (t) => {
  const listening = await vm.run("netstat -ltn | grep -c :8081 || true");
  t.assertEquals(listening.stdout.trim(), "0");
});
