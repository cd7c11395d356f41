import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DeadlineError, StateError } from "../../src/errors.ts";
import { checkPatterns, ExpectError, Stream } from "../../src/lab/mod.ts";

/** A stream that is fed by the test, chunk by chunk. */
function fed(chunks: readonly (string | Uint8Array)[] = []) {
  const queue = chunks.map(bytes);
  let ended = false;
  let wake = Promise.withResolvers<void>();
  const stream = new Stream("the test's stream", {
    async read() {
      while (queue.length === 0 && !ended) {
        await wake.promise;
        wake = Promise.withResolvers();
      }
      return queue.shift();
    },
    close() {
      ended = true;
      wake.resolve();
    },
  });
  return {
    stream,
    push(...more: (string | Uint8Array)[]) {
      queue.push(...more.map(bytes));
      wake.resolve();
    },
    end() {
      ended = true;
      wake.resolve();
    },
  };
}

const bytes = (data: string | Uint8Array) =>
  typeof data === "string" ? new TextEncoder().encode(data) : data;
const text = (data: Uint8Array | undefined) => new TextDecoder().decode(data);

Deno.test("Stream.expect() finds a match across chunk borders and consumes it", async () => {
  const { stream } = fed(["boot", "ing\nlog", "in: ro", "ot\n"]);
  const found = await stream.expect("login: ", 5);
  assertEquals(found.before, "booting\n");
  assertEquals(found.match, "login: ");
  assertEquals(text(await stream.next(5)), "ro");
  assertEquals(text(await stream.next(5)), "ot\n");
});

Deno.test("Stream.expect() splits a code point at a chunk border without losing bytes behind it", async () => {
  const all = bytes("größe=1 €uro");
  const { stream } = fed([...all].map((byte) => new Uint8Array([byte])));
  assertEquals((await stream.expect("größe=", 5)).before, "");
  assertEquals((await stream.expect("€", 5)).before, "1 ");
  assertEquals(text(await stream.next(5)), "u");
});

Deno.test("Stream.expect() keeps bytes that are not UTF-8 for later reads", async () => {
  const { stream } = fed([new Uint8Array([0xff, 0xfe, 0x41, 0x42, 0xff, 0x43])]);
  assertEquals((await stream.expect("AB", 5)).index, 0);
  assertEquals(await stream.next(5), new Uint8Array([0xff, 0x43]));
});

Deno.test("Stream.expect() takes the pattern that begins first, and says which", async () => {
  const { stream } = fed(["x=12 error: no\n"]);
  const found = await stream.expect([/error: (?<why>\w+)/, /x=(\d+)/], 5);
  assertEquals([found.index, found.match, found.groups], [1, "x=12", ["12"]]);
  const next = await stream.expect([/error: (?<why>\w+)/], 5);
  assertEquals(next.named, { why: "no" });
});

Deno.test("Stream.expect() ignores the position that a global RegExp keeps", async () => {
  const { stream } = fed(["aXbXc"]);
  const pattern = /X/g;
  pattern.lastIndex = 4;
  assertEquals((await stream.expect(pattern, 5)).before, "a");
  assertEquals((await stream.expect(pattern, 5)).before, "b");
});

Deno.test("Stream.expect() names pattern and last lines when the match does not come in time", async () => {
  const { stream } = fed(["one\ntwo\n"]);
  const error = await assertRejects(() => stream.expect(/three/, "100ms"), ExpectError);
  assertEquals(error.ended, false);
  assertEquals(error.tail, "one\ntwo");
  assertEquals(
    error.message,
    "Cannot find /three/ in the test's stream: it did not come within 100 ms\n" +
      "  actual:   the last lines are\n            one\n            two",
  );
});

Deno.test("Stream.expect() fails at once when the stream has ended", async () => {
  const { stream, end } = fed(["almost"]);
  end();
  const error = await assertRejects(() => stream.expect("done", 60), ExpectError);
  assertEquals([error.ended, error.tail], [true, "almost"]);
});

