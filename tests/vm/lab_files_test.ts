import { assert, assertEquals, assertRejects } from "@std/assert";
import { GuestError, StateError } from "../../src/errors.ts";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("files");
const text = (data: Uint8Array) => new TextDecoder().decode(data);

test("2: a missing file is a GuestError with errno, op, path and machine", async (vm) => {
  const error = await assertRejects(() => vm.readFile("/no/such/file"), GuestError);
  assertEquals(
    [error.errno, error.op, error.path, error.vm, error.code],
    ["ENOENT", "readFile", "/no/such/file", "files", "ENOENT"],
  );
  assertEquals(error.message, 'Cannot readFile "/no/such/file" on machine "files": ENOENT');
  assert(error.stack!.includes("lab_files_test.ts"), error.stack);
});

test("2: every operation by path reports ENOENT under its own name", async (vm, { t }) => {
  const none = "/no/such/file";
  const rows: [string, () => Promise<unknown>][] = [
    ["stat", () => vm.stat(none)],
    ["stat", () => vm.lstat(none)],
    ["readDir", () => vm.readDir(none)],
    ["remove", () => vm.remove(none)],
    ["rename", () => vm.rename(none, "/tmp/x")],
    ["readLink", () => vm.readLink(none)],
    ["realPath", () => vm.realPath(none)],
    ["link", () => vm.link(none, "/tmp/x")],
    ["chmod", () => vm.chmod(none, 0o600)],
    ["chown", () => vm.chown(none, 0, 0)],
    ["truncate", () => vm.truncate(none)],
    ["utime", () => vm.utime(none, 0, 0)],
    ["statfs", () => vm.statfs(none)],
    ["writeFile", () => vm.writeFile(none, "")],
    ["mkdir", () => vm.mkdir(none)],
    ["symlink", () => vm.symlink("x", none)],
    ["fileOpen", () => vm.openFile(none, { read: true })],
    ["watch", () => vm.watch(none)],
    ["getXattr", () => vm.getXattr(none, "user.x")],
    ["listXattr", () => vm.listXattr(none)],
  ];
  for (const [op, call] of rows) {
    await t.step(op, async () => {
      const error = await assertRejects(call, GuestError);
      assertEquals([error.errno, error.op, error.vm], ["ENOENT", op, "files"]);
    });
  }
});

test("writeFile() replaces, appends, creates anew and makes folders", async (vm) => {
  assertEquals(await vm.writeFile("/tmp/w", "hello", { mode: 0o640 }), 5);
  assertEquals((await vm.stat("/tmp/w")).mode, 0o640);
  await vm.writeFile("/tmp/w", "bye");
  await vm.writeFile("/tmp/w", "!", { append: true });
  assertEquals(await vm.readTextFile("/tmp/w"), "bye!");
  const error = await assertRejects(
    () => vm.writeFile("/tmp/w", "", { createNew: true }),
    GuestError,
  );
  assertEquals(error.errno, "EEXIST");
  await vm.writeFile("/tmp/deep/er/w", "x", { parents: true });
  assertEquals(await vm.readTextFile("/tmp/deep/er/w"), "x");
});

test("writeFile() takes a stream, and reports the stream's own error", async (vm) => {
  const parts = ["a".repeat(100_000), "b".repeat(300_000), ""].map((s) =>
    new TextEncoder().encode(s)
  );
  assertEquals(await vm.writeFile("/tmp/s", ReadableStream.from(parts)), 400_000);
  assertEquals((await vm.readFile("/tmp/s")).length, 400_000);
  const failure = new Error("source");
  const failing = new ReadableStream<Uint8Array>({ pull: (c) => c.error(failure) });
  const caught = await vm.writeFile("/tmp/s2", failing).catch((error) => error);
  assertEquals(caught, failure);
  assertEquals(await vm.readTextFile("/tmp/w2").catch((e) => e.errno), "ENOENT");
});

test("readFile() reads parts, and files of proc that have no size", async (vm) => {
  await vm.writeFile("/tmp/part", "0123456789");
  assertEquals(await vm.readTextFile("/tmp/part", { offset: 3, length: 4 }), "3456");
  assertEquals(await vm.readTextFile("/tmp/part", { offset: 8 }), "89");
  assert((await vm.readTextFile("/proc/version")).startsWith("Linux version"));
  assertEquals((await vm.readFile("/dev/null")).length, 0);
});

