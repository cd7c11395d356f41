import { assertEquals, assertThrows } from "@std/assert";
import { array, blob, cstr, struct, text } from "../../src/lab/mod.ts";

const timespec = struct({ tv_sec: "i64", tv_nsec: "i64" });
const sockaddr_in = struct({
  sin_family: "u16",
  sin_port: "u16be",
  sin_addr: "u32be",
  sin_zero: blob(8),
});
const statx_timestamp = struct({ tv_sec: "i64", tv_nsec: "u32", __reserved: "i32" });

/** Layouts by the C names of their fields, to be compared with what the compiler says. */
const LAYOUTS = {
  "struct timespec": timespec,
  "struct sockaddr_in": sockaddr_in,
  "struct msghdr": struct({
    msg_name: "ptr",
    msg_namelen: "u32",
    msg_iov: "ptr",
    msg_iovlen: "usize",
    msg_control: "ptr",
    msg_controllen: "usize",
    msg_flags: "i32",
  }),
  "struct iovec": struct({ iov_base: "ptr", iov_len: "usize" }),
  "struct cmsghdr": struct({ cmsg_len: "usize", cmsg_level: "i32", cmsg_type: "i32" }),
  "struct epoll_event": struct({ events: "u32", data: "u64" }, { packed: true }),
  "struct pollfd": struct({ fd: "i32", events: "i16", revents: "i16" }),
  "struct rlimit": struct({ rlim_cur: "u64", rlim_max: "u64" }),
  "struct utsname": struct({
    sysname: text(65),
    nodename: text(65),
    release: text(65),
    version: text(65),
    machine: text(65),
    domainname: text(65),
  }),
  "struct nlmsghdr": struct({
    nlmsg_len: "u32",
    nlmsg_type: "u16",
    nlmsg_flags: "u16",
    nlmsg_seq: "u32",
    nlmsg_pid: "u32",
  }),
  "struct ifinfomsg": struct({
    ifi_family: "u8",
    __ifi_pad: "u8",
    ifi_type: "u16",
    ifi_index: "i32",
    ifi_flags: "u32",
    ifi_change: "u32",
  }),
  "struct statx": struct({
    stx_mask: "u32",
    stx_blksize: "u32",
    stx_attributes: "u64",
    stx_nlink: "u32",
    stx_uid: "u32",
    stx_gid: "u32",
    stx_mode: "u16",
    __spare0: array("u16", 1),
    stx_ino: "u64",
    stx_size: "u64",
    stx_blocks: "u64",
    stx_attributes_mask: "u64",
    stx_atime: statx_timestamp,
    stx_btime: statx_timestamp,
    stx_ctime: statx_timestamp,
    stx_mtime: statx_timestamp,
  }),
};

const HEADERS = [
  "stddef.h",
  "stdio.h",
  "time.h",
  "poll.h",
  "netinet/in.h",
  "sys/epoll.h",
  "sys/resource.h",
  "sys/socket.h",
  "sys/uio.h",
  "sys/utsname.h",
  "linux/netlink.h",
  "linux/rtnetlink.h",
  "linux/stat.h",
];

