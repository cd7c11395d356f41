import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { StateError } from "../../src/errors.ts";
import { array, blob, cstr, struct, sys, SyscallError, text } from "../../src/lab/mod.ts";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("kernel");

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const O_RDWR_CREAT = 0o102;
const AT_FDCWD = -100;

const iovec = struct({ base: "ptr", len: "usize" });
const msghdr = struct({
  name: "ptr",
  namelen: "u32",
  iov: "ptr",
  iovlen: "usize",
  control: "ptr",
  controllen: "usize",
  flags: "i32",
});
const cmsghdr = struct({ len: "usize", level: "i32", type: "i32", fd: "i32", pad: "u32" });
const utf8 = (data: Uint8Array) => new TextDecoder().decode(data);

test("1: getpid, and both forms of a call agree", async (vm) => {
  const pid = (await vm.syscall("getpid")).check();
  assertEquals([pid.ret, pid.errno, pid.errnoName, pid.outBufs], [BigInt(pid.result), 0, "", []]);
  assertEquals((await vm.syscall(sys.nr("getpid"))).ret, pid.ret);
  assertEquals((await vm.syscall("getpid", {})).ret, pid.ret);
});

test("1: a failure is a result, and check() throws it", async (vm) => {
  const result = await vm.syscall("open", cstr("/no/such"), 0, 0);
  assertEquals([result.ret, result.errno, result.errnoName], [-1n, 2, "ENOENT"]);
  const error = assertThrows(() => result.check(), SyscallError);
  assertEquals([error.errno, error.call], ["ENOENT", "open"]);
  assertEquals(error.message, 'System call open failed on machine "kernel": ENOENT');
  assertEquals((await vm.syscall(99999)).errnoName, "ENOSYS");
  assertEquals((await vm.syscall("read", 0, 8n, 2n ** 64n - 1n)).errnoName !== "", true);
});

test("1: openat, write, lseek and read through buffers", async (vm) => {
  const fd = (await vm.syscall("openat", AT_FDCWD, cstr("/tmp/raw"), O_RDWR_CREAT, 0o600)).check();
  const data = new TextEncoder().encode("byte-exact\0\xff");
  assertEquals((await vm.syscall("write", fd.ret, data, data.length)).result, data.length);
  await vm.syscall("lseek", fd.ret, 0, 0);
  const read = await vm.syscall("read", { args: [fd.ret, 0, 64], bufs: [64], ptrs: [1] });
  assertEquals(read.outBufs[0]!.subarray(0, read.result), data);
  assertEquals(await vm.readFile("/tmp/raw"), data);
  (await vm.syscall("close", fd.ret)).check();
});

test("1: stat by statx decodes byte-exact", async (vm) => {
  await vm.writeFile("/tmp/statx", "12345", { mode: 0o640 });
  const time = struct({ sec: "i64", nsec: "u32", reserved: "i32" });
  const statx = struct({
    mask: "u32",
    blksize: "u32",
    attributes: "u64",
    nlink: "u32",
    uid: "u32",
    gid: "u32",
    mode: "u16",
    spare: "u16",
    ino: "u64",
    size: "u64",
    blocks: "u64",
    attributesMask: "u64",
    times: array(time, 4),
  });
  const STATX_BASIC_STATS = 0x7ff;
  const result = (await vm.syscall("statx", {
    args: [AT_FDCWD, 0, 0, STATX_BASIC_STATS],
    bufs: [cstr("/tmp/statx"), 256],
    ptrs: [1, 4],
  })).check();
  const seen = statx.decode(result.outBufs[1]!);
  const known = await vm.stat("/tmp/statx");
  assertEquals([seen.size, seen.mode & 0o7777, seen.nlink], [5n, 0o640, 1]);
  assertEquals([Number(seen.ino), seen.uid], [known.ino, known.uid]);
  const [, , ctime, mtime] = seen.times;
  assertEquals(mtime!.sec * 1_000_000_000n + BigInt(mtime!.nsec), known.mtimeNs);
  assertEquals(ctime!.sec * 1_000_000_000n + BigInt(ctime!.nsec), known.ctimeNs);
});

