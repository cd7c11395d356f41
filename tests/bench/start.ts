/** How fast machines start. */
import { pause } from "../../src/host/mod.ts";
import { lab, setStandbys, Standbys, type Vm } from "../../src/lab/mod.ts";
import { type Bench, scoped } from "./bench.ts";
import { type Contender, type Figures, figures, inTurns } from "./measure.ts";
import { median, ms, type Row, times } from "./measure.ts";

let serial = 0;

function machine(memory: string, cold: boolean): Promise<Vm> {
  return lab.vm(`bench${++serial}`, "tiny", { memory }).boot({ cold });
}

/** Rows of `boot`: time from `boot()` to the first answer to a request. */
export async function bootRows({ effort, tell }: Bench): Promise<Row[]> {
  const steps: Record<string, number[]> = {};
  const start = (memory: string, cold: boolean) => () =>
    scoped(async () => {
      const began = performance.now();
      const vm = await machine(memory, cold);
      await vm.clock.get();
      const spent = performance.now() - began;
      if (vm.info.how === "clone" && memory === "256M") {
        for (const [name, value] of Object.entries(vm.info.timings)) {
          (steps[name] ??= []).push(value);
        }
      }
      return spent;
    });
  for (const memory of ["256M", "128M", "1G"]) {
    await start(memory, false)(); // builds the template
    await start(memory, false)();
  }
  for (const samples of Object.values(steps)) samples.length = 0;
  const { rounds, clonesPerRound: clones } = effort;
  tell(`${rounds} cold boots, and ${3 * rounds * clones} clones in turns with them`);
  const { cold, clone, small, large } = await inTurns(rounds, {
    cold: { times: 1, sample: start("256M", true) },
    clone: { times: clones, sample: start("256M", false) },
    small: { times: clones, sample: start("128M", false) },
    large: { times: clones, sample: start("1G", false) },
  });
  const ratio = cold.p50 / clone.p50;
  const sizes = large.p50 / small.p50;
  const medians = Object.fromEntries(
    Object.entries(steps).flatMap(([name, all]) => all.length > 0 ? [[name, median(all)]] : []),
  );
  return [
    {
      id: "boot.cold",
      measure: "cold boot to first reply",
      result: `${ms(cold.p50)} (${ms(cold.min)} to ${ms(cold.max)})`,
      values: { ...cold },
    },
    {
      id: "boot.clone",
      measure: "clone to first reply, against a cold boot",
      result: `${ms(clone.p50)} (${ms(clone.min)} to ${ms(clone.max)}): ${times(ratio)} faster`,
      target: "≥ 15 ×",
      met: ratio >= 15,
      values: { ...clone, ratio, ...medians },
    },
    {
      id: "boot.size",
      measure: "clone of a 1 GiB machine, against one of 128 MiB",
      result: `${ms(large.p50)} against ${ms(small.p50)}: ${times(sizes)}`,
      target: "≤ 1.3 ×",
      met: sizes <= 1.3,
      values: { large: large.p50, small: small.p50, ratio: sizes, runs: large.runs },
    },
  ];
}

/** How long tests of which each has a machine of its own take, one after the other as in a file. */
interface FreshTests {
  /** Milliseconds from a test's begin to the end of its machine, on average. */
  perTest: number;
  /** Milliseconds until each test's machine had booted, but for the first two, for which nothing is prepared. */
  booted: number[];
  /** The same until it had run a command. */
  ready: number[];
}

async function freshTests(
  { cold = false, prepared = false, count, workMs = 0 }: {
    cold?: boolean;
    prepared?: boolean;
    count: number;
    workMs?: number;
  },
): Promise<FreshTests> {
  let left = count;
  await using standbys = new Standbys({
    reserve: () => Promise.resolve({ release() {} }),
    testsAhead: () => left,
  });
  const putBack = setStandbys(prepared ? standbys : undefined);
  const booted: number[] = [], ready: number[] = [];
  const began = performance.now();
  try {
    while (left-- > 0) {
      await scoped(async () => {
        const asked = performance.now();
        const vm = await machine("256M", cold);
        booted.push(performance.now() - asked);
        await vm.run("true", { check: true });
        ready.push(performance.now() - asked);
        if (workMs > 0) await pause(workMs);
      });
    }
  } finally {
    putBack();
  }
  const perTest = (performance.now() - began) / count - workMs;
  return { perTest, booted: booted.slice(2), ready: ready.slice(2) };
}

/** Tests in a row: enough that what is different about the first two hardly counts. */
const IN_A_ROW = 12;
/** What a test does besides: longer than a machine takes to prepare. */
const WORK_MS = 500;

/** Rows of `fresh`: what a test costs that has a machine of its own. */
export async function freshRows({ effort, tell }: Bench): Promise<Row[]> {
  await freshTests({ count: 1 }); // the template
  const { rounds } = effort;
  tell(`${rounds} rounds of a cold boot, and twice ${IN_A_ROW} clones`);
  const perTest = (options: Parameters<typeof freshTests>[0]): Contender => ({
    times: 1,
    sample: async () => (await freshTests(options)).perTest,
  });
  const { cold, clone, prepared } = await inTurns(rounds, {
    cold: perTest({ cold: true, count: 1 }),
    clone: perTest({ count: IN_A_ROW }),
    prepared: perTest({ prepared: true, count: IN_A_ROW }),
  });
  tell(`${IN_A_ROW} tests that go on for ${WORK_MS} ms`);
  const { booted, ready } = await freshTests({ prepared: true, count: IN_A_ROW, workMs: WORK_MS });
  const waited = figures(ready), boot = figures(booted);
  const ratio = cold.p50 / prepared.p50;
  const perSecond = (figures: Figures) => `${(1000 / figures.p50).toFixed(2)}/s`;
  return [{
    id: "fresh",
    measure: "fresh machine, one command, discard: tests per second, against cold boots",
    result: `${perSecond(prepared)} against ${perSecond(cold)}: ${times(ratio)}`,
    target: "≥ 12 ×",
    met: ratio >= 12,
    values: { cloneMs: prepared.p50, coldMs: cold.p50, ratio, runs: prepared.runs * IN_A_ROW },
  }, {
    id: "fresh.unprepared",
    measure: "… with none prepared while the test before it runs",
    result: `${perSecond(clone)}: ${times(cold.p50 / clone.p50)}`,
    values: { cloneMs: clone.p50, ratio: cold.p50 / clone.p50, runs: clone.runs * IN_A_ROW },
  }, {
    id: "fresh.ready",
    measure: `… until it has run a command, where tests go on for ${WORK_MS} ms`,
    result: `${ms(waited.p50)} (${ms(waited.min)} to ${ms(waited.max)}), of it \`boot()\` ${
      ms(boot.p50)
    }, against ${ms(cold.p50)}: ${times(cold.p50 / waited.p50)} faster`,
    values: { ...waited, bootP50: boot.p50, ratio: cold.p50 / waited.p50 },
  }];
}
