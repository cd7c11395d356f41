import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  encodeFrame,
  encodeMap,
  FrameKind,
  FrameReader,
  toBytes,
  writeAll,
} from "../../src/wire/mod.ts";
import { shakeHands } from "../../src/wire/handshake.ts";
import { startAgent } from "./_agent.ts";

const SOURCES = new URL("../../src/agent", import.meta.url).pathname;
const SEED = 20_240_601;
const COUNT = 100_000;
const TOTAL = 5_000;

/** Builds the fuzzer with the sanitizers. */
async function buildFuzzer(dir: string): Promise<string> {
  const names = (await Array.fromAsync(Deno.readDir(SOURCES), ({ name }) => name))
    .filter((name) => name.endsWith(".c") && name !== "main.c");
  const flags = ["-std=c11", "-D_GNU_SOURCE", "-pthread", "-g", "-O1", "-Wall", "-Wextra"];
  const checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"];
  const { success, stderr } = await new Deno.Command("cc", {
    args: [...flags, ...checks, ...names.map((name) => `${SOURCES}/${name}`), "-o", `${dir}/fuzz`],
    stdout: "null",
    stderr: "piped",
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return `${dir}/fuzz`;
}

Deno.test(`the decoders survive ${COUNT} malformed inputs`, async () => {
  const dir = await Deno.makeTempDir();
  try {
    const fuzzer = await buildFuzzer(dir);
    const { code, stdout, stderr } = await new Deno.Command(fuzzer, {
      args: [`${SEED}`, `${COUNT}`],
    }).output();
    assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
    const text = new TextDecoder().decode(stdout);
    assertMatch(text, /^\d+ of 100000 decoded\n$/);
    const decoded = Number(text.split(" ")[0]);
    assert(decoded > COUNT / 10 && decoded < COUNT * 9 / 10, `one-sided inputs: ${text}`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

/** Mulberry32: a small generator with a seed. */
function generator(seed: number): (limit: number) => number {
  return (limit) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  };
}

Deno.test("requests that are mangled are answered by errors, and the conversation goes on", async () => {
  await using agent = await startAgent();
  const { conn, secret } = agent;
  const draw = generator(SEED);
  const samples = [
    { op: "ping" },
    { op: "stat", path: toBytes("/"), follow: true },
    { op: "readLink", path: toBytes("/proc/self/exe") },
    { op: "fileRead", file: 3, length: 10 },
    { op: "procStatus", proc: 4 },
    { op: "procSignal", proc: 4, sig: 0, target: 2 },
    { op: "syscall", nr: 1_000_000, args: [1n], bufs: [4, toBytes("x")], ptrs: [0, 1] },
    { op: "clockGet" },
    { op: "counters" },
  ].map((sample) => encodeMap(sample));
  const reader = new FrameReader();
  await shakeHands(conn, reader, { machine: "m", secret, epoch: new Uint8Array(16) });
  const answers = (async () => {
    const seen = new Map<number, number>();
    while (seen.size < TOTAL) {
      for (let frame = reader.next(); frame; frame = reader.next()) seen.set(frame.id, frame.kind);
      if (seen.size === TOTAL) break;
      const n = await conn.read(reader.room());
      assert(n !== null, `the agent hung up after ${seen.size} answers`);
      reader.filled(n);
    }
    return seen;
  })();
  for (let id = 1; id <= TOTAL; id++) {
    const sample = samples[draw(samples.length)]!.slice();
    for (let i = draw(3); i > 0; i--) sample[draw(sample.length)] = draw(256);
    const cut = draw(5) === 0 ? sample.subarray(0, draw(sample.length)) : sample;
    await writeAll(conn, encodeFrame(FrameKind.request, 0, id, cut));
  }
  const kinds = [...(await answers).values()];
  const errors = kinds.filter((kind) => kind === FrameKind.error).length;
  const replies = kinds.filter((kind) => kind === FrameKind.reply).length;
  assertEquals(errors + replies, TOTAL);
  assert(errors > TOTAL / 10 && replies > TOTAL / 10, `${errors} errors, ${replies} replies`);
});