test("1: mount a tmpfs with nothing but system calls", async (vm) => {
  (await vm.syscall("mkdir", cstr("/tmp/mnt"), 0o755)).check();
  (await vm.syscall("mount", {
    args: [0, 0, 0, 0, 0],
    bufs: [cstr("none"), cstr("/tmp/mnt"), cstr("tmpfs"), cstr("size=1m")],
    ptrs: [0, 1, 2, 4],
  })).check();
  assertEquals((await vm.statfs("/tmp/mnt")).totalBytes, 1024 * 1024);
  (await vm.syscall("umount2", cstr("/tmp/mnt"), 0)).check();
});

test("1: sendmsg and recvmsg with two levels of pointers, and a descriptor by SCM_RIGHTS", async (vm) => {
  const pair = struct({ a: "i32", b: "i32" });
  const made = (await vm.syscall("socketpair", {
    args: [AF_UNIX, SOCK_DGRAM, 0],
    bufs: [pair.size],
    ptrs: [3],
  })).check();
  const { a, b } = pair.decode(made.outBufs[0]!);
  await vm.writeFile("/tmp/passed", "through the socket");
  await using file = await vm.openFile("/tmp/passed", { read: true });
  const parts = ["iov one, ", "iov two"].map((s) => new TextEncoder().encode(s));
  const iov = new Uint8Array([...iovec.encode({ len: 9 }), ...iovec.encode({ len: 7 })]);
  const control = cmsghdr.encode({ len: 20, level: SOL_SOCKET, type: 1, fd: file.fd });
  const sent = (await vm.syscall("sendmsg", {
    args: [a, 0, 0],
    bufs: [msghdr.encode({ iovlen: 2, controllen: control.length }), iov, ...parts, control],
    ptrs: [1],
    nested: [
      { parent: 0, child: 1, offset: msghdr.offsets.iov },
      { parent: 0, child: 4, offset: msghdr.offsets.control },
      { parent: 1, child: 2, offset: 0 },
      { parent: 1, child: 3, offset: 16 },
    ],
  })).check();
  assertEquals(sent.result, 16);
  const received = (await vm.syscall("recvmsg", {
    args: [b, 0, 0],
    bufs: [
      msghdr.encode({ iovlen: 1, controllen: cmsghdr.size }),
      iovec.encode({ len: 100 }),
      100,
      cmsghdr.size,
    ],
    ptrs: [1],
    nested: [
      { parent: 0, child: 1, offset: msghdr.offsets.iov },
      { parent: 0, child: 3, offset: msghdr.offsets.control },
      { parent: 1, child: 2, offset: 0 },
    ],
  })).check();
  assertEquals(utf8(received.outBufs[2]!.subarray(0, received.result)), "iov one, iov two");
  const passed = cmsghdr.decode(received.outBufs[3]!);
  assertEquals([passed.level, passed.type, passed.len], [SOL_SOCKET, 1, 20n]);
  const read = await vm.syscall("read", { args: [passed.fd, 0, 64], bufs: [64], ptrs: [1] });
  assertEquals(utf8(read.outBufs[0]!.subarray(0, read.result)), "through the socket");
  // getsockopt with a length that goes in and comes out.
  const SO_TYPE = 3;
  const option = (await vm.syscall("getsockopt", {
    args: [a, SOL_SOCKET, SO_TYPE],
    bufs: [16, new Uint8Array([16, 0, 0, 0])],
    ptrs: [3, 4],
  })).check();
  assertEquals([...option.outBufs[1]!], [4, 0, 0, 0]);
  assertEquals([...option.outBufs[0]!.subarray(0, 4)], [SOCK_DGRAM, 0, 0, 0]);
  for (const fd of [a, b, passed.fd]) (await vm.syscall("close", fd)).check();
});

