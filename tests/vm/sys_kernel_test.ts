/** `sys` and `struct` against the running kernel: what it says itself, in its own words. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { array, blob, cstr, struct, sys, text, type Vm } from "../../src/lab/mod.ts";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("numbers");

const AT_FDCWD = -100;
const AF_UNIX = 1;
const AF_INET = 2;
const SOL_SOCKET = 1;
const utf8 = (data: Uint8Array) => new TextDecoder().decode(data);
const bytes = (value: string) => new TextEncoder().encode(value);

const iovec = struct({ base: "ptr", len: "usize" }, { name: "iovec" });
const msghdr = struct({
  name: "ptr",
  namelen: "u32",
  iov: "ptr",
  iovlen: "usize",
  control: "ptr",
  controllen: "usize",
  flags: "i32",
}, { name: "msghdr" });
const cmsghdr = struct({ len: "usize", level: "i32", type: "i32" }, { name: "cmsghdr" });
const pair = struct({ first: "i32", second: "i32" });
const timespec = struct({ sec: "i64", nsec: "i64" });

/** Calls that would end, stop or multiply their thread, whatever their arguments are. */
const UNSAFE = new Set([
  "clone",
  "clone3",
  "execve",
  "execveat",
  "exit",
  "exit_group",
  "fork",
  "pause",
  "reboot",
  "rt_sigreturn",
  "rt_sigsuspend",
  "vfork",
  "vhangup",
]);
/** The kernel's names of functions whose calls have another name. */
const KERNEL_NAMES: Record<string, string> = {
  newfstat: "fstat",
  newlstat: "lstat",
  newstat: "stat",
  newuname: "uname",
  sendfile64: "sendfile",
  umount: "umount2",
};

