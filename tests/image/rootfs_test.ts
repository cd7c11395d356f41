import { assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { ImageError } from "../../src/errors.ts";
import { makeExt4 } from "../../src/image/_ext4.ts";
import { rootDisk } from "../../src/image/_root_disk.ts";
import { rootInitScript } from "../../src/image/_root_init.ts";
import { parseTarOwners, rootDigest, rootTree } from "../../src/image/_root_tree.ts";
import { buildContext } from "../../src/image/mod.ts";
import { tempDir } from "./objects.ts";

const DIGEST = "00112233445566778899aabbccddeeff".repeat(2);

async function debugfs(disk: string, command: string): Promise<string> {
  const { stdout } = await new Deno.Command("debugfs", {
    args: ["-R", command, disk],
    env: { PATH: `${Deno.env.get("PATH")}:/usr/sbin:/sbin`, DEBUGFS_PAGER: "cat" },
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout);
}

async function owner(disk: string, path: string): Promise<number[]> {
  const text = await debugfs(disk, `stat "${path.replaceAll('"', '""')}"`);
  const [, uid, gid] = /User:\s+(\d+)\s+Group:\s+(\d+)/.exec(text) ?? [];
  return [Number(uid), Number(gid)];
}

Deno.test("makeExt4() writes a tree with its modes, links and odd names", async () => {
  await using dir = await tempDir();
  const tree = `${dir.path}/tree`;
  await Deno.mkdir(`${tree}/etc`, { recursive: true, mode: 0o755 });
  await Deno.writeTextFile(`${tree}/etc/name`, "hello", { mode: 0o640 });
  await Deno.writeTextFile(`${tree}/a "b" c`, "odd");
  await Deno.symlink("name", `${tree}/etc/link`);
  const owners = new Map([
    ["/etc/name", { uid: 5, gid: 6 }],
    ['/a "b" c', { uid: 70_000, gid: 70_001 }],
  ]);
  const disk = `${dir.path}/disk`;
  await makeExt4(tree, disk, { digest: DIGEST, owners }, await buildContext());
  assertEquals(await debugfs(disk, "cat /etc/name"), "hello");
  assertEquals(await owner(disk, "/etc/name"), [5, 6]);
  assertEquals(await owner(disk, '/a "b" c'), [70_000, 70_001]);
  assertEquals(await owner(disk, "/"), [0, 0]);
  assertEquals((await debugfs(disk, "stat /etc/link")).includes('Fast link dest: "name"'), true);
  const uuid = /Filesystem UUID:\s+(\S+)/.exec(await debugfs(disk, "stats"))?.[1];
  assertEquals(uuid, "00112233-4455-6677-8899-aabbccddeeff");
  const { success } = await new Deno.Command("/usr/sbin/e2fsck", { args: ["-fn", disk] }).output();
  assertEquals(success, true);
});

Deno.test("makeExt4() says how much a tree needs when its size is too small", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/tree`);
  await Deno.writeFile(`${dir.path}/tree/big`, new Uint8Array(30 * 1024 * 1024));
  const context = await buildContext();
  const options = { digest: DIGEST, owners: new Map(), bytes: 20 * 1024 * 1024 };
  const error = await assertRejects(
    () => makeExt4(`${dir.path}/tree`, `${dir.path}/disk`, options, context),
    ImageError,
  );
  assertEquals(error.message.split("\n").slice(1), [
    "  expected: at least 55M",
    "  actual:   size is 20M",
    "  next:     raise or remove `size` in belljar.config.ts",
  ]);
});

Deno.test("rootTree() unpacks an archive of any compression without its devices", async (t) => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/in/dev`, { recursive: true });
  await Deno.mkdir(`${dir.path}/in/bin`);
  await Deno.writeTextFile(`${dir.path}/in/bin/su`, "x");
  await Deno.chmod(`${dir.path}/in/bin/su`, 0o4755);
  await Deno.writeTextFile(`${dir.path}/in/dev/null`, "");
  for (
    const [flag, suffix] of [["--gzip", "gz"], ["--xz", "xz"], ["-v", "tar"]]
  ) {
    await t.step(suffix!, async () => {
      const archive = `${dir.path}/root.${suffix}`;
      const { success } = await new Deno.Command("tar", {
        args: ["-c", flag!, "-f", archive, "-C", `${dir.path}/in`, "."],
      }).output();
      assertEquals(success, true);
      const out = `${dir.path}/out-${suffix}`;
      const { folder } = await rootTree(archive, out, await buildContext());
      assertEquals(folder, out);
      assertEquals((await Deno.stat(`${out}/bin/su`)).mode! & 0o7777, 0o4755);
      assertEquals(await Array.fromAsync(Deno.readDir(`${out}/dev`)), []);
    });
  }
});