test("getdents64 and epoll decode against the running kernel", async (vm) => {
  await vm.mkdir("/tmp/dents");
  for (const name of ["one", "two"]) await vm.writeFile(`/tmp/dents/${name}`, "");
  const O_DIRECTORY = 0o200000;
  const fd = (await vm.syscall("open", cstr("/tmp/dents"), O_DIRECTORY)).check().ret;
  const dents = (await vm.syscall("getdents64", { args: [fd, 0, 4096], bufs: [4096], ptrs: [1] }))
    .check();
  const dirent = struct({ ino: "u64", off: "i64", reclen: "u16", type: "u8", name: text(5) });
  const names: string[] = [];
  for (let at = 0; at < dents.result;) {
    const { reclen, name } = dirent.decode(dents.outBufs[0]!, at);
    names.push(name.split("\0")[0]!);
    at += reclen;
  }
  assertEquals(names.sort(), [".", "..", "one", "two"]);
  await vm.syscall("close", fd);
  const event = struct({ events: "u32", data: "u64" }, { packed: true });
  const EPOLLIN = 1;
  const epoll = (await vm.syscall("epoll_create1", 0)).check().ret;
  const pipe = struct({ read: "i32", write: "i32" });
  const ends = pipe.decode(
    (await vm.syscall("pipe2", { args: [0, 0], bufs: [8], ptrs: [0] })).check().outBufs[0]!,
  );
  (await vm.syscall("epoll_ctl", {
    args: [epoll, 1, ends.read, 0],
    bufs: [event.encode({ events: EPOLLIN, data: 77n })],
    ptrs: [3],
  })).check();
  await vm.syscall("write", ends.write, new Uint8Array([1]), 1);
  const ready = (await vm.syscall("epoll_wait", {
    args: [epoll, 0, 4, 1000],
    bufs: [event.size * 4],
    ptrs: [1],
  })).check();
  assertEquals(ready.result, 1);
  assertEquals(event.decode(ready.outBufs[0]!), { events: EPOLLIN, data: 77n });
  for (const fd of [epoll, ends.read, ends.write]) await vm.syscall("close", fd);
});

test("netlink RTM_GETLINK names the loopback device", async (vm) => {
  const nlmsghdr = struct({ len: "u32", type: "u16", flags: "u16", seq: "u32", pid: "u32" });
  const ifinfo = struct({
    family: "u8",
    pad: "u8",
    type: "u16",
    index: "i32",
    flags: "u32",
    change: "u32",
  });
  const rtattr = struct({ len: "u16", type: "u16" });
  const AF_NETLINK = 16;
  const RTM_GETLINK = 18;
  const NLM_F_REQUEST_DUMP = 0x301;
  const fd = (await vm.syscall("socket", AF_NETLINK, 3, 0)).check().ret;
  const size = nlmsghdr.size + ifinfo.size;
  const request = new Uint8Array([
    ...nlmsghdr.encode({ len: size, type: RTM_GETLINK, flags: NLM_F_REQUEST_DUMP, seq: 1 }),
    ...ifinfo.encode(),
  ]);
  (await vm.syscall("sendto", { args: [fd, 0, size, 0, 0, 0], bufs: [request], ptrs: [1] }))
    .check();
  const reply = (await vm.syscall("recvfrom", {
    args: [fd, 0, 16384, 0, 0, 0],
    bufs: [16384],
    ptrs: [1],
  })).check();
  const data = reply.outBufs[0]!.subarray(0, reply.result);
  const names: Record<number, string> = {};
  for (let at = 0; at < data.length;) {
    const header = nlmsghdr.decode(data, at);
    const { index } = ifinfo.decode(data, at + nlmsghdr.size);
    for (let attr = at + size; attr < at + header.len;) {
      const { len, type } = rtattr.decode(data, attr);
      if (type === 3) names[index] = utf8(data.subarray(attr + 4, attr + len - 1));
      attr += (len + 3) & ~3;
    }
    at += (header.len + 3) & ~3;
  }
  assertEquals(names[1], "lo");
  await vm.syscall("close", fd);
});