test("sys.calls has the number of every system call, as the kernel traces them", async (vm) => {
  await using worker = await vm.spawnWorker();
  await vm.run("mount -t tracefs none /sys/kernel/tracing", { check: true });
  const thread = (await worker.syscall("gettid")).check().result;
  const set = (name: string, value: string) => vm.writeFile(`/sys/kernel/tracing/${name}`, value);
  await set("set_event_pid", String(thread));
  // In this order the number of a call comes before its name.
  await set("events/raw_syscalls/sys_enter/enable", "1");
  await set("events/syscalls/enable", "1");
  const names = Object.keys(sys.calls.x86_64).filter((name) => !UNSAFE.has(name));
  // With -1 everywhere, a call finds no file, no memory and no flag that it knows.
  for (const name of names) await worker.syscall(name, -1, -1, -1, -1, -1, -1);
  await set("events/enable", "0");
  const traced = new Map<number, string>();
  let number: number | undefined;
  for (const line of (await vm.readTextFile("/sys/kernel/tracing/trace")).split("\n")) {
    const raw = /: sys_enter: NR (\d+) /.exec(line);
    const named = /: sys_(\w+)\(/.exec(line);
    if (raw) number = Number(raw[1]);
    else if (named && number !== undefined) {
      traced.set(number, KERNEL_NAMES[named[1]!] ?? named[1]!);
    }
  }
  const wrong = [...traced].filter(([nr, name]) => sys.callName(nr) !== name);
  assertEquals(wrong, []);
  // What is not traced is not built into this kernel, such as `uselib`.
  assertGreater(traced.size, 300);
});

test("sys.errno has the kernel's numbers", async (vm) => {
  await vm.mkdir("/tmp/errno/full/inner", { recursive: true });
  await vm.writeFile("/tmp/errno/file", "x");
  await vm.symlink("loop", "/tmp/errno/loop");
  const at = (name: string) => cstr(`/tmp/errno/${name}`);
  const pipe = pair.decode(
    (await vm.syscall("pipe2", { args: [0, 0o4000], bufs: [8], ptrs: [0] })).check().outBufs[0]!,
  );
  const rows: [errno: string, call: string, ...args: (number | Uint8Array)[]][] = [
    ["ENOENT", "open", at("none"), 0],
    ["ESRCH", "kill", 999_999, 0],
    ["EBADF", "close", 9_999],
    ["ECHILD", "wait4", 999_999, 0, 0, 0],
    ["EAGAIN", "read", pipe.first, new Uint8Array(1), 1],
    ["EFAULT", "open", 16, 0],
    ["ENOTBLK", "mount", at("file"), at("full"), cstr("ext4"), 0, 0],
    ["EEXIST", "mkdir", at("full"), 0o755],
    ["EXDEV", "rename", at("file"), cstr("/proc/nothing")],
    ["ENODEV", "mount", at("file"), at("full"), cstr("nosuchfs"), 0, 0],
    ["ENOTDIR", "open", at("file/below"), 0],
    ["EISDIR", "open", at("full"), 1],
    ["EINVAL", "lseek", pipe.first, 0, 99],
    ["ENOTTY", "ioctl", pipe.first, sys.ioctls.TIOCGWINSZ, new Uint8Array(8)],
    ["ESPIPE", "lseek", pipe.first, 0, 0],
    ["ENAMETOOLONG", "open", at("x".repeat(256)), 0],
    ["ENOSYS", "uselib", cstr("/x")],
    ["ENOTEMPTY", "rmdir", at("full")],
    ["ELOOP", "open", at("loop"), 0],
    ["ENOTSOCK", "listen", pipe.first, 1],
    ["EPROTONOSUPPORT", "socket", AF_INET, 1, 200],
    ["EAFNOSUPPORT", "socket", 200, 1, 0],
  ];
  for (const [errno, call, ...args] of rows) {
    const result = await vm.syscall(call, ...args);
    assertEquals(result.errno, sys.errno[errno], `${call}: ${result.errnoName}, not ${errno}`);
  }
  for (const fd of [pipe.first, pipe.second]) (await vm.syscall("close", fd)).check();
});

test("ioctl numbers, by table and by encoder, do what they are named for", async (vm) => {
  assertEquals(sys.ior("T", 0x30, 4), sys.ioctls.TIOCGPTN);
  assertEquals(sys.iow("T", 0x31, 4), sys.ioctls.TIOCSPTLCK);
  const winsize = struct({ rows: "u16", cols: "u16", x: "u16", y: "u16" });
  await using terminal = await vm.openFile("/dev/ptmx", { read: true, write: true });
  const size = { rows: 33, cols: 101, x: 7, y: 9 };
  (await vm.ioctl(terminal, "TIOCSWINSZ", winsize.encode(size))).check();
  const got = (await vm.ioctl(terminal, "TIOCGWINSZ", new Uint8Array(winsize.size))).check();
  assertEquals(winsize.decode(got.outBufs[0]!), size);
  (await vm.ioctl(terminal, sys.iow("T", 0x31, 4), new Uint8Array(4))).check();
  const number = (await vm.ioctl(terminal, sys.ior("T", 0x30, 4), new Uint8Array(4))).check();
  assert(await vm.exists(`/dev/pts/${number.outBufs[0]![0]}`));

  const ifreq = struct({ name: text(16), value: "i32", rest: blob(20) }, { name: "ifreq" });
  const socket = (await vm.syscall("socket", AF_INET, 2, 0)).check().result;
  const ask = async (command: number) => {
    const { outBufs } = (await vm.ioctl(socket, command, ifreq.encode({ name: "lo" }))).check();
    return ifreq.decode(outBufs[0]!).value;
  };
  const read = async (name: string) => (await vm.readTextFile(`/sys/class/net/lo/${name}`)).trim();
  const SIOCGIFMTU = 0x8921;
  const SIOCGIFINDEX = 0x8933;
  assertEquals(await ask(SIOCGIFMTU), Number(await read("mtu")));
  assertEquals(await ask(SIOCGIFINDEX), Number(await read("ifindex")));
  (await vm.syscall("close", socket)).check();
});

test("getdents64 lists every kind of file with its inode", async (vm) => {
  await vm.mkdir("/tmp/kinds/directory", { recursive: true });
  await vm.writeFile("/tmp/kinds/file", "");
  await vm.symlink("file", "/tmp/kinds/symlink");
  (await vm.syscall("mknod", cstr("/tmp/kinds/fifo"), 0o010644, 0)).check();
  (await vm.syscall("mknod", cstr("/tmp/kinds/char"), 0o020644, 0x103)).check();
  (await vm.syscall("mknod", cstr("/tmp/kinds/block"), 0o060644, 0x700)).check();
  for (let i = 0; i < 60; i++) await vm.writeFile(`/tmp/kinds/${"n".repeat(i * 4 + 1)}`, "");
  const dirent = struct({ ino: "u64", off: "i64", reclen: "u16", type: "u8" }, { name: "dirent" });
  const TYPES: Record<number, string> = {
    1: "fifo",
    2: "char",
    4: "directory",
    6: "block",
    8: "file",
    10: "symlink",
  };
  const O_DIRECTORY = 0o200000;
  const fd = (await vm.syscall("open", cstr("/tmp/kinds"), O_DIRECTORY)).check().ret;
  const seen: Record<string, { type: string | undefined; ino: number }> = {};
  let calls = 0;
  for (let more = true; more;) {
    // Small on purpose: the listing takes several calls.
    const { result, outBufs } = (await vm.syscall("getdents64", {
      args: [fd, 0, 1024],
      bufs: [1024],
      ptrs: [1],
    })).check();
    const data = outBufs[0]!.subarray(0, result);
    for (let at = 0; at < data.length;) {
      const { ino, reclen, type } = dirent.decode(data, at);
      const name = data.subarray(at + 19, at + reclen);
      seen[utf8(name.subarray(0, name.indexOf(0)))] = { type: TYPES[type], ino: Number(ino) };
      at += reclen;
    }
    calls++;
    more = result > 0;
  }
  await vm.syscall("close", fd);
  assertGreater(calls, 3);
  for (const name of ["fifo", "char", "directory", "block", "file", "symlink"]) {
    assertEquals([name, seen[name]?.type], [name, name]);
    assertEquals([name, seen[name]?.ino], [name, (await vm.lstat(`/tmp/kinds/${name}`)).ino]);
  }
  assertEquals(seen["."]?.ino, (await vm.stat("/tmp/kinds")).ino);
  assertEquals(Object.keys(seen).length, 6 + 60 + 2);
});

const stamp = struct({ sec: "i64", nsec: "u32", reserved: "i32" });
const statx = struct({
  mask: "u32",
  blksize: "u32",
  attributes: "u64",
  nlink: "u32",
  uid: "u32",
  gid: "u32",
  mode: "u16",
  spare: array("u16", 1),
  ino: "u64",
  size: "u64",
  blocks: "u64",
  attributesMask: "u64",
  atime: stamp,
  btime: stamp,
  ctime: stamp,
  mtime: stamp,
  rdevMajor: "u32",
  rdevMinor: "u32",
  devMajor: "u32",
  devMinor: "u32",
  mntId: "u64",
}, { name: "statx" });

test("statx decodes to what stat(1) prints", async (vm) => {
  await vm.writeFile("/tmp/stated", "x".repeat(5000), { mode: 0o640 });
  await vm.chown("/tmp/stated", 1000, 1001);
  await vm.link("/tmp/stated", "/tmp/stated2");
  const STATX_ALL_AND_MNT_ID = 0x1fff;
  for (const path of ["/tmp/stated", "/dev/null", "/proc/self", "/"]) {
    const { outBufs } = (await vm.syscall("statx", {
      args: [AT_FDCWD, 0, 0, STATX_ALL_AND_MNT_ID],
      bufs: [cstr(path), 256],
      ptrs: [1, 4],
    })).check();
    const s = statx.decode(outBufs[1]!);
    const printed = (await vm.run(`stat -L -c '%h %u %g %a %s %b %t %T %o' ${path}`, {
      check: true,
    })).stdout.trim();
    const own = [
      ...[s.nlink, s.uid, s.gid, (s.mode & 0o7777).toString(8), s.size, s.blocks],
      ...[s.rdevMajor.toString(16), s.rdevMinor.toString(16), s.blksize],
    ];
    // The links and the owner of /proc/self are those of whoever looks.
    const fields = path === "/proc/self" ? [3, 4] : own.map((_, i) => i);
    const words = printed.split(" ");
    assertEquals(fields.map((i) => String(own[i])), fields.map((i) => words[i]), path);
  }
});

test("readv, writev, preadv and process_vm_readv go through arrays of pointers", async (vm) => {
  await using file = await vm.openFile("/tmp/vectors", { read: true, write: true, create: true });
  const parts = ["first,", "", "third is longer,", "4"].map(bytes);
  const vector = (sizes: number[]) =>
    new Uint8Array(sizes.flatMap((len) => [...iovec.encode({ len })]));
  const nested = (parent: number, first: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ parent, child: first + i, offset: i * iovec.size }));
  const written = (await vm.syscall("writev", {
    args: [file, 0, parts.length],
    bufs: [vector(parts.map((part) => part.length)), ...parts],
    ptrs: [1],
    nested: nested(0, 1, parts.length),
  })).check();
  const whole = "first,third is longer,4";
  assertEquals(written.result, whole.length);
  assertEquals(await vm.readTextFile("/tmp/vectors"), whole);

  await file.seek(0);
  for (const call of ["readv", "preadv"]) {
    const { result, outBufs } = (await vm.syscall(call, {
      args: call === "readv" ? [file, 0, 3] : [file, 0, 3, 0, 0],
      bufs: [vector([5, 1, 64]), 5, 1, 64],
      ptrs: [1],
      nested: nested(0, 1, 3),
    })).check();
    assertEquals(result, whole.length);
    const got = outBufs.slice(1).map((part) => utf8(part));
    assertEquals(got.map((part) => part.replaceAll("\0", "")), ["first", ",", whole.slice(6)]);
    // The addresses that were written in are those of the buffers: the guest's kernel took them.
    assert(iovec.decode(outBufs[0]!).base > 0n);
  }

  // Two arrays of pointers in one call, one of which names memory that lives between calls.
  const PROT_RW = 3;
  const MAP_PRIVATE_ANONYMOUS = 0x22;
  const map = (await vm.syscall("mmap", 0, 4096, PROT_RW, MAP_PRIVATE_ANONYMOUS, -1, 0)).check();
  await file.seek(0);
  (await vm.syscall("read", file, map.ret, whole.length)).check();
  const pid = (await vm.syscall("getpid")).check().ret;
  const copied = (await vm.syscall("process_vm_readv", {
    args: [pid, 0, 2, 0, 1, 0],
    bufs: [
      vector([6, whole.length - 6]),
      iovec.encode({ base: map.ret, len: whole.length }),
      6,
      whole.length - 6,
    ],
    ptrs: [1, 3],
    nested: nested(0, 2, 2),
  })).check();
  assertEquals(copied.result, whole.length);
  assertEquals(copied.outBufs.slice(2).map(utf8), ["first,", whole.slice(6)]);
  (await vm.syscall("munmap", map.ret, 4096)).check();
});