test("stat() and lstat() tell types, modes and times apart", async (vm) => {
  await vm.writeFile("/tmp/st", "12345");
  await vm.symlink("/tmp/st", "/tmp/ln");
  const time = 1_700_000_000_123_456_789n;
  await vm.utime("/tmp/st", time, time + 1n);
  await vm.chmod("/tmp/st", 0o4751);
  const stat = await vm.stat("/tmp/ln");
  assertEquals([stat.type, stat.isFile, stat.mode, stat.size], ["file", true, 0o4751, 5]);
  assertEquals([stat.atimeNs, stat.mtimeNs], [time, time + 1n]);
  assertEquals(stat.mtime, new Date(1_700_000_000_123));
  assertEquals([stat.uid, stat.gid, stat.nlink], [0, 0, 1]);
  assertEquals((await vm.lstat("/tmp/ln")).type, "symlink");
  assertEquals((await vm.stat("/tmp")).type, "directory");
  assertEquals((await vm.stat("/dev/null")).type, "char");
  await vm.mknod("/tmp/fifo", 0o010644);
  assertEquals((await vm.stat("/tmp/fifo")).type, "fifo");
});

test("links, renames, owners and truncation work", async (vm) => {
  await vm.writeFile("/tmp/l1", "data");
  await vm.link("/tmp/l1", "/tmp/l2");
  assertEquals((await vm.stat("/tmp/l2")).nlink, 2);
  await vm.rename("/tmp/l2", "/tmp/l3");
  assert(!await vm.exists("/tmp/l2"));
  await vm.chown("/tmp/l3", 12, -1);
  const { uid, gid } = await vm.stat("/tmp/l3");
  assertEquals([uid, gid], [12, 0]);
  await vm.truncate("/tmp/l3", 2);
  assertEquals(await vm.readTextFile("/tmp/l1"), "da");
  await vm.symlink("l3", "/tmp/l4");
  assertEquals(await vm.readLink("/tmp/l4"), "l3");
  assertEquals(await vm.realPath("/tmp/l4"), "/tmp/l3");
});

test("readDir() sorts, and gives names that are not UTF-8 as bytes", async (vm) => {
  await vm.mkdir("/tmp/dir/sub", { recursive: true });
  await vm.writeFile("/tmp/dir/b\nc", "");
  const odd = new Uint8Array([...new TextEncoder().encode("/tmp/dir/"), 0xff, 0x61]);
  await vm.writeFile(odd, "odd");
  const entries = await vm.readDir("/tmp/dir");
  assertEquals(entries.map(({ name }) => name), ["b\nc", "sub", "\ufffda"]);
  assertEquals(entries.map(({ type }) => type), ["file", "directory", "file"]);
  assertEquals(entries[2]!.nameBytes, new Uint8Array([0xff, 0x61]));
  assertEquals(text(await vm.readFile(odd)), "odd");
});

test("readDir() lists 5,000 entries", async (vm) => {
  await vm.run("mkdir /tmp/many && cd /tmp/many && seq 5000 | xargs touch", { check: true });
  assertEquals((await vm.readDir("/tmp/many")).length, 5000);
});

test("glob() matches as a shell does", async (vm) => {
  await vm.mkdir("/tmp/g");
  for (const name of ["a.txt", "b.txt", "c.log"]) await vm.writeFile(`/tmp/g/${name}`, "");
  assertEquals(await vm.glob("/tmp/g/*.txt"), ["/tmp/g/a.txt", "/tmp/g/b.txt"]);
  assertEquals(await vm.glob("/tmp/g/[bc].*"), ["/tmp/g/b.txt", "/tmp/g/c.log"]);
  assertEquals(await vm.glob("/tmp/g/*.none"), []);
});

test("remove() refuses a full folder unless it is recursive", async (vm) => {
  await vm.mkdir("/tmp/full/a/b", { recursive: true });
  await vm.writeFile("/tmp/full/a/f", "");
  await vm.symlink("/tmp", "/tmp/full/out");
  const error = await assertRejects(() => vm.remove("/tmp/full"), GuestError);
  assertEquals(error.errno, "ENOTEMPTY");
  await vm.remove("/tmp/full", { recursive: true });
  assert(!await vm.exists("/tmp/full"));
  assert(await vm.exists("/tmp"));
});

test("statfs() and extended attributes work", async (vm) => {
  const { totalBytes, blockSize, nameMax } = await vm.statfs("/tmp");
  assert(totalBytes > 0 && blockSize > 0 && nameMax >= 255);
  await vm.writeFile("/tmp/x", "");
  await vm.setXattr("/tmp/x", "trusted.note", "hi");
  assertEquals(text(await vm.getXattr("/tmp/x", "trusted.note")), "hi");
  assertEquals(await vm.listXattr("/tmp/x"), ["trusted.note"]);
  await vm.removeXattr("/tmp/x", "trusted.note");
  assertEquals(await vm.listXattr("/tmp/x"), []);
});