test("files can be arguments, and ioctl and readMem work on the principal's memory", async (vm) => {
  await using file = await vm.openFile("/tmp/arg", { read: true, write: true, create: true });
  const copy = (await vm.syscall("dup", file)).check();
  (await vm.syscall("write", { args: [copy.ret, 0, 3], bufs: [cstr("abc")], ptrs: [1] })).check();
  assertEquals(await vm.readTextFile("/tmp/arg"), "abc");
  await vm.syscall("close", copy.ret);
  assertEquals(await file.tell(), 3);
  const master = await vm.openFile("/dev/ptmx", { read: true, write: true });
  const number = (await vm.ioctl(master, "TIOCGPTN", new Uint8Array(4))).check();
  const unlock = await vm.ioctl(master, sys.ioctls.TIOCSPTLCK, new Uint8Array(4));
  assertEquals(unlock.errno, 0);
  assert(await vm.exists(`/dev/pts/${number.outBufs[0]![0]}`));
  await master.close();
  const PROT_RW = 3;
  const MAP_PRIVATE_ANONYMOUS = 0x22;
  const map = (await vm.syscall("mmap", 0, 4096, PROT_RW, MAP_PRIVATE_ANONYMOUS, -1, 0)).check();
  const pipe = struct({ read: "i32", write: "i32" });
  const ends = pipe.decode(
    (await vm.syscall("pipe2", { args: [0, 0], bufs: [8], ptrs: [0] })).check().outBufs[0]!,
  );
  await vm.syscall("write", ends.write, new Uint8Array([9, 8, 7]), 3);
  (await vm.syscall("read", ends.read, map.ret, 3)).check();
  assertEquals([...await vm.readMem(map.ret, 4)], [9, 8, 7, 0]);
  (await vm.syscall("munmap", map.ret, 4096)).check();
  for (const fd of [ends.read, ends.write]) await vm.syscall("close", fd);
  assertEquals((await vm.readMem(16, 8).catch((error) => error)).errno, "EFAULT");
});

test("4: affinity and a net namespace that raw calls set hold in the next call", async (vm) => {
  const mask = new Uint8Array(128);
  const affinity = async () =>
    (await vm.syscall("sched_getaffinity", { args: [0, 128], bufs: [128], ptrs: [2] })).check();
  const before = (await affinity()).outBufs[0]!;
  mask[0] = 1;
  (await vm.syscall("sched_setaffinity", { args: [0, 128], bufs: [mask], ptrs: [2] })).check();
  assertEquals((await affinity()).outBufs[0]![0], 1);
  await vm.syscall("sched_setaffinity", { args: [0, 128], bufs: [before], ptrs: [2] });
  const CLONE_NEWNET = 0x40000000;
  const own = (await vm.syscall("open", cstr("/proc/thread-self/ns/net"), 0)).check().ret;
  (await vm.syscall("unshare", CLONE_NEWNET)).check();
  const link = async () => {
    const result = (await vm.syscall("readlink", {
      args: [0, 0, 64],
      bufs: [cstr("/proc/thread-self/ns/net"), 64],
      ptrs: [0, 1],
    })).check();
    return utf8(result.outBufs[1]!.subarray(0, result.result));
  };
  const inside = await link();
  assertEquals(await link(), inside);
  assert(inside !== await vm.readLink("/proc/1/ns/net"));
  // Files and forks of the machine are not on that thread.
  assertEquals(
    (await vm.run("readlink /proc/self/ns/net")).stdout.trim(),
    await vm.readLink("/proc/1/ns/net"),
  );
  (await vm.syscall("setns", own, CLONE_NEWNET)).check();
  assertEquals(await link(), await vm.readLink("/proc/1/ns/net"));
  await vm.syscall("close", own);
});

