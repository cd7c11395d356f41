import { beforeAll, GuestError, lab, test, type Vm } from "belljar";

let vm: Vm;

beforeAll(async () => {
  vm = await lab.vm("files", "tiny").boot({
    files: [{ path: "/etc/motd", content: "hello from the test\n", mode: 0o600 }],
  });
});

test("a file injected at boot is there, with its mode", async (t) => {
  t.assertEquals(await vm.readTextFile("/etc/motd"), "hello from the test\n");
  t.assertEquals((await vm.stat("/etc/motd")).mode, 0o600);
});

test("files of any size go in and out unchanged", async (t) => {
  const data = crypto.getRandomValues(new Uint8Array(60_000));
  const big = new Uint8Array(3_000_000).map((_, i) => data[i % data.length]!);
  await vm.writeFile("/tmp/big", big);
  t.assertEquals(await vm.readFile("/tmp/big"), big);
});

test("an open file has a position, and a real descriptor in the guest", async (t) => {
  await using file = await vm.openFile("/tmp/log", { read: true, write: true, create: true });
  await file.write("first\nsecond\n");
  await file.seek(6, "start");
  t.assertEquals(new TextDecoder().decode(await file.readAll()), "second\n");

  const { ret } = await vm.syscall("lseek", file, 0, 0);
  t.assertEquals(ret, 0n);
});

test("a missing file is an error that code can tell from others", async (t) => {
  const error = await t.assertRejects(() => vm.readFile("/no/such/file"), GuestError);
  t.assertEquals(error.errno, "ENOENT");
  t.assertEquals(error.path, "/no/such/file");
});
