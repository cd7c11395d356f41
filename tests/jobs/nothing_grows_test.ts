/**
 * What is done again and again leaves nothing: no memory, descriptor, process or timer. `BELLJAR_CYCLES` says how often a
 * service is started and stopped; with 1,000 the file takes 50 s on two idle cores.
 */
import { assert, assertEquals } from "@std/assert";
import { scriptArgs } from "./_child.ts";
import type { Figures } from "./fixtures/nothing_grows.ts";

const CYCLES = Number(Deno.env.get("BELLJAR_CYCLES") ?? 300);
const ROOT = new URL("../../", import.meta.url);

/** Growth that is no leak, in KiB: of live JavaScript, and of the two processes. */
const SLACK = { heapKb: 2 * 1024, rssKb: 64 * 1024, agentKb: 1024 };

async function measured(
  ...args: string[]
): Promise<{ before: Figures; after: Figures; text: string }> {
  const [run = "", ...rest] = await scriptArgs("nothing_grows.ts", ...args);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [run, "--v8-flags=--expose-gc", ...rest],
    cwd: ROOT,
    stdin: "null",
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  // It ended by itself: no timer and no operation was left.
  assertEquals(code, 0, decode(stderr));
  const { seconds, before, after } = JSON.parse(decode(stdout));
  const rows = Object.entries(before as Figures).filter(([key]) => key !== "agent")
    .map(([key, value]) => `${key} ${value} -> ${(after as never)[key]}`);
  const agent = after.agent
    ? `; agent ${JSON.stringify(before.agent)} -> ${JSON.stringify(after.agent)}`
    : "";
  return { before, after, text: `${seconds.toFixed(1)} s: ${rows.join(", ")}${agent}` };
}

const WORK = [
  ["jobs #39", "gigabyte", 1, "1 GiB of output"],
  ["jobs #35", "forks", 500, "500 jobs that fork twice"],
  ["jobs #105", "cycles", CYCLES, `${CYCLES} starts and stops of a service`],
] as const;

for (const place of ["host", "agent"]) {
  for (const [id, what, count, title] of WORK) {
    Deno.test(`${id} on the ${place}: ${title} leave nothing behind`, async (t) => {
      const { before, after, text } = await measured(place, what, String(count));
      await t.step(text, () => {
        assertEquals([after.fds, after.processes], [before.fds, before.processes]);
        assertEquals([before.pending, after.pending], [0, 0]);
        assert(after.heapKb - before.heapKb < SLACK.heapKb, "live memory of JavaScript grew");
        assert(after.rssKb - before.rssKb < SLACK.rssKb, "the memory of the harness grew");
        const { rssKb = 0, threads: _, ...counts } = after.agent ?? {};
        const { rssKb: agentKb = 0, threads: __, ...countsBefore } = before.agent ?? {};
        assertEquals(counts, countsBefore);
        assert(rssKb - agentKb < SLACK.agentKb, "the memory of the agent grew");
      });
    });
  }
}
