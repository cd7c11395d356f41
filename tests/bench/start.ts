/** How fast machines start. */
import { lab, type Vm } from "../../src/lab/mod.ts";
import { type Bench, scoped } from "./bench.ts";
import { inTurns, median, ms, type Row, time, times } from "./measure.ts";

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

/** Rows of `fresh`: what a test costs that has a machine of its own. */
export async function freshRows({ effort, tell }: Bench): Promise<Row[]> {
  const whole = (cold: boolean) => () =>
    time(() => scoped(async () => (await machine("256M", cold)).run("true", { check: true })));
  await whole(false)();
  const { rounds, clonesPerRound } = effort;
  tell(`${rounds} cold boots, and ${rounds * clonesPerRound} clones in turns with them`);
  const { cold, clone } = await inTurns(rounds, {
    cold: { times: 1, sample: whole(true) },
    clone: { times: clonesPerRound, sample: whole(false) },
  });
  const ratio = cold.p50 / clone.p50;
  return [{
    id: "fresh",
    measure: "fresh machine, one command, discard: tests per second, against cold boots",
    result: `${(1000 / clone.p50).toFixed(2)}/s against ${(1000 / cold.p50).toFixed(2)}/s: ${
      times(ratio)
    }`,
    target: "≥ 12 ×",
    met: ratio >= 12,
    values: { cloneMs: clone.p50, coldMs: cold.p50, ratio, runs: clone.runs },
  }];
}