test("1: msghdr, iovec and data: a descriptor and credentials pass a socket pair", async (vm) => {
  const SOCK_STREAM = 1;
  const SO_PASSCRED = 16;
  const made = (await vm.syscall("socketpair", {
    args: [AF_UNIX, SOCK_STREAM, 0],
    bufs: [pair.size],
    ptrs: [3],
  })).check();
  const { first, second } = pair.decode(made.outBufs[0]!);
  const on = new Uint8Array([1, 0, 0, 0]);
  (await vm.syscall("setsockopt", {
    args: [second, SOL_SOCKET, SO_PASSCRED, 0, 4],
    bufs: [on],
    ptrs: [3],
  })).check();
  await vm.writeFile("/tmp/rights", "read through a passed descriptor");
  await using file = await vm.openFile("/tmp/rights", { read: true });
  const rights = struct({ header: cmsghdr, fd: "i32", pad: "u32" });
  const SCM_RIGHTS = 1;
  const control = rights.encode({
    header: { len: 20n, level: SOL_SOCKET, type: SCM_RIGHTS },
    fd: file.fd,
  });
  const parts = ["two ", "levels"].map(bytes);
  const sent = (await vm.syscall("sendmsg", {
    args: [first, 0, 0],
    bufs: [
      msghdr.encode({ iovlen: 2, controllen: control.length }),
      new Uint8Array([...iovec.encode({ len: 4 }), ...iovec.encode({ len: 6 })]),
      ...parts,
      control,
    ],
    ptrs: [1],
    nested: [
      { parent: 0, child: 1, offset: msghdr.offsets.iov },
      { parent: 0, child: 4, offset: msghdr.offsets.control },
      { parent: 1, child: 2, offset: iovec.offsets.base },
      { parent: 1, child: 3, offset: iovec.size + iovec.offsets.base },
    ],
  })).check();
  assertEquals(sent.result, 10);
  const received = (await vm.syscall("recvmsg", {
    args: [second, 0, 0],
    bufs: [
      msghdr.encode({ iovlen: 1, controllen: 128 }),
      iovec.encode({ len: 64 }),
      64,
      128,
    ],
    ptrs: [1],
    nested: [
      { parent: 0, child: 1, offset: msghdr.offsets.iov },
      { parent: 0, child: 3, offset: msghdr.offsets.control },
      { parent: 1, child: 2, offset: iovec.offsets.base },
    ],
  })).check();
  assertEquals(utf8(received.outBufs[2]!.subarray(0, received.result)), "two levels");
  const { controllen, flags } = msghdr.decode(received.outBufs[0]!);
  assertEquals(flags, 0);
  const messages: Record<number, Uint8Array> = {};
  const data = received.outBufs[3]!.subarray(0, Number(controllen));
  for (let at = 0; at < data.length;) {
    const { len, type } = cmsghdr.decode(data, at);
    messages[type] = data.slice(at + cmsghdr.size, at + Number(len));
    at += (Number(len) + 7) & ~7;
  }
  const SCM_CREDENTIALS = 2;
  const ucred = struct({ pid: "i32", uid: "u32", gid: "u32" });
  const pid = (await vm.syscall("getpid")).check().result;
  assertEquals(ucred.decode(messages[SCM_CREDENTIALS]!), { pid, uid: 0, gid: 0 });
  const passed = new DataView(messages[SCM_RIGHTS]!.buffer).getInt32(0, true);
  assert(passed !== file.fd, "the receiver has a descriptor of its own");
  const read = await vm.syscall("read", { args: [passed, 0, 64], bufs: [64], ptrs: [1] });
  assertEquals(utf8(read.outBufs[0]!.subarray(0, read.result)), "read through a passed descriptor");

  // The length of getsockopt goes in as the room there is, and comes out as what was written.
  const SO_PEERCRED = 17;
  for (const [room, filled] of [[64, 12], [12, 12], [8, 8]] as const) {
    const length = new Uint8Array(new Uint32Array([room]).buffer);
    const option = (await vm.syscall("getsockopt", {
      args: [first, SOL_SOCKET, SO_PEERCRED],
      bufs: [64, length],
      ptrs: [3, 4],
    })).check();
    assertEquals([...option.outBufs[1]!], [filled, 0, 0, 0]);
    assertEquals(ucred.decode(option.outBufs[0]!).pid, pid);
  }
  for (const fd of [first, second, passed]) (await vm.syscall("close", fd)).check();
});

