/** A harness that holds clones which do nothing. It prints what they cost it as one line of JSON. */
import { closeCurrentRun, processesWithToken, processMemory } from "../../src/host/mod.ts";
import { lab } from "../../src/lab/mod.ts";
import { Scope } from "../../src/scope/mod.ts";
import { hostRun } from "../../src/vmm/mod.ts";
import { median } from "./measure.ts";

/** What was measured. */
export interface IdleFigures {
  machines: number;
  /** How much more private memory the harness has with the machines than without. */
  harnessBytes: number;
  /** Private memory of the processes that end QEMU when the harness dies. */
  watcherBytes: number;
}

const MACHINES = 16;
const ROUNDS = 3;
const collect = (globalThis as { gc?: () => void }).gc;

interface Memory {
  /** Private pages. What was given back before may be among them still, and hide what is new. */
  pages: number;
  /** What is in use, without what the runtime keeps beside the heap. */
  live: number;
}

/** Own memory, once nothing more is given back. */
async function settled(): Promise<Memory> {
  let least = Infinity;
  for (let same = 0; same < 5; same++) {
    collect?.();
    await new Promise((resolve) => setTimeout(resolve, 200)); // finalizers and closed connections
    const { anonymousBytes } = (await processMemory(Deno.pid))!;
    if (anonymousBytes < least) same = 0;
    least = Math.min(least, anonymousBytes);
  }
  const { heapUsed, external } = Deno.memoryUsage();
  return { pages: least, live: heapUsed + external };
}

async function withMachines<T>(name: string, fn: () => Promise<T>): Promise<T> {
  await using scope = new Scope(name);
  return await scope.run(async () => {
    const machines = Array.from(
      { length: MACHINES },
      (_, i) => lab.vm(`${name}${i}`, "tiny", { memory: "128M" }),
    );
    for (let i = 0; i < MACHINES; i += 4) {
      await Promise.all(machines.slice(i, i + 4).map((each) => each.boot()));
    }
    for (const each of machines) await each.run("true", { check: true });
    return await fn();
  });
}

async function watcherBytes(): Promise<number> {
  let total = 0;
  for (const { pid, command } of await processesWithToken((await hostRun()).token)) {
    if (command.startsWith("qemu") || pid === Deno.pid) continue;
    total += (await processMemory(pid))?.anonymousBytes ?? 0;
  }
  return total;
}

if (import.meta.main) {
  try {
    // Code, tables and pools that the first machines make, and the heap's size with that many.
    await withMachines("warm", settled);
    const growth: number[] = [];
    const watchers: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const before = await settled();
      await withMachines(`idle${round}-`, async () => {
        const { pages, live } = await settled();
        growth.push(Math.max(pages - before.pages, live - before.live));
        watchers.push(await watcherBytes());
      });
    }
    const figures: IdleFigures = {
      machines: MACHINES,
      harnessBytes: median(growth),
      watcherBytes: median(watchers),
    };
    await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(figures)}\n`));
  } finally {
    await closeCurrentRun();
  }
}
