import { assertEquals, assertThrows } from "@std/assert";
import { readCall } from "../../src/lab/syscall_form.ts";

const CALLER = { vm: "v", principal: 0, label: 'machine "v"', arch: "x86_64" };
const read = (call: string | number, ...rest: unknown[]) => readCall(CALLER, call, rest);

Deno.test("readCall() reads numbers, bigints and buffers by position", () => {
  const data = new Uint8Array([1, 2, 3]);
  const form = read("write", 1, data, 3n);
  assertEquals(form.nr, 1);
  assertEquals(form.args, [1n, 0n, 3n]);
  assertEquals(form.bufs, [data]);
  assertEquals(form.ptrs, [1]);
});

Deno.test("readCall() reads a table with nested buffers", () => {
  const form = read("sendmsg", {
    args: [3, 0, 0x40],
    bufs: [new Uint8Array(56), new Uint8Array(16), new Uint8Array([65])],
    ptrs: [1],
    nested: [{ parent: 0, child: 1, offset: 16 }, { parent: 1, child: 2, offset: 0 }],
  });
  assertEquals(form.args, [3n, 0n, 0x40n]);
  assertEquals(form.ptrs, [1, -1, -1]);
  assertEquals(form.nested, [[0, 1, 16], [1, 2, 0]]);
});

Deno.test("readCall() fills up arguments to the slots of pointers", () => {
  assertEquals(read("uname", { bufs: [390], ptrs: [0] }).args, [0n]);
  assertEquals(read("wait4", { args: [-1], bufs: [4, 144], ptrs: [1, 3] }).args, [-1n, 0n, 0n, 0n]);
});

Deno.test("readCall() knows the numbers of the guest's architecture", () => {
  assertEquals(readCall({ ...CALLER, arch: "aarch64" }, "openat", [0]).nr, 56);
  assertEquals(read("openat", 0).nr, 257);
  assertEquals(read(257, 0).name, "openat");
});

Deno.test("readCall() refuses wrong calls before anything is sent", async (t) => {
  const buf = new Uint8Array(16);
  const rows: [string, unknown[], ErrorConstructor, string][] = [
    ["unknown name", ["opennat"], RangeError, 'did you mean "openat"'],
    ["name of the other architecture", ["arch_specific"], RangeError, "x86_64 has no system call"],
    ["name of a wrong type", [{}], TypeError, "takes a name or number first, got object"],
    ["negative number", [-1], RangeError, "a whole number from 0"],
    ["seven arguments", ["read", 1, 2, 3, 4, 5, 6, 7], RangeError, "at most 6 arguments, got 7"],
    ["text", ["open", "/etc"], TypeError, "got string: encode text by cstr()"],
    ["null", ["open", null], TypeError, "got null"],
    ["array", ["open", [1]], TypeError, "got array"],
    ["fraction", ["read", 0.5], RangeError, "a whole number below 2^53"],
    ["too big", ["read", 2n ** 64n], RangeError, "does not fit into 64 bits"],
    ["too small", ["read", -(2n ** 63n) - 1n], RangeError, "does not fit into 64 bits"],
    ["after the table", ["read", {}, 1], TypeError, "takes nothing after the table"],
    ["misspelt key", ["read", { buf: [1] }], TypeError, 'did you mean "bufs"'],
    ["args no array", ["read", { args: 5 }], TypeError, "must be an array"],
    ["buffer in args", ["read", { args: [buf] }], TypeError, "name buffers in bufs"],
    ["buffer of a wrong type", ["read", { bufs: ["x"], ptrs: [0] }], TypeError, "bytes or a size"],
    ["negative size", ["read", { bufs: [-1], ptrs: [0] }], RangeError, "whole number of bytes"],
    ["too much", ["read", { bufs: [2 ** 20], ptrs: [0] }], RangeError, "at most 786432 fit"],
    ["slot 6", ["read", { bufs: [1], ptrs: [6] }], RangeError, "from 0 to 5, got 6"],
    ["slot -2", ["read", { bufs: [1], ptrs: [-2] }], RangeError, "got -2"],
    ["slot of a wrong type", ["read", { bufs: [1], ptrs: ["0"] }], TypeError, "got string"],
    ["slot twice", ["read", { bufs: [1, 1], ptrs: [1, 1] }], RangeError, "names already"],
    ["more ptrs than bufs", ["read", { bufs: [1], ptrs: [0, 1] }], RangeError, "2 ptrs for 1 bufs"],
    [
      "slot with a value",
      ["read", { args: [1], bufs: [1], ptrs: [0] }],
      TypeError,
      "leave 0 there",
    ],
    ["unused buffer", ["read", { bufs: [1, 1], ptrs: [0] }], RangeError, "neither ptrs nor nested"],
    [
      "nested of a wrong type",
      ["read", { bufs: [buf, buf], ptrs: [0], nested: [[0, 1, 0]] }],
      TypeError,
      "must be { parent, child, offset }, got array",
    ],
    [
      "nested with a misspelt key",
      ["read", { bufs: [buf, buf], ptrs: [0], nested: [{ parent: 0, child: 1, off: 0 }] }],
      TypeError,
      'unknown key "off"',
    ],
    [
      "parent out of range",
      ["read", { bufs: [buf, buf], ptrs: [0], nested: [{ parent: 2, child: 1, offset: 0 }] }],
      RangeError,
      "parent of nested[0]",
    ],
    [
      "address beyond the parent's end",
      ["read", { bufs: [buf, buf], ptrs: [0], nested: [{ parent: 0, child: 1, offset: 9 }] }],
      RangeError,
      "writes 8 bytes at 9 into bufs[0], which has 16",
    ],
    [
      "overlapping addresses",
      ["read", {
        bufs: [buf, buf, buf],
        ptrs: [0],
        nested: [{ parent: 0, child: 1, offset: 0 }, { parent: 0, child: 2, offset: 4 }],
      }],
      RangeError,
      'nested[1] of syscall("read") overlaps nested[0]',
    ],
    ["timeout of a wrong form", ["read", { timeout: "10" }], RangeError, "timeout"],
  ];
  for (const [name, [call, ...rest], type, message] of rows) {
    await t.step(name, () => {
      assertThrows(() => read(call as string, ...rest), type, message);
    });
  }
});
