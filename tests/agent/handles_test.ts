import { assertEquals, assertRejects } from "@std/assert";
import { GuestError } from "../../src/errors.ts";
import { type AgentClient, LIMITS, toBytes, toText } from "../../src/wire/mod.ts";
import { connectAgent } from "./_agent.ts";

const O_RDWR = 2, O_CREAT = 0o100, O_APPEND = 0o2000;

async function open(client: AgentClient, path: string, flags: number): Promise<number> {
  const file = client.newId();
  await client.request("fileOpen", { file, path: toBytes(path), flags, mode: 0o644 });
  return file;
}

async function codeOf(action: Promise<unknown>): Promise<string | undefined> {
  return (await assertRejects(() => action, GuestError)).code;
}

Deno.test("an open file keeps its position, and reads and writes elsewhere without it", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const file = await open(client, `${dir}/f`, O_RDWR | O_CREAT);
  const read = async (length: number, offset?: number) =>
    toText((await client.request("fileRead", { file, length, offset })).data);
  assertEquals(await client.request("fileWrite", { file, data: toBytes("hello world") }), {
    size: 11,
  });
  assertEquals(await read(5), "");
  assertEquals(await read(5, 6), "world");
  assertEquals(await client.request("fileSeek", { file, offset: 0, whence: 0 }), { offset: 0 });
  assertEquals([await read(6), await read(100), await read(1)], ["hello ", "world", ""]);
  await client.request("fileWrite", { file, data: toBytes("H"), offset: 0 });
  assertEquals(await client.request("fileSeek", { file, offset: -1, whence: 2 }), { offset: 10 });
  await client.request("fileTruncate", { file, size: 5 });
  await client.request("fileSync", { file });
  assertEquals((await client.request("fileStat", { file })).size, 5n);
  assertEquals(await Deno.readTextFile(`${dir}/f`), "Hello");
  await client.request("fileClose", { file });
  assertEquals(await codeOf(client.request("fileRead", { file, length: 1 })), "NOSUCHID");
  assertEquals(await codeOf(client.request("fileClose", { file })), "NOSUCHID");
  assertEquals((await client.request("counters", {})).files, 0);
});

Deno.test("operations on one file are done in the order in which they were asked", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const file = await open(client, `${dir}/f`, O_RDWR | O_CREAT | O_APPEND);
  const numbers = Array.from({ length: 300 }, (_, i) => `${i}\n`);
  const all = numbers.map((text) => client.request("fileWrite", { file, data: toBytes(text) }));
  const closed = client.request("fileClose", { file });
  await Promise.all([...all, closed]);
  assertEquals(await Deno.readTextFile(`${dir}/f`), numbers.join(""));
});

Deno.test("close ends a read that would wait for ever", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const path = toBytes(`${dir}/fifo`);
  await client.request("mknod", { path, mode: 0o010600, dev: 0n });
  const file = await open(client, `${dir}/fifo`, O_RDWR);
  const first = codeOf(client.request("fileRead", { file, length: 1 }));
  const second = codeOf(client.request("fileRead", { file, length: 1 }));
  await client.request("fileClose", { file });
  assertEquals([await first, await second], ["CANCELLED", "CANCELLED"]);
});

Deno.test("open files have their limits", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const file = await open(client, `${dir}/f`, O_RDWR | O_CREAT);
  const data = new Uint8Array(LIMITS.MAX_FILE_IO).fill(7);
  assertEquals(await client.request("fileWrite", { file, data }), { size: data.length });
  const back = await client.request("fileRead", { file, length: data.length, offset: 0 });
  assertEquals(back.data, data);
  const more = { file, length: data.length + 1 };
  assertEquals(await codeOf(client.request("fileRead", more)), "LIMIT");
  const same = { file, path: toBytes(`${dir}/f`), flags: O_RDWR, mode: 0 };
  assertEquals(await codeOf(client.request("fileOpen", same)), "EEXIST");
  const none = { file: client.newId(), path: toBytes("/nope/x"), flags: 0, mode: 0 };
  assertEquals(await codeOf(client.request("fileOpen", none)), "ENOENT");
});

Deno.test("a watch tells what happens to a folder, until it is ended", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const watch = client.newId();
  const seen: string[] = [];
  const done = Promise.withResolvers<void>();
  client.on(watch, (event) => {
    if (event.ev !== "watch") return;
    seen.push(`${event.mask.toString(16)} ${toText(event.name)}`);
    if (seen.length === 2) done.resolve();
  });
  // IN_CREATE and IN_DELETE of sys/inotify.h.
  await client.request("watch", { watch, path: toBytes(dir), mask: 0x100 | 0x200 });
  await Deno.writeTextFile(`${dir}/new`, "");
  await Deno.remove(`${dir}/new`);
  await done.promise;
  assertEquals(seen, ["100 new", "200 new"]);
  await client.request("unwatch", { watch });
  assertEquals(await codeOf(client.request("unwatch", { watch })), "NOSUCHID");
  const none = { watch: client.newId(), path: toBytes("/nope"), mask: 0x100 };
  assertEquals(await codeOf(client.request("watch", none)), "ENOENT");
});
