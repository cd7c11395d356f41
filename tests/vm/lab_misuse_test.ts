/** What callers do wrong on a machine: refused before anything is sent, in words that are pinned here. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { BelljarError, GuestError } from "../../src/errors.ts";
import { probe } from "../../src/jobs/mod.ts";
import { lab } from "../../src/lab/mod.ts";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("wrong");

/** Passes what the types forbid. */
const wrong = (value: unknown) => value as never;

test("every misuse is refused by type, code and the same words", async (vm, { t }) => {
  const idle = lab.vm("idle", "tiny");
  const file = await vm.openFile("/etc/passwd");
  const worker = await vm.spawnWorker();
  const proc = await vm.runAsync("sleep 1000");
  const rows: [name: string, code: string | undefined, call: () => unknown, message: string][] = [
    [
      "TypeError",
      undefined,
      () => vm.run("true", wrong({ timout: 1 })),
      'Unknown option "timout" for vm.run(): did you mean "timeout"?',
    ],
    [
      "DurationError",
      undefined,
      () => vm.run("true", { timeout: "10" }),
      'Cannot use "10" as timeout of vm.run(): expected a number of seconds (0 or more), or text such as "250ms", "10s", "2m", "1h", "1m30s"',
    ],
    [
      "TypeError",
      undefined,
      () => vm.run("true", wrong({ args: "x" })),
      'Option args of vm.run() must be an array of strings, got "x"',
    ],
    [
      "TypeError",
      undefined,
      () => vm.run(wrong(3)),
      "The command of run() must be a string, got number",
    ],
    [
      "TypeError",
      undefined,
      () => vm.runAsync("true", wrong({ timeout: 1 })),
      "Option timeout is not one of vm.runAsync(), which does not wait: pass it to proc.wait(timeout)",
    ],
    [
      "SignalError",
      undefined,
      () => worker.kill(wrong({})),
      "signal must be a name or a number, got object",
    ],
    [
      "SignalError",
      undefined,
      () => proc.kill(wrong("SIGNOPE")),
      'Unknown signal "SIGNOPE": expected a name such as "SIGTERM" or "term", or a number',
    ],
    [
      "SignalError",
      undefined,
      () => proc.kill(0),
      'Cannot use 0 as a signal: expected a whole number from 1 to 64, or a name such as "SIGTERM"',
    ],
    [
      "SignalError",
      undefined,
      () => proc.signal(wrong(undefined)),
      "signal must be a name or a number, got undefined",
    ],
    [
      "TypeError",
      undefined,
      () => vm.readFile(wrong(3)),
      "The path of readFile() must be a string or bytes, got number",
    ],
    [
      "TypeError",
      undefined,
      () => vm.readFile("a\0b"),
      'The path of readFile() must not contain NUL, got "a\\\\x00b"',
    ],
    ["TypeError", undefined, () => vm.stat(""), "The path of stat() must not be empty"],
    [
      "TypeError",
      undefined,
      () => vm.writeFile("/tmp/x", wrong(5)),
      "The data of writeFile() must be text, bytes or a stream, got number",
    ],
    [
      "TypeError",
      undefined,
      () => vm.openFile("/etc/passwd", { read: false }),
      "vm.openFile() needs at least one of the options read, write and append; beside them it takes create, createNew, truncate and mode",
    ],
    [
      "TypeError",
      undefined,
      () => vm.openFile("/etc/passwd", { truncate: true }),
      "vm.openFile() needs at least one of the options read, write and append; beside them it takes create, createNew, truncate and mode",
    ],
    ["RangeError", undefined, () => file.read(-1), "read() takes a whole number of bytes, got -1"],
    [
      "TypeError",
      undefined,
      () => file.seek(0, wrong("middle")),
      'seek() takes "start", "current" or "end", got "middle"',
    ],
    [
      "RangeError",
      undefined,
      () => vm.syscall(wrong("opne")),
      'x86_64 has no system call "opne": did you mean "open"?',
    ],
    [
      "RangeError",
      undefined,
      () => vm.syscall("getpid", 1, 2, 3, 4, 5, 6, 7),
      'syscall("getpid") takes at most 6 arguments, got 7',
    ],
    [
      "RangeError",
      undefined,
      () => vm.syscall("getpid", 1.5),
      'Argument 0 of syscall("getpid") must be a whole number below 2^53, or a bigint, got 1.5',
    ],
    [
      "TypeError",
      undefined,
      () => vm.syscall("getpid", wrong("x")),
      'Argument 0 of syscall("getpid") must be a number, a bigint, a File or bytes, got string: encode text by cstr()',
    ],
    [
      "RangeError",
      undefined,
      () => vm.syscall("getpid", { bufs: [8], ptrs: [9] }),
      'ptrs[0] of syscall("getpid") must be an argument from 0 to 5, got 9',
    ],
    [
      "RangeError",
      undefined,
      () =>
        vm.syscall("getpid", {
          bufs: [8, 8],
          ptrs: [0],
          nested: [{ parent: 0, child: 1, offset: 4 }],
        }),
      'nested[0] of syscall("getpid") writes 8 bytes at 4 into bufs[0], which has 8',
    ],
    [
      "TypeError",
      undefined,
      () => worker.syscall("read", file, 8, 8),
      'Argument 0 of syscall("read") is a file of machine "wrong", and its descriptor means nothing to worker 1 of machine "wrong"',
    ],
    ["TypeError", undefined, () => vm.batch(wrong(3)), "batch() takes a function, got number"],
    [
      "TypeError",
      undefined,
      () => vm.forward(wrong({})),
      "vm.forward() takes the port of the guest: vm.forward({ guest: 80 })",
    ],
    ["StateError", "STATE", () => idle.run("true"), 'Cannot run on machine "idle": it is created'],
    [
      "StateError",
      "STATE",
      () => idle.snapshot(),
      'Cannot snapshot on machine "idle": it is created',
    ],
    ["StateError", "STATE", () => vm.boot(), 'Cannot boot on machine "wrong": it is booted'],
    [
      "TypeError",
      undefined,
      () => lab.vm("wrong", "tiny"),
      'Cannot make machine "wrong": a machine of this name is there already in this or a surrounding scope; use lab.vm("wrong") to get it, or another name',
    ],
    [
      "TypeError",
      undefined,
      () => lab.vm("nobody"),
      'There is no machine "nobody" in this or a surrounding scope: there are "wrong", "idle"',
    ],
    [
      "TypeError",
      undefined,
      () => vm.spawnWorker(wrong({ thread: true })),
      "Option thread of vm.spawnWorker() must be false: a worker is always a process of its own. For a system call that must not hold up others use vm.syscallAsync(), for a command vm.runAsync()",
    ],
    [
      "TypeError",
      undefined,
      () => vm.spawnWorker({ unshare: wrong(["usr"]) }),
      'Option unshare of vm.spawnWorker() must be an array of time, mount, cgroup, uts, ipc, user, pid, net; got "usr"',
    ],
    [
      "TypeError",
      undefined,
      () => vm.waitUntil(wrong(3)),
      "waitUntil() takes a function, got number",
    ],
    [
      "DurationError",
      undefined,
      () => vm.clock.advance(NaN),
      'Cannot use NaN as duration of clock.advance(): expected a number of seconds (0 or more), or text such as "250ms", "10s", "2m", "1h", "1m30s"',
    ],
    ["RangeError", undefined, () => vm.fork(0), "vm.fork() takes a whole number from 1, got 0"],
    [
      "TypeError",
      undefined,
      () => vm.restore(wrong({})),
      "vm.restore() takes a Snapshot, got object",
    ],
    [
      "JobNotFoundError",
      "JOB_NOT_FOUND",
      () => vm.jobWait(999),
      "Cannot find job 999: no job of this table has that number",
    ],
    [
      "TypeError",
      undefined,
      () => proc.stdout.expect(wrong(3)),
      "expect() takes a string, a RegExp or an array of them, got number",
    ],
    [
      "ServiceConfigError",
      "SERVICE_CONFIG",
      () => vm.service(wrong({ command: "x" })),
      'Cannot start service "": it has no name',
    ],
    [
      "TypeError",
      undefined,
      () => vm.service({ name: "x", command: "y", ports: wrong({ a: "b" }) }),
      'Option a of ports of service() must be a number or "auto", got "b"',
    ],
    [
      "RangeError",
      undefined,
      () => probe.http("nopath"),
      'Option path of probe.http() is "nopath": it must begin with "/"',
    ],
    [
      "RangeError",
      undefined,
      () => lab.barrier("b", 0),
      "barrier() takes a whole number from 1 as count, got 0",
    ],
    [
      "TypeError",
      undefined,
      () => vm.mkdir("/tmp/q", { mode: wrong("0755") }),
      "Option mode of vm.mkdir() must be a number such as 0o644, got string",
    ],
    [
      "TypeError",
      undefined,
      () => vm.utime("/tmp", wrong("x"), wrong("y")),
      "atime of utime() must be a valid Date, seconds or nanoseconds, got string",
    ],
    [
      "RangeError",
      undefined,
      () => vm.readMem(0, -1),
      "readMem() takes a length from 0 to 786432, got -1",
    ],
    [
      "RangeError",
      undefined,
      () => vm.ioctl(0, wrong("NOPE")),
      'Unknown ioctl "NOPE": pass its number, or build it by sys.io()',
    ],
  ];
  const { requests } = await vm.counters();
  for (const [name, code, call, message] of rows) {
    await t.step(message, async () => {
      const error = await (async () => await call())().then(() => undefined, (error) => error);
      assert(error instanceof Error, `was accepted: ${message}`);
      const { errno, op } = error as Partial<GuestError>;
      assertEquals(
        [error.name, (error as BelljarError).code, errno, op, error.message.split("\n")[0]],
        [name, code, undefined, undefined, message],
      );
      assertStringIncludes(error.stack!, "lab_misuse_test.ts");
    });
  }
  // Nothing of all this has reached the guest.
  assertEquals((await vm.counters()).requests, requests + 1);
});
