import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { BelljarError, GuestError } from "../../src/errors.ts";
import { JobNotFoundError, JobSpawnError } from "../../src/jobs/mod.ts";
import { cstr, SyscallError, type Vm, type Worker } from "../../src/lab/mod.ts";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("wrong");

/** Things that are in the way, for the rows below. */
async function prepare(vm: Vm): Promise<Worker> {
  const script = [
    "mkdir -p /t/full/inner /t/dir /t/ro /t/small /t/private",
    "echo x > /t/file",
    "ln -s loop /t/loop",
    "ln -s /t/file /t/link",
    "chmod 700 /t/private",
    "mount -t tmpfs -o size=64k none /t/small",
    "mount -t tmpfs none /t/ro && echo r > /t/ro/file && mount -o remount,ro /t/ro",
    "mkfifo /t/fifo",
  ].join(" && ");
  await vm.run(script, { check: true });
  return await vm.spawnWorker({ uid: 1000, gid: 1000, groups: [] });
}

type Row = [errno: string, op: string, call: () => Promise<unknown>];

test(
  "every guest failure has errno, operation, machine and path, and says them in one line",
  async (vm, { t }) => {
    const user = await prepare(vm);
    const long = `/t/${"n".repeat(300)}`;
    const rows: Row[] = [
      ["EISDIR", "readFile", () => vm.readFile("/t/dir")],
      ["ENOTDIR", "readFile", () => vm.readFile("/t/file/x")],
      ["ELOOP", "readFile", () => vm.readFile("/t/loop")],
      ["ENAMETOOLONG", "readFile", () => vm.readFile(long)],
      ["EACCES", "readFile", () => user.readFile("/t/private/x")],
      ["EISDIR", "writeFile", () => vm.writeFile("/t/dir", "")],
      ["ENOTDIR", "writeFile", () => vm.writeFile("/t/file/x", "")],
      ["EROFS", "writeFile", () => vm.writeFile("/t/ro/x", "")],
      ["ENOSPC", "writeFile", () => vm.writeFile("/t/small/x", new Uint8Array(1_000_000))],
      ["EACCES", "writeFile", () => user.writeFile("/t/file", "")],
      ["EEXIST", "writeFile", () => vm.writeFile("/t/file", "", { createNew: true })],
      ["ENOTDIR", "stat", () => vm.stat("/t/file/x")],
      ["ELOOP", "stat", () => vm.stat("/t/loop")],
      ["ENAMETOOLONG", "stat", () => vm.lstat(long)],
      ["EACCES", "stat", () => user.stat("/t/private/x")],
      ["ENOTDIR", "readDir", () => vm.readDir("/t/file")],
      ["EACCES", "readDir", () => user.readDir("/t/private")],
      ["EEXIST", "mkdir", () => vm.mkdir("/t/dir")],
      ["EEXIST", "mkdir", () => vm.mkdir("/t/file")],
      ["ENOTDIR", "mkdir", () => vm.mkdir("/t/file/x")],
      ["EROFS", "mkdir", () => vm.mkdir("/t/ro/x")],
      ["EACCES", "mkdir", () => user.mkdir("/t/x")],
      ["ENOTEMPTY", "remove", () => vm.remove("/t/full")],
      ["EROFS", "remove", () => vm.remove("/t/ro/file")],
      ["EBUSY", "remove", () => vm.remove("/t/small")],
      ["EACCES", "remove", () => user.remove("/t/file")],
      ["ENOTDIR", "rename", () => vm.rename("/t/dir", "/t/file")],
      ["EISDIR", "rename", () => vm.rename("/t/file", "/t/dir")],
      ["EXDEV", "rename", () => vm.rename("/t/file", "/t/small/file")],
      ["EINVAL", "rename", () => vm.rename("/t/full", "/t/full/inner/x")],
      ["EEXIST", "symlink", () => vm.symlink("x", "/t/file")],
      ["EROFS", "symlink", () => vm.symlink("x", "/t/ro/x")],
      ["EINVAL", "readLink", () => vm.readLink("/t/file")],
      ["ELOOP", "realPath", () => vm.realPath("/t/loop")],
      ["EEXIST", "link", () => vm.link("/t/file", "/t/dir")],
      ["EXDEV", "link", () => vm.link("/t/file", "/t/small/other")],
      ["EPERM", "link", () => vm.link("/t/dir", "/t/x")],
      ["EROFS", "chmod", () => vm.chmod("/t/ro/file", 0o600)],
      ["EPERM", "chmod", () => user.chmod("/t/file", 0o600)],
      ["EPERM", "chown", () => user.chown("/t/file", 1000, 1000)],
      ["EROFS", "chown", () => vm.chown("/t/ro/file", 1, 1)],
      ["EISDIR", "truncate", () => vm.truncate("/t/dir")],
      ["EACCES", "truncate", () => user.truncate("/t/file")],
      ["EROFS", "truncate", () => vm.truncate("/t/ro/file")],
      ["EPERM", "utime", () => user.utime("/t/file", 0, 0)],
      ["EEXIST", "mknod", () => vm.mknod("/t/fifo", 0o010600)],
      ["EPERM", "mknod", () => user.mknod("/tmp/null", 0o020600, 259)],
      ["ENODATA", "getXattr", () => vm.getXattr("/t/small", "trusted.none")],
      ["EPERM", "setXattr", () => user.setXattr("/t/file", "trusted.x", "1")],
      ["ENODATA", "removeXattr", () => vm.removeXattr("/t/small", "trusted.none")],
      ["ENOTDIR", "statfs", () => vm.statfs("/t/file/x")],
      ["ENOTDIR", "watch", () => vm.watch("/t/file/x")],
      ["EISDIR", "fileOpen", () => vm.openFile("/t/dir", { write: true })],
      ["EEXIST", "fileOpen", () => vm.openFile("/t/file", { write: true, createNew: true })],
      ["EACCES", "fileOpen", () => user.openFile("/t/file", { write: true })],
      ["EROFS", "fileOpen", () => vm.openFile("/t/ro/file", { write: true })],
      ["EFAULT", "readMem", () => vm.readMem(8, 8)],
    ];
    for (const [errno, op, call] of rows) {
      await t.step(`${op}: ${errno}`, async () => {
        const error = await call().then(() => undefined, (error) => error);
        assert(error instanceof GuestError, String(error));
        assertEquals([error.errno, error.op, error.vm, error.code], [errno, op, "wrong", errno]);
        const [line] = error.message.split("\n");
        for (const part of [op, errno, 'machine "wrong"']) assertStringIncludes(line!, part);
        if (op !== "readMem") assert(error.path, "it names no path");
        assertStringIncludes(error.stack!, "lab_errors_test.ts");
      });
    }
  },
);

