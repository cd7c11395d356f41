import { assert, assertEquals, assertRejects } from "@std/assert";
import { GuestError } from "../../src/errors.ts";
import {
  type AgentClient,
  decodeValue,
  equalBytes,
  measureValue,
  toBytes,
  toText,
} from "../../src/wire/mod.ts";
import { connectAgent, readFile, writeFile } from "./_agent.ts";

async function errnoOf(action: Promise<unknown>): Promise<string> {
  const error = await assertRejects(() => action, GuestError);
  return error.errno;
}

/** The MessagePack values of a stream, one after the other. */
async function values(
  client: AgentClient,
  ask: (stream: number) => Promise<unknown>,
): Promise<Record<string, unknown>[]> {
  const stream = client.openStream("in");
  const [bytes] = await Promise.all([stream.collect(), ask(stream.id)]);
  const found: Record<string, unknown>[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = measureValue(bytes, at);
    found.push(decodeValue(bytes.subarray(at, end)) as Record<string, unknown>);
    at = end;
  }
  return found;
}

Deno.test("files of every size come back as they were written", async (t) => {
  await using agent = await connectAgent();
  // Files in memory take a shorter way than those that may have to wait for a disk.
  const memory = await Deno.makeTempDir({ dir: "/dev/shm" });
  try {
    for (const dir of [agent.dir, memory]) {
      for (const size of [0, 1, 65_535, 65_536, 262_144, 262_145, 5_000_000]) {
        await t.step(`${size} bytes in ${dir.split("/").slice(0, -1).join("/")}`, async () => {
          const data = new Uint8Array(size).map((_, i) => (i * 31 + (i >> 8)) & 255);
          const path = `${dir}/data`;
          assertEquals(await writeFile(agent.client, path, data), size);
          assert(equalBytes(await Deno.readFile(path), data));
          assert(equalBytes(await readFile(agent.client, path), data));
        });
      }
    }
  } finally {
    await Deno.remove(memory, { recursive: true });
  }
});

Deno.test("a file in memory is read in part, reported in full, and given up when refused", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const file = await Deno.makeTempFile({ dir: "/dev/shm" });
  try {
    await Deno.writeFile(file, new Uint8Array(3_000_000).fill(7));
    const ask = async (fields: { offset?: number; length?: number }) => {
      const stream = client.openStream("in");
      const request = client.request("readFile", {
        path: toBytes(file),
        stream: stream.id,
        ...fields,
      });
      const [bytes, { size }] = await Promise.all([stream.collect(), request]);
      assertEquals(bytes.length, size);
      return size;
    };
    assertEquals(await ask({}), 3_000_000);
    assertEquals(await ask({ offset: 2_999_990 }), 10);
    assertEquals(await ask({ offset: 5, length: 100_000 }), 100_000);
    assertEquals(await ask({ offset: 4_000_000 }), 0);
    assertEquals(await ask({ length: 0 }), 0);
    const stream = client.openStream("in");
    const release = Promise.withResolvers<void>();
    stream.receive(() => release.promise);
    const refused = client.request("readFile", { path: toBytes(file), stream: stream.id });
    await client.request("ping", {});
    stream.discard();
    assertEquals(await errnoOf(refused), "CANCELLED");
    release.resolve();
    assertEquals((await client.request("counters", {})).streams, 0);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("readFile gives a part", async () => {
  await using agent = await connectAgent();
  const path = `${agent.dir}/data`;
  await Deno.writeTextFile(path, "0123456789");
  const part = (options: { offset?: number; length?: number }) =>
    readFile(agent.client, path, options).then(toText);
  assertEquals(await part({ offset: 3 }), "3456789");
  assertEquals(await part({ offset: 3, length: 4 }), "3456");
  assertEquals(await part({ length: 0 }), "");
  assertEquals(await part({ offset: 100 }), "");
});

Deno.test("writeFile appends, refuses what exists, sets modes, makes folders", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  await writeFile(client, `${dir}/a`, "one");
  await writeFile(client, `${dir}/a`, "two", { append: true });
  assertEquals(await Deno.readTextFile(`${dir}/a`), "onetwo");
  assertEquals(await errnoOf(writeFile(client, `${dir}/a`, "x", { createNew: true })), "EEXIST");
  await writeFile(client, `${dir}/a`, "short", { mode: 0o640 });
  assertEquals(await Deno.readTextFile(`${dir}/a`), "short");
  assertEquals((await Deno.stat(`${dir}/a`)).mode! & 0o7777, 0o640);
  assertEquals(await errnoOf(writeFile(client, `${dir}/x/y/z`, "deep")), "ENOENT");
  await writeFile(client, `${dir}/x/y/z`, "deep", { parents: true });
  assertEquals(await Deno.readTextFile(`${dir}/x/y/z`), "deep");
});

Deno.test("a failed write ends its stream and says why", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const big = new Uint8Array(3_000_000);
  assertEquals(await errnoOf(writeFile(client, "/dev/full", big)), "ENOSPC");
  assertEquals(await errnoOf(writeFile(client, "/no/such/folder/file", big)), "ENOENT");
  assertEquals((await client.request("counters", {})).streams, 0);
});