Deno.test("Stream keeps what a failed expect has read for the next call", async () => {
  const { stream, push } = fed(["abc"]);
  await assertRejects(() => stream.expect("xyz", 0.05), ExpectError);
  push("xyz");
  assertEquals((await stream.expect("xyz", 5)).before, "abc");
});

Deno.test("Stream loses nothing when a wait ends while a read is under way", async () => {
  const { stream, push } = fed();
  await assertRejects(() => stream.next(0.02), DeadlineError);
  push("late");
  assertEquals(text(await stream.next(5)), "late");
});

Deno.test("Stream.lines() accepts both line ends and a last line without one", async () => {
  const { stream, end } = fed(["a\r\nb\n\nc", "d\r", "\ne"]);
  end();
  const lines: string[] = [];
  for await (const line of stream.lines()) lines.push(line);
  assertEquals(lines, ["a", "b", "", "cd", "e"]);
  assert(stream.eof);
});

Deno.test("Stream.lines() reads a megabyte of short lines", async () => {
  const all = "0123456789\n".repeat(100_000);
  const pieces = all.match(/[^]{1,65536}/g)!;
  const { stream, end } = fed(pieces);
  end();
  let count = 0;
  for await (const line of stream.lines()) {
    assertEquals(line, "0123456789");
    count++;
  }
  assertEquals(count, 100_000);
});

Deno.test("Stream.readUntil() returns the text with the match", async () => {
  const { stream } = fed(["user@host:~$ ls\n"]);
  assertEquals(await stream.readUntil("$ ", 5), "user@host:~$ ");
});

Deno.test("Stream.drain() ends when nothing comes, and at the end of the stream", async () => {
  const { stream, push, end } = fed(["a", "b"]);
  assertEquals(text(await stream.drain(0.05)), "ab");
  push("c");
  end();
  assertEquals(text(await stream.drain(30)), "c");
  assertEquals(await stream.next(1), undefined);
});

Deno.test("Stream.drain() ends although output never stops", async () => {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stream = new Stream("yes", {
    read: () => new Promise((resolve) => timer = setTimeout(() => resolve(bytes("y\n")), 5)),
    close: () => clearTimeout(timer),
  });
  assert((await stream.drain("20ms")).length > 2);
  await stream.close();
});

Deno.test("Stream rejects with the reason of the signal, unchanged", async () => {
  const { stream } = fed();
  const reason = { why: "enough" };
  const controller = new AbortController();
  const waiting = stream.expect("never", 60, { signal: controller.signal });
  controller.abort(reason);
  assertEquals(await waiting.catch((error) => error === reason), true);
  const aborted = AbortSignal.abort(reason);
  assertEquals(await stream.next(1, { signal: aborted }).catch((error) => error === reason), true);
});

Deno.test("Stream refuses a second reader by name", async () => {
  const { stream, end } = fed();
  const first = stream.next(5);
  const error = await assertRejects(() => stream.expect("x", 5), StateError);
  assert(error.message.includes("next() is reading it already"), error.message);
  end();
  await first;
});

Deno.test("Stream.close() ends a pending read, also when called twice", async () => {
  const { stream } = fed();
  const waiting = stream.next(60);
  await Promise.all([stream.close(), stream.close()]);
  assertEquals(await waiting, undefined);
});

Deno.test("checkPatterns() refuses what is no pattern", async (t) => {
  const rows: [unknown, string][] = [
    [5, "got number"],
    ["", "got an empty string"],
    [null, "got null"],
    [["a", {}], "got object"],
    [[], "at least one pattern"],
  ];
  for (const [value, message] of rows) {
    await t.step(`${JSON.stringify(value)}: ${message}`, () => {
      assertThrows(() => checkPatterns(value, "expect()"), TypeError, message);
    });
  }
});
