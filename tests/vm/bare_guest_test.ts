/** Acceptance 1: a guest that has nothing but a kernel and the agent. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { GuestError } from "../../src/errors.ts";
import { cpioBytes } from "../../src/image/_cpio.ts";
import { resolveImage } from "../../src/image/mod.ts";
import { JobSpawnError } from "../../src/jobs/mod.ts";
import {
  cstr,
  lab,
  setLabProviders,
  struct,
  type SyscallArg,
  type SyscallTable,
} from "../../src/lab/mod.ts";
import { closeRunAfterwards, labTest } from "./_lab.ts";

closeRunAfterwards();

const AT_FDCWD = -100;
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;

labTest("1: all of it works by system calls on a guest without a shell", async ({ scope }) => {
  const dir = await Deno.makeTempDir({ prefix: "bj-bare-" });
  scope.defer(() => Deno.remove(dir, { recursive: true }));
  await Deno.writeFile(`${dir}/empty.cpio`, cpioBytes([]));
  const restore = setLabProviders({
    image: (_name, signal) => resolveImage({ initrd: "empty.cpio" }, { signal, root: dir }),
  });
  scope.defer(() => void restore());
  const vm = await lab.vm("bare", "bare").boot({ cold: true });

  await assertRejects(() => vm.run("true"), JobSpawnError);
  const bin = await assertRejects(() => vm.stat("/bin/sh"), GuestError);
  assertEquals(bin.errno, "ENOENT");

  const call = async (name: string, ...args: SyscallArg[] | [SyscallTable]) =>
    (await vm.syscall(name, ...args as SyscallArg[])).check();
  await call("mkdir", cstr("/data"), 0o755);
  await call("mount", {
    args: [0, 0, 0, 0, 0],
    bufs: [cstr("none"), cstr("/data"), cstr("tmpfs"), cstr("size=64k,mode=0711")],
    ptrs: [0, 1, 2, 4],
  });
  const O_RDWR_CREAT = 0o102;
  const { ret: file } = await call("openat", AT_FDCWD, cstr("/data/f"), O_RDWR_CREAT, 0o640);
  const data = new Uint8Array([0, 255, 10, 13]);
  assertEquals((await call("write", file, data, 4)).result, 4);
  const stat = struct({ dev: "u64", ino: "u64", nlink: "u64", mode: "u32" }, { name: "stat" });
  const known = stat.decode(
    (await call("stat", { args: [0, 0], bufs: [cstr("/data/f"), 144], ptrs: [0, 1] })).outBufs[1]!,
  );
  assertEquals([known.mode, known.nlink], [0o100640, 1n]);
  assertEquals(await vm.readFile("/data/f"), data);
  assertEquals((await vm.statfs("/data")).totalBytes, 65536);

  const pair = struct({ a: "i32", b: "i32" });
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
  const cmsg = struct({ len: "usize", level: "i32", type: "i32", fd: "i32", pad: "u32" });
  const made = await call("socketpair", {
    args: [AF_UNIX, SOCK_DGRAM, 0],
    bufs: [pair.size],
    ptrs: [3],
  });
  const { a, b } = pair.decode(made.outBufs[0]!);
  const control = cmsg.encode({ len: 20n, level: SOL_SOCKET, type: 1, fd: Number(file) });
  const nested = (withControl: number) => [
    { parent: 0, child: 1, offset: msghdr.offsets.iov },
    { parent: 0, child: withControl, offset: msghdr.offsets.control },
    { parent: 1, child: 2, offset: iovec.offsets.base },
  ];
  await call("sendmsg", {
    args: [a, 0, 0],
    bufs: [
      msghdr.encode({ iovlen: 1, controllen: control.length }),
      iovec.encode({ len: 4 }),
      data,
      control,
    ],
    ptrs: [1],
    nested: nested(3),
  });
  const received = await call("recvmsg", {
    args: [b, 0, 0],
    bufs: [
      msghdr.encode({ iovlen: 1, controllen: cmsg.size }),
      iovec.encode({ len: 16 }),
      16,
      cmsg.size,
    ],
    ptrs: [1],
    nested: nested(3),
  });
  assertEquals(received.outBufs[2]!.subarray(0, received.result), data);
  const { fd } = cmsg.decode(received.outBufs[3]!);
  assert(BigInt(fd) !== file);
  await call("lseek", fd, 0, 0);
  const read = await call("read", { args: [fd, 0, 16], bufs: [16], ptrs: [1] });
  assertEquals(read.outBufs[0]!.subarray(0, read.result), data);

  const SO_TYPE = 3;
  const option = await call("getsockopt", {
    args: [a, SOL_SOCKET, SO_TYPE],
    bufs: [16, new Uint8Array([16, 0, 0, 0])],
    ptrs: [3, 4],
  });
  assertEquals([...option.outBufs[1]!], [4, 0, 0, 0]);
  assertEquals(option.outBufs[0]![0], SOCK_DGRAM);
  for (const one of [a, b, fd, file]) await call("close", one);
  await call("umount2", cstr("/data"), 0);
  const gone = await assertRejects(() => vm.readFile("/data/f"), GuestError);
  assertEquals([gone.errno, gone.path], ["ENOENT", "/data/f"]);
});