test("epoll tells timers, counters and pipes apart by their data", async (vm) => {
  const event = struct({ events: "u32", data: "u64" }, { packed: true, name: "epoll_event" });
  const EPOLLIN = 1;
  const EPOLLHUP = 0x10;
  const EPOLL_CTL_ADD = 1;
  const epoll = (await vm.syscall("epoll_create1", 0)).check().ret;
  const counter = (await vm.syscall("eventfd2", 0, 0)).check().ret;
  const timer = (await vm.syscall("timerfd_create", 1, 0)).check().ret;
  const ends = pair.decode(
    (await vm.syscall("pipe2", { args: [0, 0], bufs: [8], ptrs: [0] })).check().outBufs[0]!,
  );
  const marks = [[counter, 2n ** 63n + 1n], [timer, 22n], [BigInt(ends.first), 33n]] as const;
  for (const [fd, data] of marks) {
    (await vm.syscall("epoll_ctl", {
      args: [epoll, EPOLL_CTL_ADD, fd, 0],
      bufs: [event.encode({ events: EPOLLIN, data })],
      ptrs: [3],
    })).check();
  }
  const ready = async (timeout: number) => {
    const { result, outBufs } = (await vm.syscall("epoll_wait", {
      args: [epoll, 0, 8, timeout],
      bufs: [event.size * 8],
      ptrs: [1],
    })).check();
    return Array.from({ length: result }, (_, i) => event.decode(outBufs[0]!, i * event.size));
  };
  assertEquals(await ready(0), []);
  const itimerspec = struct({ interval: timespec, value: timespec });
  (await vm.syscall("timerfd_settime", {
    args: [timer, 0, 0, 0],
    bufs: [itimerspec.encode({ value: { nsec: 20_000_000n } })],
    ptrs: [2],
  })).check();
  assertEquals(await ready(10_000), [{ events: EPOLLIN, data: 22n }]);
  (await vm.syscall("read", { args: [timer, 0, 8], bufs: [8], ptrs: [1] })).check();
  const count = new Uint8Array(new BigUint64Array([5n]).buffer);
  (await vm.syscall("write", counter, count, 8)).check();
  (await vm.syscall("close", ends.second)).check();
  const both = (await ready(1000)).sort((a, b) => Number(a.data - b.data));
  assertEquals(both, [
    { events: EPOLLHUP, data: 33n },
    { events: EPOLLIN, data: 2n ** 63n + 1n },
  ]);
  for (const fd of [epoll, counter, timer, ends.first]) (await vm.syscall("close", fd)).check();
});

