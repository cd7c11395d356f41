import { assertEquals, assertThrows } from "@std/assert";
import { decodeLz4Legacy } from "../../src/image/_lz4.ts";

const MAGIC = [0x02, 0x21, 0x4c, 0x18];
const text = (value: string) => new TextEncoder().encode(value);

function frame(...blocks: number[][]): Uint8Array {
  const parts = blocks.flatMap((block) => [block.length, 0, 0, 0, ...block]);
  return new Uint8Array([...MAGIC, ...parts]);
}

async function lz4(bytes: Uint8Array): Promise<Uint8Array> {
  const child = new Deno.Command("lz4", {
    args: ["-l", "-9", "-c", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(bytes).then(() => writer.close());
  const { success, stdout } = await child.output();
  await written;
  assertEquals(success, true);
  return stdout;
}

Deno.test("decodeLz4Legacy() reads literals, matches and overlapping matches", async (t) => {
  const rows: [string, number[], string][] = [
    ["literals", [0x30, 0x61, 0x62, 0x63], "abc"],
    // "ab", then four bytes from two back, which overlap; then one literal.
    ["overlap", [0x20, 0x61, 0x62, 2, 0, 0x10, 0x63], "abababc"],
    ["run", [0x1f, 0x78, 1, 0, 0, 0x10, 0x79], "x".repeat(20) + "y"],
    ["copy", [0x40, 0x61, 0x62, 0x63, 0x64, 4, 0, 0x10, 0x65], "abcdabcde"],
  ];
  for (const [name, block, expected] of rows) {
    await t.step(name, () => {
      assertEquals(decodeLz4Legacy(frame(block), expected.length), text(expected));
    });
  }
});

Deno.test({
  name: "decodeLz4Legacy() reads what lz4 wrote, over several blocks",
  // lz4 is a tool of the build only; its absence says nothing about the decoder.
  ignore: !(await hasLz4()),
  fn: async () => {
    const bytes = new Uint8Array(9 * 1024 * 1024);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * i >> 7) & (i >> 13);
    const packed = await lz4(bytes);
    assertEquals(decodeLz4Legacy(packed, bytes.length), bytes);
  },
});

Deno.test("decodeLz4Legacy() refuses damaged data", async (t) => {
  const rows: [string, Uint8Array, number, string][] = [
    ["no magic", new Uint8Array(8), 1, "magic"],
    ["long block", new Uint8Array([...MAGIC, 200, 0, 0, 0, 1]), 1, "a block of 200 bytes"],
    ["short output", frame([0x10, 0x61]), 2, "got 1 bytes, expected 2"],
    ["long output", frame([0x20, 0x61, 0x62]), 1, "too long"],
    ["literals", frame([0x30, 0x61]), 3, "literals are cut off"],
    ["offset", frame([0x10, 0x61, 1]), 9, "an offset is cut off"],
    ["far offset", frame([0x10, 0x61, 2, 0]), 9, "points nowhere"],
    ["zero offset", frame([0x10, 0x61, 0, 0]), 9, "points nowhere"],
    ["length", frame([0xf0, 255]), 400, "a length is cut off"],
    ["long match", frame([0x1f, 0x61, 1, 0, 200]), 9, "too long"],
  ];
  for (const [name, bytes, size, message] of rows) {
    await t.step(
      name,
      () => void assertThrows(() => decodeLz4Legacy(bytes, size), SyntaxError, message),
    );
  }
});

Deno.test("decodeLz4Legacy() ends with a SyntaxError or a result for any bytes", () => {
  let state = 20_240_607;
  const next = () => (state = Math.imul(state, 1_103_515_245) + 12_345 >>> 0) >>> 16;
  for (let round = 0; round < 20_000; round++) {
    const block = Array.from({ length: next() % 24 }, () => next() & 0xff);
    try {
      decodeLz4Legacy(frame(block), next() % 64);
    } catch (error) {
      assertEquals((error as Error).name, "SyntaxError");
    }
  }
});

async function hasLz4(): Promise<boolean> {
  try {
    return (await new Deno.Command("lz4", { args: ["--version"] }).output()).success;
  } catch {
    return false;
  }
}
