// Not run by default, because its name does not end in `.test.ts`. See what a failure looks like with
// `belljar run tests/examples/failing.example.ts`.
import { lab, test } from "belljar";

test("the configuration was written", async (t) => {
  const vm = await lab.vm("app", "tiny").boot();
  await vm.writeFile("/etc/app.conf", "port = 8080\nworkers = 2\n");
  await vm.run("sed -i s/8080/80/ /etc/app.conf", { check: true });
  t.assertEquals(await vm.readTextFile("/etc/app.conf"), "port = 8080\nworkers = 2\n");
});

test("the service came up", async (t) => {
  const vm = await lab.vm("svc", "tiny").boot();
  await vm.runAsync("sleep", { args: ["300"] });
  const result = await vm.run("echo starting; echo 'cannot bind: address in use' >&2; exit 3");
  result.assertOk();
  t.log("never reached");
});