/** All messages of a netlink dump. */
async function dump(vm: Vm, type: number, body: Uint8Array): Promise<Uint8Array[]> {
  const header = struct({ len: "u32", type: "u16", flags: "u16", seq: "u32", pid: "u32" });
  const AF_NETLINK = 16;
  const NLM_F_REQUEST_DUMP = 0x301;
  const NLMSG_DONE = 3;
  const fd = (await vm.syscall("socket", AF_NETLINK, 3, 0)).check().ret;
  const len = header.size + body.length;
  const request = new Uint8Array([
    ...header.encode({ len, type, flags: NLM_F_REQUEST_DUMP, seq: 7 }),
    ...body,
  ]);
  (await vm.syscall("sendto", { args: [fd, 0, len, 0, 0, 0], bufs: [request], ptrs: [1] })).check();
  const found: Uint8Array[] = [];
  for (let done = false; !done;) {
    const { result, outBufs } = (await vm.syscall("recvfrom", {
      args: [fd, 0, 32768, 0, 0, 0],
      bufs: [32768],
      ptrs: [1],
    })).check();
    const data = outBufs[0]!.subarray(0, result);
    for (let at = 0; at < data.length;) {
      const message = header.decode(data, at);
      assertEquals(message.seq, 7);
      done ||= message.type === NLMSG_DONE;
      if (!done) found.push(data.slice(at + header.size, at + message.len));
      at += (message.len + 3) & ~3;
    }
  }
  (await vm.syscall("close", fd)).check();
  return found;
}