Deno.test("every operation on paths does its work, and names what failed", async (t) => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  const at = (name: string) => toBytes(`${dir}/${name}`);
  const stat = (name: string, follow = false) => client.request("stat", { path: at(name), follow });
  await Deno.writeTextFile(`${dir}/f`, "12345");

  await t.step("stat", async () => {
    const info = await stat("f");
    const host = await Deno.stat(`${dir}/f`);
    assertEquals([info.type, info.size, info.ino], [8, 5n, BigInt(host.ino!)]);
    assertEquals(info.mtimeNs / 1_000_000n, BigInt(host.mtime!.getTime()));
    assertEquals(await errnoOf(stat("none")), "ENOENT");
    const error = await assertRejects(() => stat("none"), GuestError);
    assertEquals([error.op, error.path], ["stat", `${dir}/none`]);
  });
  await t.step("mkdir", async () => {
    await client.request("mkdir", { path: at("d"), mode: 0o700, recursive: false });
    assertEquals((await stat("d")).mode, 0o700);
    const again = client.request("mkdir", { path: at("d"), mode: 0o700, recursive: false });
    assertEquals(await errnoOf(again), "EEXIST");
    await client.request("mkdir", { path: at("d/e/f//g/"), mode: 0o755, recursive: true });
    await client.request("mkdir", { path: at("d/e/f/g"), mode: 0o755, recursive: true });
    assertEquals((await stat("d/e/f/g")).type, 4);
    const file = client.request("mkdir", { path: at("f"), mode: 0o755, recursive: true });
    assertEquals(await errnoOf(file), "EEXIST");
  });
  await t.step("rename, link, symlink, readLink, realPath", async () => {
    await client.request("rename", { path: at("f"), to: at("f2") });
    await client.request("link", { path: at("f2"), to: at("f3") });
    assertEquals((await stat("f3")).nlink, 2);
    await client.request("symlink", { path: at("l"), to: toBytes("f3") });
    assertEquals((await stat("l")).type, 10);
    assertEquals((await stat("l", true)).type, 8);
    assertEquals(toText((await client.request("readLink", { path: at("l") })).to), "f3");
    assertEquals(toText((await client.request("realPath", { path: at("l") })).to), `${dir}/f3`);
    assertEquals(await errnoOf(client.request("readLink", { path: at("f3") })), "EINVAL");
    assertEquals(
      await errnoOf(client.request("rename", { path: at("no"), to: at("x") })),
      "ENOENT",
    );
  });
  await t.step("chmod, truncate, utime, chown", async () => {
    await client.request("chmod", { path: at("f3"), mode: 0o4751 });
    assertEquals((await stat("f3")).mode, 0o4751);
    await client.request("truncate", { path: at("f3"), size: 5_000_000_000 });
    assertEquals((await stat("f3")).size, 5_000_000_000n);
    const times = { atimeNs: -1_500_000_001n, mtimeNs: 1_234_567_890_123_456_789n };
    await client.request("utime", { path: at("f3"), follow: true, ...times });
    const { atimeNs, mtimeNs } = await stat("f3");
    assertEquals({ atimeNs, mtimeNs }, times);
    await client.request("chown", { path: at("f3"), uid: -1, gid: Deno.gid()!, follow: true });
    assertEquals(await errnoOf(client.request("chmod", { path: at("f3"), mode: -1 })), "LIMIT");
  });
  await t.step("mknod and statfs", async () => {
    await client.request("mknod", { path: at("fifo"), mode: 0o010644, dev: 0n });
    assertEquals((await stat("fifo")).type, 1);
    const { blockSize, blocks, nameMax } = await client.request("statfs", { path: at("") });
    assert(blockSize > 0n && blocks > 0n && nameMax === 255n);
  });
  await t.step("remove", async () => {
    const remove = (name: string, recursive = false) =>
      client.request("remove", { path: at(name), recursive });
    await remove("l");
    assertEquals((await stat("f3")).type, 8, "what a link points at stays");
    assertEquals(await errnoOf(remove("d")), "ENOTEMPTY");
    await Deno.symlink("/etc", `${dir}/d/etc`);
    await remove("d", true);
    assertEquals(await errnoOf(stat("d")), "ENOENT");
    assert((await Deno.stat("/etc/passwd")).isFile);
    assertEquals(await errnoOf(remove("d", true)), "ENOENT");
    await remove("f2", true);
  });
});

