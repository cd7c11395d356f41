import { assert, assertEquals, assertRejects } from "@std/assert";
import { HostError } from "../../src/errors.ts";
import { sharedMachine } from "./_lab.ts";

const { test } = sharedMachine("copies", { memory: "768M" });

/** Names, types, modes and contents of a tree on the host, by the host's own tools. */
async function describe(root: string): Promise<string> {
  const script = 'cd "$1" && find . -printf "%P|%y|%m|%l\\n" | LC_ALL=C sort; ' +
    "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z | tr '\\0' '\\n'";
  const { stdout } = await new Deno.Command("sh", { args: ["-c", script, "sh", root] }).output();
  return [...stdout].map((byte) => String.fromCharCode(byte)).join("");
}

test("8: a tree with odd names survives both ways", async (vm) => {
  const dir = await Deno.makeTempDir();
  try {
    const make = [
      'cd "$1" && mkdir -p src/sub/empty src/locked && cd src',
      "echo plain > plain && printf 'x\\ny' > 'two\nlines' && echo s > ' spaces '",
      "touch empty && echo dash > -dash && echo bytes > \"$(printf 'b\\377\\376d')\"",
      "chmod 755 plain && chmod 600 empty && chmod 4711 -- -dash",
      "ln -s plain link && ln -s /etc/passwd absolute && ln -s nowhere dangling",
      "echo deep > sub/deep && chmod 500 locked",
    ].join(" && ");
    const made = await new Deno.Command("sh", { args: ["-c", make, "sh", dir] }).output();
    assertEquals(made.success, true);
    await vm.copyIn(`${dir}/src`, "/tmp/tree");
    assertEquals((await vm.stat("/tmp/tree/-dash")).mode, 0o4711);
    assertEquals((await vm.stat("/tmp/tree/locked")).mode, 0o500);
    assertEquals(await vm.readLink("/tmp/tree/absolute"), "/etc/passwd");
    await vm.copyOut("/tmp/tree", `${dir}/back`);
    const expected = (await describe(`${dir}/src`)).replace("|4711|", "|711|");
    assertEquals(await describe(`${dir}/back`), expected);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

test("8: 300 MB go in and out byte-identical, in little memory", async (vm) => {
  const SIZE = 300 * 1024 * 1024;
  const dir = await Deno.makeTempDir();
  try {
    const source = await Deno.open(`${dir}/big`, { write: true, create: true });
    const block = crypto.getRandomValues(new Uint8Array(65536));
    for (let at = 0; at < SIZE; at += block.length) {
      new DataView(block.buffer).setUint32(0, at);
      await source.write(block);
    }
    source.close();
    const before = Deno.memoryUsage().rss;
    let peak = before;
    const watch = setInterval(() => peak = Math.max(peak, Deno.memoryUsage().rss), 20);
    await vm.copyIn(`${dir}/big`, "/tmp/big");
    assertEquals((await vm.stat("/tmp/big")).size, SIZE);
    await vm.copyOut("/tmp/big", `${dir}/copy`);
    clearInterval(watch);
    await vm.remove("/tmp/big");
    const same = await new Deno.Command("cmp", { args: [`${dir}/big`, `${dir}/copy`] }).output();
    assertEquals(same.success, true);
    const grown = (peak - before) / 1024 / 1024;
    assert(grown < 64, `memory grew by ${grown.toFixed(1)} MiB`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

test("8: copyOut() never follows a link that it has written", async (vm) => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/outside`);
    await vm.mkdir("/tmp/evil");
    await vm.symlink(`${dir}/outside`, "/tmp/evil/way-out");
    await vm.copyOut("/tmp/evil", `${dir}/target`);
    assertEquals(await Deno.readLink(`${dir}/target/way-out`), `${dir}/outside`);
    // The second time a folder has the name under which a link lies on the host.
    await vm.remove("/tmp/evil/way-out");
    await vm.mkdir("/tmp/evil/way-out");
    await vm.writeFile("/tmp/evil/way-out/pwned", "x");
    await assertRejects(() => vm.copyOut("/tmp/evil", `${dir}/target`), HostError, "way-out");
    assertEquals(await Array.fromAsync(Deno.readDir(`${dir}/outside`)), []);
    // The same with a file.
    await vm.remove("/tmp/evil/way-out", { recursive: true });
    await vm.writeFile("/tmp/evil/way-out", "x");
    await assertRejects(() => vm.copyOut("/tmp/evil", `${dir}/target`), HostError, "ELOOP");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

test("8: single files, missing sources and special files", async (vm) => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/one`, "1");
    await vm.copyIn(new URL(`file://${dir}/one`), "/tmp/one");
    assertEquals(await vm.readTextFile("/tmp/one"), "1");
    await vm.copyOut("/tmp/one", `${dir}/two`);
    assertEquals(await Deno.readTextFile(`${dir}/two`), "1");
    await assertRejects(() => vm.copyIn(`${dir}/none`, "/tmp/none"), HostError, "ENOENT");
    const missing = await vm.copyOut("/tmp/none", `${dir}/x`).catch((error) => error);
    assertEquals(missing.errno, "ENOENT");
    await vm.mknod("/tmp/pipe", 0o010600);
    await assertRejects(() => vm.copyOut("/tmp/pipe", `${dir}/x`), HostError, "it is a fifo");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