/** The attributes behind a message's own structure. */
function attributes(message: Uint8Array, from: number): Map<number, Uint8Array> {
  const rtattr = struct({ len: "u16", type: "u16" });
  const found = new Map<number, Uint8Array>();
  for (let at = from; at < message.length;) {
    const { len, type } = rtattr.decode(message, at);
    found.set(type, message.slice(at + rtattr.size, at + len));
    at += (len + 3) & ~3;
  }
  return found;
}

test("netlink RTM_GETLINK and RTM_GETADDR describe the loopback device as sysfs does", async (vm) => {
  const ifinfo = struct({
    family: "u8",
    pad: "u8",
    type: "u16",
    index: "i32",
    flags: "u32",
    change: "u32",
  });
  const RTM_GETLINK = 18;
  const links = (await dump(vm, RTM_GETLINK, ifinfo.encode())).map((message) => ({
    ...ifinfo.decode(message),
    attributes: attributes(message, ifinfo.size),
  }));
  const IFLA = { ADDRESS: 1, IFNAME: 3, MTU: 4 };
  const name = (attrs: Map<number, Uint8Array>) => utf8(attrs.get(IFLA.IFNAME)!).replace("\0", "");
  const names = (await vm.readDir("/sys/class/net")).map((entry) => entry.name).sort();
  assertEquals(links.map((link) => name(link.attributes)).sort(), names);
  const lo = links.find((link) => name(link.attributes) === "lo")!;
  const file = async (what: string) => (await vm.readTextFile(`/sys/class/net/lo/${what}`)).trim();
  assertEquals(String(lo.index), await file("ifindex"));
  assertEquals(String(lo.type), await file("type"));
  const IFF_LOOPBACK = 8;
  assertEquals(lo.flags & IFF_LOOPBACK, IFF_LOOPBACK);
  const mtu = new DataView(lo.attributes.get(IFLA.MTU)!.buffer).getUint32(0, true);
  assertEquals(String(mtu), await file("mtu"));
  const mac = [...lo.attributes.get(IFLA.ADDRESS)!].map((byte) =>
    byte.toString(16).padStart(2, "0")
  );
  assertEquals(mac.join(":"), await file("address"));

  const ifaddr = struct({ family: "u8", prefix: "u8", flags: "u8", scope: "u8", index: "u32" });
  const RTM_GETADDR = 22;
  const IFA_ADDRESS = 1;
  const addresses = (await dump(vm, RTM_GETADDR, ifaddr.encode({ family: AF_INET })))
    .map((message) => ({
      ...ifaddr.decode(message),
      address: [...attributes(message, ifaddr.size).get(IFA_ADDRESS)!].join("."),
    })).filter(({ index }) => index === lo.index);
  assertEquals(addresses.map(({ address, prefix }) => `${address}/${prefix}`), ["127.0.0.1/8"]);
});

