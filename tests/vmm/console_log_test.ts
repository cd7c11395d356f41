import { assertEquals, assertRejects } from "@std/assert";
import { ConsoleLog, plainText } from "../../src/vmm/mod.ts";
import { makeTempDir } from "../host/_temp.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("ConsoleLog keeps every byte on disk and tells it to listeners in order", async () => {
  await using dir = await makeTempDir();
  const log = new ConsoleLog({ path: `${dir.path}/log`, writesFile: true });
  let heard = 0;
  log.onData((chunk) => heard += chunk.length);
  const piece = new Uint8Array(10_000).map((_, i) => i % 251);
  log.follow(ReadableStream.from(Array.from({ length: 105 }, () => piece)));
  await log.ended;
  assertEquals([log.length, heard], [1_050_000, 1_050_000]);
  assertEquals((await Deno.stat(log.path)).size, 1_050_000);
  const all = log.bytes();
  for (let i = 0; i < 105; i++) assertEquals(all.slice(i * 10_000, (i + 1) * 10_000), piece);
});

Deno.test("ConsoleLog adds what is not on disk yet", async () => {
  await using dir = await makeTempDir();
  const path = `${dir.path}/log`;
  const before = bytes("boot\r\n");
  await Deno.writeFile(path, before);
  const log = new ConsoleLog({ path, writesFile: false, before });
  log.follow(ReadableStream.from([bytes("one\r\n"), bytes("two\r\n")]));
  await log.ended;
  await Deno.writeTextFile(path, "one\r\n", { append: true }); // QEMU has written one of both
  assertEquals(log.text(), "boot\none\ntwo\n");
  assertEquals(log.tail(2), "one\ntwo");
  await log.remove();
  assertEquals(log.tail(1), "two");
});

Deno.test("ConsoleLog.write() needs a machine with an input", async () => {
  await using dir = await makeTempDir();
  const log = new ConsoleLog({ path: `${dir.path}/log`, writesFile: true });
  await assertRejects(() => log.write(bytes("x")), TypeError, "no input");
  log.close();
});

Deno.test("plainText() takes out control sequences", async (t) => {
  const rows = [
    ["a\r\nb\r\r\nc", "a\nb\nc"],
    ["\x1b[1;31mred\x1b[0m", "red"],
    ["\x1bc\x1b[2Jx", "\x1bcx"],
  ] as const;
  for (const [text, expected] of rows) {
    await t.step(JSON.stringify(text), () => assertEquals(plainText(bytes(text)), expected));
  }
});
