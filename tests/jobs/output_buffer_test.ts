import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LogWaitError, OutputBuffer } from "../../src/jobs/mod.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

function filled(...chunks: string[]): OutputBuffer {
  const buffer = new OutputBuffer();
  for (const chunk of chunks) buffer.write(bytes(chunk));
  return buffer;
}

Deno.test("jobs #40 OutputBuffer keeps the last bytes and counts the evicted", () => {
  const buffer = new OutputBuffer({ maxSize: 10 });
  buffer.write(bytes("0123456789"));
  assertEquals(buffer.stats().bytesEvicted, 0);
  buffer.write(bytes("abcd"));
  assertEquals(buffer.stats().bytesEvicted, 4);
  assertEquals(text(buffer.bytes()), "456789abcd");
  const fresh = new OutputBuffer({ maxSize: 10 });
  fresh.write(bytes("0123456789ABCDEFGHIJ"));
  assertEquals(text(fresh.bytes()), "ABCDEFGHIJ");
  assertEquals(fresh.stats().bytesEvicted, 10);
});

Deno.test("jobs #42 OutputBuffer drops what is written after close", () => {
  const buffer = filled("before");
  buffer.close();
  buffer.write(bytes("after"));
  assertEquals(buffer.stats().totalWritten, 6);
  assertEquals(buffer.text(), "before");
  assert(buffer.stats().closed);
});

Deno.test("jobs #48 OutputBuffer.read() accounts for every byte, as data or as lost", () => {
  const buffer = new OutputBuffer({ maxSize: 1000 });
  let seed = 7;
  const random = (limit: number) => (seed = (seed * 48271) % 2147483647) % limit;
  let next = 0;
  let counted = 0;
  for (let round = 0; round < 2000; round++) {
    for (let i = random(4); i > 0; i--) buffer.write(new Uint8Array(random(700)).fill(round));
    const { data, offset, nextOffset, lost } = buffer.read(next);
    assertEquals(offset, next + lost);
    assertEquals(nextOffset, offset + data.length);
    counted += data.length + lost;
    next = nextOffset;
    assertEquals(counted, buffer.stats().totalWritten);
  }
});

Deno.test("OutputBuffer holds the bytes that were written last, whatever the chunks", () => {
  const all: number[] = [];
  const buffer = new OutputBuffer({ maxSize: 97 });
  for (let i = 0; i < 500; i++) {
    const chunk = Uint8Array.from({ length: (i * 13) % 41 }, (_, k) => (i + k) % 256);
    all.push(...chunk);
    buffer.write(chunk);
    assertEquals([...buffer.bytes()], all.slice(-97));
  }
});

Deno.test("OutputBuffer.text() never begins inside a code point", () => {
  const buffer = new OutputBuffer({ maxSize: 7 });
  buffer.write(bytes("aé€𝄞z"));
  assertEquals(buffer.text(), "𝄞z");
  assertEquals(buffer.text({ marker: true }), "[… 4 bytes evicted …]\n𝄞z");
});

Deno.test("OutputBuffer.head() keeps the beginning apart", () => {
  const buffer = new OutputBuffer({ maxSize: 4, headBytes: 5 });
  for (const chunk of ["ab", "cdef", "ghij"]) buffer.write(bytes(chunk));
  assertEquals(text(buffer.head()), "abcde");
  assertEquals(text(buffer.bytes()), "ghij");
});

Deno.test("OutputBuffer.trim() gives memory back and counts it as evicted", () => {
  const buffer = filled("0123456789");
  buffer.trim(3);
  assertEquals(buffer.text(), "789");
  assertEquals(buffer.stats().bytesEvicted, 7);
  buffer.write(bytes("ab"));
  assertEquals(buffer.text(), "789ab");
});

Deno.test("OutputBuffer.changedSince() waits for more, an end or an abort", async () => {
  const buffer = filled("abc");
  assertEquals((await buffer.changedSince(2)).totalWritten, 3);
  const more = buffer.changedSince(3);
  buffer.write(bytes("d"));
  assertEquals((await more).totalWritten, 4);
  const controller = new AbortController();
  const aborted = assertRejects(() => buffer.changedSince(4, { signal: controller.signal }));
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await aborted, reason);
  const end = buffer.changedSince(4);
  buffer.close();
  assert((await end).closed);
});

