import { assert, assertEquals } from "@std/assert";
import { parseProcessorTimes, ProcessorRoom } from "../../src/host/mod.ts";

const STAT = `cpu  100 10 50 800 20 5 10 5 7 3
cpu0 50 5 25 400 10 3 5 2 4 2
cpu1 50 5 25 400 10 2 5 3 3 1
intr 12345 0 0
`;

Deno.test("parseProcessorTimes() counts what is neither idle nor a wait for a disk", () => {
  assertEquals(parseProcessorTimes(STAT), { busy: 180, idle: 820, processors: 2 });
});

/** Two processors, of which the given share was busy in each span of a second. */
function room(...spans: (number | "unreadable")[]): ProcessorRoom {
  let at = -1, busy = 0, idle = 0;
  return new ProcessorRoom(() => {
    const share = spans[at++];
    if (share === "unreadable") return Promise.reject(new Error("no /proc"));
    busy += 200 * (share ?? 0);
    idle += 200 * (1 - (share ?? 0));
    return Promise.resolve(`cpu  ${busy} 0 0 ${idle} 0 0 0 0\ncpu0 0\ncpu1 0\n`);
  }, () => at * 1000);
}

Deno.test("ProcessorRoom.measure() tells what is free between two looks, own work not counted", async (t) => {
  const rows: [name: string, spans: number[], ownMs: number[], expected: number[]][] = [
    ["idle, then half busy", [0, 0.5], [0, 0, 0], [0, 2, 1]],
    ["all busy", [1], [0, 0], [0, 0]],
    ["all busy, half of it by what could be left", [1], [0, 1000], [0, 1]],
    ["own work is counted for its span alone", [1, 1], [0, 1000, 1000], [0, 1, 0]],
    ["never more than there are", [0], [0, 5000], [0, 2]],
  ];
  for (const [name, spans, ownMs, expected] of rows) {
    await t.step(name, async () => {
      const one = room(...spans);
      const found: number[] = [];
      for (const own of ownMs) found.push(Math.round(await one.measure(own) * 1000) / 1000);
      assertEquals(found, expected);
    });
  }
});

Deno.test("ProcessorRoom.measure() finds no room where nothing can be read", async () => {
  assertEquals(await room("unreadable").measure(0), 0);
  const one = room(0.25, "unreadable");
  assertEquals([await one.measure(0), await one.measure(0), await one.measure(0)], [0, 1.5, 0]);
});

Deno.test("ProcessorRoom.measure() keeps its word for spans that are too short to tell", async () => {
  let now = 0, looks = 0;
  const one = new ProcessorRoom(
    () => Promise.resolve(`cpu  ${++looks * 50} 0 0 ${looks * 150} 0 0 0 0\ncpu0 0\n`),
    () => now,
  );
  assertEquals(await one.measure(0), 0);
  now = 1000;
  assertEquals(await one.measure(0), 0.75);
  now = 1010;
  assertEquals(await one.measure(900), 0.75);
});

Deno.test("ProcessorRoom.measure() reads this host's processors", async () => {
  const one = new ProcessorRoom();
  await one.measure(0);
  await new Promise((resolve) => setTimeout(resolve, 150));
  const free = await one.measure(0);
  assert(free >= 0 && free <= navigator.hardwareConcurrency, `${free}`);
});