test("operations on open files fail with the errno of the file", async (vm, { t }) => {
  await vm.writeFile("/tmp/open", "x");
  await using reading = await vm.openFile("/tmp/open", { read: true });
  await using writing = await vm.openFile("/tmp/open", { write: true });
  const rows: Row[] = [
    ["EBADF", "fileWrite", () => reading.write("x")],
    ["EBADF", "fileRead", () => writing.read(1)],
    ["EINVAL", "fileSeek", () => reading.seek(-1)],
    ["EINVAL", "fileTruncate", () => reading.truncate(0)],
  ];
  for (const [errno, op, call] of rows) {
    await t.step(`${op}: ${errno}`, async () => {
      const error = await call().then(() => undefined, (error) => error);
      assert(error instanceof GuestError, String(error));
      assertEquals([error.errno, error.op, error.vm, error.code], [errno, op, "wrong", errno]);
      for (const part of [op, errno, 'machine "wrong"']) assertStringIncludes(error.message, part);
    });
  }
});

test(
  "commands that cannot start say at which step, and jobs that are not there say so",
  async (vm, { t }) => {
    const rows: [string, () => Promise<unknown>, (error: BelljarError) => void][] = [
      ["no program", () => vm.run("/none", { args: [] }), (error) => {
        assert(error instanceof JobSpawnError);
        assertEquals(error.reason, "notFound");
      }],
      ["no folder", () => vm.run("true", { cwd: "/none" }), (error) => {
        assert(error instanceof JobSpawnError);
        assertEquals(error.reason, "cwd");
      }],
      ["no permission", () => vm.run("/etc/hosts", { args: [] }), (error) => {
        assert(error instanceof JobSpawnError);
        assertEquals(error.reason, "permission");
      }],
      ["no user", () => vm.run("true", { user: "nobody-there" }), (error) => {
        assert(error instanceof JobSpawnError, String(error));
      }],
      ["no job", () => vm.jobWait(987654), (error) => {
        assert(error instanceof JobNotFoundError);
      }],
      ["a call", async () => (await vm.syscall("close", 9999)).check(), (error) => {
        assert(error instanceof SyscallError);
        assertEquals([error.errno, error.call, error.code], ["EBADF", "close", "EBADF"]);
      }],
      [
        "a call by name of file",
        async () => (await vm.syscall("rmdir", cstr("/"))).check(),
        (error) => {
          assertEquals((error as SyscallError).errno, "EBUSY");
        },
      ],
    ];
    for (const [name, call, check] of rows) {
      await t.step(name, async () => {
        const error = await call().then(() => undefined, (error) => error);
        assert(error instanceof BelljarError, String(error));
        check(error);
      });
    }
  },
);