Deno.test("paths that are none are refused", async (t) => {
  await using agent = await connectAgent();
  const rows: [string, Uint8Array, string][] = [
    ["with a NUL", toBytes("/etc/\0passwd"), "EINVAL"],
    ["of 5000 bytes", new Uint8Array(5000).fill(97), "ENAMETOOLONG"],
    ["empty", new Uint8Array(0), "ENOENT"],
  ];
  for (const [name, path, errno] of rows) {
    await t.step(name, async () => {
      const action = agent.client.request("stat", { path, follow: true });
      assertEquals(await errnoOf(action), errno);
    });
  }
});

Deno.test("readDir lists odd names with their types", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  await Deno.mkdir(`${dir}/list`);
  const names = ["plain", "with space", "new\nline", "ü", "-x", "a".repeat(255)];
  for (const name of names) await Deno.writeTextFile(`${dir}/list/${name}`, "");
  const bytes = new Uint8Array([...toBytes(`${dir}/list/`), 0xff, 0xfe]);
  await client.request("mkdir", { path: bytes, mode: 0o755, recursive: false });
  const path = toBytes(`${dir}/list`);
  const entries = await values(client, (stream) => client.request("readDir", { path, stream }));
  const found = entries.map((entry) => toText(entry.name as Uint8Array)).sort();
  assertEquals(found, [...names, "\ufffd\ufffd"].sort());
  const odd = entries.find((entry) => (entry.name as Uint8Array)[0] === 0xff);
  assertEquals([odd?.type, odd?.name], [4, new Uint8Array([0xff, 0xfe])]);
});

Deno.test("readDir streams folders of any size", async () => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  await Deno.mkdir(`${dir}/many`);
  for (let i = 0; i < 3000; i++) {
    await Deno.writeTextFile(`${dir}/many/${"entry".repeat(20)}${i}`, "");
  }
  const path = toBytes(`${dir}/many`);
  let count = 0;
  const entries = await values(client, async (stream) => {
    count = (await client.request("readDir", { path, stream })).count;
  });
  assertEquals([entries.length, count], [3000, 3000]);
  const missing = client.openStream("in");
  const action = client.request("readDir", { path: toBytes("/nope"), stream: missing.id });
  assertEquals(await errnoOf(action), "ENOENT");
});

Deno.test("glob matches as a shell does", async (t) => {
  await using agent = await connectAgent();
  const { client, dir } = agent;
  for (const path of ["a.ts", "b.ts", ".hidden.ts", "sub/c.ts", "sub/deep/d.ts", "x[1]"]) {
    await writeFile(client, `${dir}/g/${path}`, "", { parents: true });
  }
  const rows: [string, string[]][] = [
    ["*.ts", ["a.ts", "b.ts"]],
    ["[ab].ts", ["a.ts", "b.ts"]],
    ["?.ts", ["a.ts", "b.ts"]],
    [".*.ts", [".hidden.ts"]],
    ["*/c.ts", ["sub/c.ts"]],
    ["**/*.ts", ["a.ts", "b.ts", "sub/c.ts", "sub/deep/d.ts"]],
    ["sub/**/d.ts", ["sub/deep/d.ts"]],
    ["a.ts", ["a.ts"]],
    ["none*", []],
    ["no/such/*", []],
  ];
  for (const [pattern, expected] of rows) {
    await t.step(pattern, async () => {
      const whole = toBytes(`${dir}/g/${pattern}`);
      const found = await values(
        client,
        (stream) => client.request("glob", { pattern: whole, stream }),
      );
      const paths = (found as unknown as Uint8Array[]).map(toText);
      assertEquals(paths.sort(), expected.map((path) => `${dir}/g/${path}`));
    });
  }
});

Deno.test("extended attributes are set, listed, read and removed", async () => {
  await using agent = await connectAgent();
  const { client } = agent;
  const path = toBytes(await Deno.makeTempFile({ dir: "/dev/shm" }));
  const name = toBytes("trusted.belljar");
  const follow = true;
  try {
    await client.request("setXattr", { path, name, data: toBytes("value\0x"), follow });
    const { names } = await client.request("listXattr", { path, follow });
    assert(names.map(toText).includes("trusted.belljar"));
    assertEquals(
      toText((await client.request("getXattr", { path, name, follow })).data),
      "value\0x",
    );
    await client.request("removeXattr", { path, name, follow });
    assertEquals(await errnoOf(client.request("getXattr", { path, name, follow })), "ENODATA");
  } finally {
    await Deno.remove(toText(path));
  }
});