test("uname, sysinfo and getrlimit fill structures that agree with /proc", async (vm) => {
  const utsname = struct({
    sysname: text(65),
    nodename: text(65),
    release: text(65),
    version: text(65),
    machine: text(65),
    domainname: text(65),
  });
  const uname = (await vm.syscall("uname", { args: [0], bufs: [utsname.size], ptrs: [0] })).check();
  const seen = utsname.decode(uname.outBufs[0]!);
  const proc = async (name: string) => (await vm.readTextFile(`/proc/sys/kernel/${name}`)).trim();
  assertEquals(seen.release, await proc("osrelease"));
  assertEquals(seen.version, await proc("version"));
  assertEquals(seen.nodename, await proc("hostname"));
  const sysinfo = struct({
    uptime: "i64",
    loads: array("u64", 3),
    totalram: "u64",
    freeram: "u64",
    sharedram: "u64",
    bufferram: "u64",
    totalswap: "u64",
    freeswap: "u64",
    procs: "u16",
    pad: "u16",
    totalhigh: "u64",
    freehigh: "u64",
    unit: "u32",
  });
  const info = sysinfo.decode(
    (await vm.syscall("sysinfo", { args: [0], bufs: [128], ptrs: [0] })).check().outBufs[0]!,
  );
  const total = /MemTotal: +(\d+) kB/.exec(await vm.readTextFile("/proc/meminfo"))![1];
  assertEquals(String(info.totalram * BigInt(info.unit) / 1024n), total);
  const rlimit = struct({ cur: "u64", max: "u64" });
  const RLIMIT_NOFILE = 7;
  const limits = rlimit.decode(
    (await vm.syscall("getrlimit", { args: [RLIMIT_NOFILE, 0], bufs: [16], ptrs: [1] })).check()
      .outBufs[0]!,
  );
  const line = (await vm.run("grep 'open files' /proc/$PPID/limits")).stdout.split(/\s{2,}/);
  assertEquals([String(limits.cur), String(limits.max)], [line[1], line[2]]);
});