test("openFile() reads, writes, seeks, tells, syncs and closes with its scope", async (vm) => {
  await using file = await vm.openFile("/tmp/open", { read: true, write: true, create: true });
  assertEquals(await file.write("hello world"), 11);
  assertEquals(await file.seek(0), 0);
  assertEquals(text(await file.read(5)), "hello");
  assertEquals(await file.tell(), 5);
  assertEquals(await file.seek(-5, "end"), 6);
  assertEquals(text(await file.readAll()), "world");
  assertEquals((await file.read(10)).length, 0);
  await file.sync();
  assertEquals((await file.stat()).size, 11);
  await file.truncate(3);
  assertEquals(await vm.readTextFile("/tmp/open"), "hel");
  assert(file.fd > 2);
  await file.close();
  await file.close();
  const error = await assertRejects(() => file.read(1), StateError);
  assert(error.message.includes("it is closed"), error.message);
});

test("openFile() moves more than one message holds", async (vm) => {
  await using file = await vm.openFile("/tmp/big", { read: true, write: true, create: true });
  const data = new Uint8Array(3_000_000).map((_, i) => i * 31);
  assertEquals(await file.write(data), data.length);
  await file.seek(0);
  assertEquals(await file.readAll(), data);
});

test("openFile() refuses options that make no sense", async (vm, { t }) => {
  const rows: [object, string][] = [
    [{}, "at least one of the options read, write and append"],
    [{ create: true }, "at least one of the options read, write and append"],
    [{ read: true, create: true }, "Option create of vm.openFile() needs write or append"],
    [{ read: true, truncate: true }, "Option truncate of vm.openFile() needs write"],
    [{ write: true, append: true, truncate: true }, "contradict each other"],
    [{ reed: true }, 'did you mean "read"'],
    [{ read: "yes" }, "must be true or false"],
    [{ write: true, mode: "644" }, "must be a number such as 0o644"],
  ];
  for (const [options, message] of rows) {
    await t.step(JSON.stringify(options), async () => {
      await assertRejects(() => vm.openFile("/tmp/o", options), TypeError, message);
    });
  }
  const error = await assertRejects(
    () => vm.openFile("/tmp/open", { write: true, createNew: true }),
    GuestError,
  );
  assertEquals(error.errno, "EEXIST");
});

test("paths of a wrong form are refused by name", async (vm) => {
  await assertRejects(() => vm.readFile(""), TypeError, "The path of readFile() must not be empty");
  await assertRejects(() => vm.stat("/a\0b"), TypeError, "must not contain NUL");
  await assertRejects(
    () => vm.stat(5 as unknown as string),
    TypeError,
    "must be a string or bytes, got number",
  );
  await assertRejects(
    () => vm.readFile("/tmp", { sgnal: 1 } as object),
    TypeError,
    'Unknown option "sgnal" for vm.readFile(): did you mean "signal"?',
  );
});

test("watch() reports creations, changes, renames and removals", async (vm) => {
  await vm.mkdir("/tmp/watched");
  await using watch = await vm.watch("/tmp/watched", {
    kinds: ["create", "closeWrite", "movedFrom", "movedTo", "delete"],
  });
  await vm.writeFile("/tmp/watched/f", "x");
  await vm.rename("/tmp/watched/f", "/tmp/watched/g");
  await vm.remove("/tmp/watched/g");
  const seen: string[] = [];
  const cookies: number[] = [];
  while (seen.length < 5) {
    const event = (await watch.next({ signal: AbortSignal.timeout(20_000) }))!;
    seen.push(`${event.kinds.join("+")} ${event.name}`);
    if (event.cookie) cookies.push(event.cookie);
  }
  assertEquals(seen, ["create f", "closeWrite f", "movedFrom f", "movedTo g", "delete g"]);
  assertEquals(cookies[0], cookies[1]);
});

test("tail() follows growth, truncation and rotation", async (vm) => {
  const log = "/tmp/app.log";
  await vm.writeFile(log, "old\n");
  await using tail = await vm.tail(log);
  await vm.writeFile(log, "one\n", { append: true });
  assertEquals((await tail.expect(/.*\n/, 20)).match, "one\n");
  await vm.truncate(log);
  await vm.writeFile(log, "two\n", { append: true });
  assertEquals((await tail.expect(/.*\n/, 20)).match, "two\n");
  await vm.run(`echo last >> ${log}; mv ${log} ${log}.1; echo new > ${log}`, { check: true });
  assertEquals((await tail.expect("last\n", 20)).before, "");
  assertEquals((await tail.expect("new\n", 20)).before, "");
  await using all = await vm.tail(log, { from: "start" });
  assertEquals((await all.expect("\n", 20)).before, "new");
});

test("an aborted operation rejects with the reason, and the machine goes on", async (vm) => {
  await vm.mknod("/tmp/blocking", 0o010600);
  const controller = new AbortController();
  const reading = vm.readFile("/tmp/blocking", { signal: controller.signal });
  const reason = { why: "enough" };
  controller.abort(reason);
  assertEquals(await reading.catch((error) => error === reason), true);
  assert(await vm.exists("/tmp/blocking"));
});