Deno.test("jobs #47 OutputBuffer.stream() tells a late reader what it lost", async () => {
  const buffer = new OutputBuffer();
  const stream = buffer.stream();
  const chunk = new Uint8Array(50_000).fill(120);
  for (let i = 0; i < 1000; i++) buffer.write(chunk);
  buffer.close();
  let got = 0;
  let lost = 0;
  for await (const part of stream) {
    got += part.length;
    lost += part.lost ?? 0;
  }
  assertEquals(got, 1024 * 1024);
  assertEquals(lost, 50_000_000 - 1024 * 1024);
});

Deno.test("OutputBuffer.stream() goes on from an offset, ends at close, and can be aborted", async () => {
  const buffer = filled("0123456789");
  const rest = Array.fromAsync(buffer.stream({ from: 7 }));
  const fresh = Array.fromAsync(buffer.stream({ from: "now" }));
  const controller = new AbortController();
  const aborted = assertRejects(() =>
    Array.fromAsync(buffer.stream({ from: "now", signal: controller.signal }))
  );
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await aborted, reason);
  buffer.write(bytes("ab"));
  buffer.close();
  assertEquals((await rest).map(text).join(""), "789ab");
  assertEquals((await fresh).map(text).join(""), "ab");
  const cancelled = filled("x").stream({ from: "now" }).getReader();
  const pending = cancelled.read();
  await cancelled.cancel();
  assert((await pending).done);
});

Deno.test("OutputBuffer.lines() splits lines that are too long and keeps the last unfinished one", async () => {
  const buffer = filled("one\ntw", "o\n", "0123456789abcdefgh\n", "\nééé\nrest");
  buffer.close();
  const lines = await Array.fromAsync(buffer.lines({ maxLineBytes: 5 }));
  assertEquals(lines, ["one", "two", "01234", "56789", "abcde", "fgh", "", "éé", "é", "rest"]);
});

Deno.test("OutputBuffer.lines() gives out a long line before it ends", async () => {
  const buffer = filled("x".repeat(12));
  const lines = buffer.lines({ maxLineBytes: 5 })[Symbol.asyncIterator]();
  assertEquals((await lines.next()).value, "xxxxx");
  assertEquals((await lines.next()).value, "xxxxx");
  buffer.close();
  assertEquals((await lines.next()).value, "xx");
  assert((await lines.next()).done);
});

Deno.test("OutputBuffer.waitFor() finds matches across chunks", async (t) => {
  const rows: [string, string[], string | RegExp, string][] = [
    ["a text in two chunks", ["...REA", "DY..."], "READY", "READY"],
    ["a pattern in three chunks", ["po", "rt=80", "80\n"], /port=(?<port>\d+)/, "port=8080"],
    ["the start of a later line", ["not ready\nrea", "dy\n"], /^ready$/, "ready"],
    ["a pattern over a line break", ["one\n", "two\n"], /one\s+two/, "one\ntwo"],
    ["text over a line break", ["one\nt", "wo\n"], "one\ntwo", "one\ntwo"],
  ];
  for (const [name, chunks, pattern, expected] of rows) {
    await t.step(name, async () => {
      const buffer = new OutputBuffer();
      const found = buffer.waitFor(pattern, { timeout: 5 });
      for (const chunk of chunks) buffer.write(bytes(chunk));
      assertEquals((await found).text, expected);
    });
  }
});

Deno.test("OutputBuffer.waitFor() joins a code point that comes in two chunks", async () => {
  const buffer = new OutputBuffer();
  const found = buffer.waitFor("é!");
  const whole = bytes("xé!");
  buffer.write(whole.subarray(0, 2));
  buffer.write(whole.subarray(2));
  assertEquals((await found).offset, 1);
});

Deno.test("OutputBuffer.waitFor() tells line, groups and byte offset", async () => {
  const buffer = filled("é first\n", "listening on :8080 now\n");
  assertEquals(await buffer.waitFor(/:(?<port>\d+)/), {
    stream: "stdout",
    line: "listening on :8080 now",
    text: ":8080",
    groups: { port: "8080" },
    offset: 22,
  });
});