test("5: a blocked call is seen, delays nothing, and is released by the test", async (vm) => {
  const LOCK_EX = 2;
  await vm.writeFile("/tmp/lock", "");
  const holder = await vm.openFile("/tmp/lock", { read: true });
  (await vm.syscall("flock", holder, LOCK_EX)).check();
  await using worker = await vm.spawnWorker();
  const file = await worker.openFile("/tmp/lock", { read: true });
  const call = worker.syscallAsync("flock", file, LOCK_EX);
  await vm.waitUntil(async () => await call.state() === "blocked", { interval: 0.02, timeout: 30 });
  assertEquals((await call.where()).syscall, "flock");
  assertEquals((await worker.syscall("getpid")).ret, BigInt(worker.pid));
  assertEquals((await worker.run("echo alive")).stdout, "alive\n");
  assertEquals((await vm.run("echo alive")).stdout, "alive\n");
  await assertRejects(() => call.wait("100ms"), Error, "did not return within 100 ms");
  await holder.close();
  assertEquals((await call.wait("30s")).check().ret, 0n);
  assertEquals(await call.state(), "done");
  assertEquals((await call.wait()).ret, 0n);
});

test("5: a blocked call can be cancelled, and one that blocks on a fifo is released by a writer", async (vm) => {
  await vm.mknod("/tmp/gate", 0o010600);
  const opening = vm.syscallAsync("open", cstr("/tmp/gate"), 0);
  await vm.waitUntil(async () => await opening.state() === "blocked", {
    interval: 0.02,
    timeout: 30,
  });
  await vm.writeFile("/tmp/gate", "");
  const fd = (await opening.wait("30s")).check().ret;
  await vm.syscall("close", fd);
  const FUTEX_WAIT = 0;
  const waiting = vm.syscallAsync("futex", {
    args: [0, FUTEX_WAIT, 0, 0],
    bufs: [new Uint8Array(4)],
    ptrs: [0],
  });
  await vm.waitUntil(async () => await waiting.state() === "blocked", {
    interval: 0.02,
    timeout: 30,
  });
  await waiting.cancel();
  await waiting.cancel();
  const outcome = await waiting.wait("10s").then(({ errnoName }) => errnoName, (error) => error);
  assert(outcome === "EINTR" || outcome instanceof StateError, String(outcome));
});

test("a file of another principal is refused in a call, and works by its own methods", async (vm) => {
  await using worker = await vm.spawnWorker();
  await using file = await worker.openFile("/tmp/mine", { read: true, write: true, create: true });
  await assertRejects(
    () => vm.syscall("fsync", file),
    TypeError,
    `is a file of worker ${worker.id} of machine "kernel", and its descriptor means nothing to machine "kernel"`,
  );
  await file.write("x");
  assertEquals(await vm.readTextFile("/tmp/mine"), "x");
  (await worker.syscall("fsync", file)).check();
  await file.close();
  await assertRejects(() => worker.syscall("fsync", file), TypeError, "is a file that is closed");
});

test("processes() knows states, parents and what a process is blocked in", async (vm) => {
  await using proc = await vm.runAsync("sleep", { args: ["700"] });
  await vm.waitUntil(
    async () => (await vm.processes()).some(({ pid, state }) => pid === proc.pid && state === "S"),
    {
      interval: 0.02,
      timeout: 30,
    },
  );
  const all = await vm.processes();
  const own = all.find(({ pid }) => pid === proc.pid)!;
  assertEquals([own.command, own.state, own.pgid, own.uid], ["sleep 700", "S", proc.pid, 0]);
  assert(/nanosleep/.test(own.blockedIn ?? ""), own.blockedIn);
  assert(all.some(({ pid }) => pid === 1));
  assert(own.descriptors >= 3);
});

test("blobs of any byte survive the way in and out", async (vm) => {
  const all = new Uint8Array(700_000).map((_, i) => (i * 7) ^ (i >> 8));
  const box = struct({ data: blob(700_000) });
  const MAP = (await vm.syscall("memfd_create", cstr("m"), 0)).check().ret;
  const written = await vm.syscall("write", {
    args: [MAP, 0, all.length],
    bufs: [box.encode({ data: all })],
    ptrs: [1],
  });
  assertEquals(written.result, all.length);
  const read = await vm.syscall("pread64", {
    args: [MAP, 0, all.length, 0],
    bufs: [all.length],
    ptrs: [1],
  });
  assertEquals(read.outBufs[0], all);
  await vm.syscall("close", MAP);
});