Deno.test("rootDisk() makes a disk once per tree and size, and knows systemd", async () => {
  await using dir = await tempDir();
  const tree = `${dir.path}/tree`;
  await Deno.mkdir(`${tree}/sbin`, { recursive: true });
  await Deno.symlink("/lib/systemd/systemd", `${tree}/sbin/init`);
  const context = await buildContext({ cacheDir: `${dir.path}/cache` });
  const [first, second] = await Promise.all([
    rootDisk("a", tree, "64M", context),
    rootDisk("b", tree, "64M", context),
  ]);
  assertEquals(second, first);
  assertEquals([first.hasSystemd, (await Deno.stat(first.path)).size], [true, 64 * 1024 ** 2]);
  assertEquals(context.built.size, 1);
  assertNotEquals((await rootDisk("a", tree, "65M", context)).path, first.path);

  await Deno.truncate(first.path, 1024);
  assertEquals(await rootDisk("a", tree, "64M", context), first);
  assertEquals((await Deno.stat(first.path)).size, 64 * 1024 ** 2);

  await Deno.remove(`${tree}/sbin/init`);
  await Deno.symlink("busybox", `${tree}/sbin/init`);
  assertEquals((await rootDisk("a", tree, "64M", context)).hasSystemd, false);
});

Deno.test("rootDigest() changes with a folder's content, modes and names", async (t) => {
  await using dir = await tempDir();
  const tree = `${dir.path}/tree`;
  await Deno.mkdir(tree);
  await Deno.writeTextFile(`${tree}/a`, "one");
  const context = await buildContext({ cacheDir: `${dir.path}/cache` });
  const digests = new Set([await rootDigest("it", tree, context)]);
  assertEquals(digests.has(await rootDigest("it", tree, context)), true);
  const changes: [string, () => Promise<void>][] = [
    ["content", () => Deno.writeTextFile(`${tree}/a`, "two")],
    ["mode", () => Deno.chmod(`${tree}/a`, 0o600)],
    ["name", () => Deno.rename(`${tree}/a`, `${tree}/b`)],
    ["link", () => Deno.symlink("b", `${tree}/c`)],
    ["folder", () => Deno.mkdir(`${tree}/d`)],
  ];
  for (const [name, change] of changes) {
    await t.step(name, async () => {
      await change();
      const digest = await rootDigest("it", tree, context);
      assertEquals(digests.has(digest), false);
      digests.add(digest);
    });
  }
});

Deno.test("parseTarOwners() reads owners of files, links and devices", () => {
  const owners = parseTarOwners(
    [
      "drwxr-xr-x 0/0               0 2024-01-01 00:00 ./",
      "drwxrwsr-x 0/50              0 2024-01-01 00:00 ./var/local/",
      "-rw-r----- 0/42            501 2024-01-01 00:00 ./etc/shadow",
      "-rw-r--r-- 1000/1000         1 2024-01-01 00:00 ./home/a file -> odd",
      "lrwxrwxrwx 7/8               0 2024-01-01 00:00 ./bin -> usr/bin",
      "hrw-r--r-- 9/9               0 2024-01-01 00:00 ./x link to ./y",
      "crw-rw-rw- 0/5             5,2 2024-01-01 00:00 ./tty",
      "",
    ].join("\n"),
  );
  assertEquals([...owners], [
    ["/var/local", { uid: 0, gid: 50 }],
    ["/etc/shadow", { uid: 0, gid: 42 }],
    ["/home/a file -> odd", { uid: 1000, gid: 1000 }],
    ["/bin", { uid: 7, gid: 8 }],
    ["/tty", { uid: 0, gid: 5 }],
  ]);
});

Deno.test("rootInitScript() is a script that a shell can read", async (t) => {
  const rows = [["agent", "early"], ["systemd", "early"], ["systemd", "booted"]] as const;
  for (const [init, start] of rows) {
    await t.step(`${init} ${start}`, async () => {
      const child = new Deno.Command("sh", {
        args: ["-n"],
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(rootInitScript(init, start)));
      await writer.close();
      const { success, stderr } = await child.output();
      assertEquals([success, new TextDecoder().decode(stderr)], [true, ""]);
    });
  }
});