Deno.test("jobs #45 OutputBuffer.waitFor() finds a text in a line that never ends", async () => {
  const buffer = new OutputBuffer();
  const found = [buffer.waitFor("READY"), buffer.waitFor(/READ./)];
  buffer.write(bytes("READY"));
  for (const match of await Promise.all(found)) assertEquals(match.text, "READY");
});

Deno.test("OutputBuffer.waitFor() sees through escape sequences, also cut ones", async () => {
  const buffer = new OutputBuffer();
  const found = buffer.waitFor(/^state: (?<state>\w+)$/, { stripAnsi: true });
  for (const chunk of ["\x1b[1mstate\x1b[", "0m: \x1b]0;title\x07\x1b[3", "2mup\x1b[0m\n"]) {
    buffer.write(bytes(chunk));
  }
  const match = await found;
  assertEquals([match.text, match.groups.state, match.offset], ["state: up", "up", 4]);
});

Deno.test("OutputBuffer.waitFor() counts matches with `times`, also within one chunk", async () => {
  const buffer = filled("go 1 go 2\n");
  const third = buffer.waitFor(/go (?<n>\d)/, { times: 3 });
  buffer.write(bytes("go 3 go 4\n"));
  assertEquals((await third).groups.n, "3");
  assertEquals((await buffer.waitFor("go", { times: 2 })).offset, 5);
});

Deno.test("OutputBuffer.waitFor() looks only at what comes with `from: now`", async () => {
  const buffer = filled("mark 1\n");
  const found = buffer.waitFor(/mark \d/, { from: "now" });
  buffer.write(bytes("mark 2\n"));
  assertEquals((await found).text, "mark 2");
});

Deno.test("OutputBuffer.waitFor() finds the beginning after it was evicted", async () => {
  const buffer = new OutputBuffer({ maxSize: 100 });
  buffer.write(bytes("first light\n"));
  buffer.write(new Uint8Array(5000).fill(46));
  assertEquals((await buffer.waitFor("first light")).offset, 0);
});

Deno.test("OutputBuffer.waitFor() rejects at its limit, at the end and when aborted", async () => {
  const buffer = filled("nothing\nlast line\n");
  const late = await assertRejects(() => buffer.waitFor("x", { timeout: 0.02 }), LogWaitError);
  assertEquals([late.reason, late.pattern], ["timeout", '"x"']);
  assertEquals(
    late.message,
    'Cannot find "x" in the output: the time was over\n' +
      "  expected: a match within 20 ms\n" +
      "  actual:   the output ends with\n            nothing\n            last line",
  );
  const controller = new AbortController();
  const aborted = assertRejects(() => buffer.waitFor("x", { signal: controller.signal }));
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await aborted, reason);
  const ended = assertRejects(() => buffer.waitFor(/x/), LogWaitError);
  buffer.close();
  assertEquals((await ended).reason, "closed");
  assertEquals((await assertRejects(() => buffer.waitFor("x"), LogWaitError)).reason, "closed");
});

Deno.test("OutputBuffer.waitFor() finds a text at the end of a line of 1 MiB", async () => {
  const buffer = new OutputBuffer();
  const found = buffer.waitFor(/END/);
  for (let i = 0; i < 64; i++) buffer.write(new Uint8Array(16_384).fill(97));
  buffer.write(bytes("END\n"));
  assertEquals((await found).offset, 1024 * 1024);
});

Deno.test("OutputBuffer refuses misuse by name", async () => {
  const buffer = new OutputBuffer();
  assertThrows(() => new OutputBuffer({ maxSize: -1 }), RangeError, "maxSize");
  assertThrows(
    () => new OutputBuffer({ maxsize: 1 } as never),
    TypeError,
    'did you mean "maxSize"',
  );
  assertThrows(() => buffer.read(-1), RangeError, "-1");
  await assertRejects(() => buffer.waitFor(3 as never), TypeError, "got number");
  await assertRejects(() => buffer.waitFor(""), TypeError, "an empty string");
  await assertRejects(() => buffer.waitFor("x", { times: 0 }), RangeError, "times");
  assertThrows(() => buffer.stream({ from: "end" as never }), TypeError, "from");
});