/** What the C compiler says: size, and offset of each field. */
async function compiled(): Promise<Record<string, Record<string, number>>> {
  const lines = Object.entries(LAYOUTS).flatMap(([name, { offsets }]) => [
    `printf("%s|sizeof|%zu\\n", "${name}", sizeof(${name}));`,
    ...Object.keys(offsets).map((field) =>
      `printf("%s|${field}|%zu\\n", "${name}", offsetof(${name}, ${field}));`
    ),
  ]);
  const source = [
    "#define _GNU_SOURCE",
    ...HEADERS.map((header) => `#include <${header}>`),
    "int main(void) {",
    ...lines,
    "return 0; }",
  ].join("\n");
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/layout.c`, source);
    const cc = await new Deno.Command("cc", {
      args: ["-o", `${dir}/layout`, `${dir}/layout.c`],
    }).output();
    assertEquals(cc.success, true, new TextDecoder().decode(cc.stderr));
    const { stdout } = await new Deno.Command(`${dir}/layout`).output();
    const result: Record<string, Record<string, number>> = {};
    for (const line of new TextDecoder().decode(stdout).trim().split("\n")) {
      const [name, field, value] = line.split("|") as [string, string, string];
      (result[name] ??= {})[field] = Number(value);
    }
    return result;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("struct() lays fields out as the C compiler does", async (t) => {
  const truth = await compiled();
  for (const [name, layout] of Object.entries(LAYOUTS)) {
    await t.step(name, () => {
      const { sizeof, ...offsets } = truth[name]!;
      assertEquals(layout.offsets as Record<string, number>, offsets);
      // Structures that end in fields which are left out here are longer in C.
      if (name !== "struct statx") assertEquals(layout.size, sizeof);
    });
  }
});

Deno.test("struct() writes and reads every type", () => {
  const all = struct({
    a: "u8",
    b: "i8",
    c: "u16",
    d: "i16",
    e: "u32",
    f: "i32",
    g: "u64",
    h: "i64",
    i: "u16be",
    j: "u32be",
    k: array("u16", 3),
    l: blob(3),
    m: text(4),
    n: timespec,
  });
  const value = {
    a: 255,
    b: -128,
    c: 65535,
    d: -32768,
    e: 4294967295,
    f: -2147483648,
    g: 2n ** 64n - 1n,
    h: -(2n ** 63n),
    i: 0x1234,
    j: 0x12345678,
    k: [1, 2, 3],
    l: new Uint8Array([7, 8, 9]),
    m: "abcd",
    n: { tv_sec: 1n, tv_nsec: 2n },
  };
  assertEquals(all.decode(all.encode(value)), value);
});

Deno.test("struct() writes network byte order, and zeros for what is left out", () => {
  const bytes = sockaddr_in.encode({ sin_family: 2, sin_port: 8080, sin_addr: 0x7f000001 });
  assertEquals([...bytes.subarray(0, 8)], [2, 0, 0x1f, 0x90, 127, 0, 0, 1]);
  assertEquals(timespec.encode(), new Uint8Array(16));
});

Deno.test("struct() takes -1 for all ones, and reads at an offset", () => {
  const two = struct({ x: "u32" });
  assertEquals(two.encode({ x: -1 }), new Uint8Array([255, 255, 255, 255]));
  assertEquals(two.decode(new Uint8Array([0, 0, 0, 0, 5, 0, 0, 0]).subarray(2), 2), { x: 5 });
});

Deno.test("struct() refuses wrong declarations and values by name", async (t) => {
  const point = struct({ x: "i16", y: array("u8", 2) }, { name: "point" });
  const rows: [string, () => unknown, ErrorConstructor, string][] = [
    ["unknown type", () => struct({ a: "u23" as "u32" }), TypeError, 'did you mean "u32"'],
    ["unknown field", () => point.encode({ z: 1 } as object), TypeError, 'point has no field "z"'],
    ["too big", () => point.encode({ x: 65536 }), RangeError, "point.x must fit into i16"],
    ["fraction", () => point.encode({ x: 0.5 }), TypeError, "point.x must be a whole number"],
    ["text", () => point.encode({ x: "1" as unknown as number }), TypeError, "got string"],
    ["element", () => point.encode({ y: [300] }), RangeError, "point.y[0] must fit into u8"],
    ["elements", () => point.encode({ y: [1, 2, 3] }), RangeError, "at most 2 elements, got 3"],
    ["short bytes", () => point.decode(new Uint8Array(3)), RangeError, "point (4 bytes) at 0 of 3"],
    ["long text", () => struct({ t: text(2) }).encode({ t: "abc" }), RangeError, "at most 2 bytes"],
    ["NUL", () => cstr("a\0b"), TypeError, "without NUL"],
  ];
  for (const [name, call, type, message] of rows) {
    await t.step(name, () => void assertThrows(call, type, message));
  }
});

Deno.test("cstr() ends in NUL", () => {
  assertEquals([...cstr("hé")], [0x68, 0xc3, 0xa9, 0]);
});
