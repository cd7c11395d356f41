import { assert, assertEquals, assertThrows } from "@std/assert";
import { encode } from "@std/msgpack";
import { decodeValue, encodeMap, measureValue, WireFormatError } from "../../src/wire/mod.ts";
import { int, map, optional, readShape, str } from "../../src/wire/schema.ts";

Deno.test("decodeValue() reads back what encodeMap() wrote, without missing keys", () => {
  const value = {
    op: "stat",
    path: new Uint8Array([0xff, 0x00]),
    size: 2n ** 40n,
    list: [1, [2]],
    none: undefined,
  };
  const { none: _none, ...kept } = value;
  assertEquals(decodeValue(encodeMap(value)), kept);
});

Deno.test("decodeValue() refuses what is malformed", async (t) => {
  const deep = (depth: number) => {
    let value: unknown = 1;
    for (let i = 0; i < depth; i++) value = [value];
    return encode(value as never);
  };
  const rows: [string, Uint8Array][] = [
    ["nothing", new Uint8Array(0)],
    ["a cut string", new Uint8Array([0xa5, 1])],
    ["a list longer than the payload", new Uint8Array([0xdd, 0xff, 0xff, 0xff, 0xff])],
    ["a map longer than the payload", new Uint8Array([0xdf, 0xff, 0xff, 0xff, 0xff])],
    ["bytes longer than the payload", new Uint8Array([0xc6, 0xff, 0xff, 0xff, 0xff])],
    ["bytes after the value", new Uint8Array([1, 2])],
    ["an extension", new Uint8Array([0xd4, 1, 1])],
    ["the unused type", new Uint8Array([0xc1])],
    ["a list nested 8 deep", deep(8)],
    ["a list nested 10,000 deep", new Uint8Array(10_001).fill(0x91, 0, 10_000)],
    ["a map with a list as a key", new Uint8Array([0x81, 0x91, 1, 1])],
  ];
  for (const [name, payload] of rows) {
    await t.step(name, () => void assertThrows(() => decodeValue(payload), WireFormatError));
  }
  assertEquals(decodeValue(deep(7)), [[[[[[[1]]]]]]]);
});

Deno.test("measureValue() waits for the rest of a partial value", () => {
  const whole = encodeMap({ name: new Uint8Array(300), type: 4 });
  for (let size = 0; size < whole.length; size += 7) {
    assertEquals(measureValue(whole.subarray(0, size), 0, true), -1);
  }
  assertEquals(measureValue(whole, 0, true), whole.length);
});

Deno.test("decodeValue() survives 100,000 seeded inputs", () => {
  let state = 0x2545f491;
  const random = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const good = encodeMap({
    op: "spawn",
    argv: [new Uint8Array(3)],
    big: 2n ** 60n,
    deep: [[{ a: 1 }]],
  });
  let decoded = 0;
  for (let i = 0; i < 100_000; i++) {
    const input = i % 2 === 0
      ? good.slice()
      : Uint8Array.from({ length: random() % 40 }, () => random());
    for (let n = random() % 4; n > 0 && input.length > 0; n--) {
      input[random() % input.length] = random();
    }
    try {
      decodeValue(input);
      decoded++;
    } catch (error) {
      assert(error instanceof WireFormatError, `input ${i}: ${error}`);
    }
  }
  assert(decoded > 1_000, "most inputs must reach the decoder");
});

Deno.test("readShape() takes own keys of the right types only", async (t) => {
  const shape = { code: str, n: optional(int), inner: optional(map({ x: int })) };
  assertEquals(readShape(shape, { code: "a", extra: 1 }, "m"), { code: "a" });
  assertEquals(readShape(shape, { code: "a", n: 5n }, "m"), { code: "a", n: 5 });
  const rows: [string, unknown, string][] = [
    ["missing", {}, "m: key code is missing"],
    ["inherited", Object.create({ code: "a" }), "m: key code is missing"],
    ["wrong type", { code: 3 }, "m.code: expected text, got number 3"],
    ["too large", { code: "a", n: 2n ** 60n }, "m.n: expected an integer below 2^53"],
    ["nested", { code: "a", inner: { x: "y" } }, "m.inner.x: expected an integer"],
    ["no map", [1], "m: expected a map, got a list"],
  ];
  for (const [name, value, message] of rows) {
    await t.step(
      name,
      () => void assertThrows(() => readShape(shape, value, "m"), WireFormatError, message),
    );
  }
});
