/** Machines: how fast they start, how fast they answer, how much memory they take. */
import { lab, type Vm } from "../../src/lab/mod.ts";
import { resolveImage } from "../../src/image/mod.ts";
import { Scope } from "../../src/scope/mod.ts";
import { type Machine, vmmFor } from "../../src/vmm/mod.ts";
import type { AgentClient } from "../../src/wire/mod.ts";
import { figures, ms, type Row, timeEach } from "./measure.ts";
import { RawPort } from "./raw_port.ts";

const MIB = 1024 * 1024;

/** How often each thing is measured. */
export interface Effort {
  boots: number;
  clones: number;
  pings: number;
  runs: number;
  bulkBytes: number;
}

let serial = 0;

/** Runs `body` with a scope of its own, in which what it makes is closed. */
async function scoped<T>(body: () => Promise<T>): Promise<T> {
  await using scope = new Scope("bench");
  return await scope.run(body);
}

function machine(memory: string, cold: boolean): Promise<Vm> {
  return lab.vm(`bench${++serial}`, "tiny", { memory }).boot({ cold });
}

/** Time from `boot()` to the first answer, and then from `boot()` through one command to the end of the machine. */
export async function startUp(effort: Effort): Promise<Row[]> {
  const start = (memory: string, cold: boolean) => () =>
    scoped(async () => {
      const started = performance.now();
      const vm = await machine(memory, cold);
      await vm.clock.get();
      return performance.now() - started;
    });
  const whole = (cold: boolean) => () =>
    scoped(async () => (await machine("256M", cold)).run("true", { check: true }));
  const sample = async (runs: number, fn: () => Promise<number>) => {
    const samples: number[] = [];
    for (let i = 0; i < runs; i++) samples.push(await fn());
    return figures(samples);
  };
  // In turns, so that the machine's speed is the same for both sides of each ratio.
  await start("256M", false)(); // Builds the template.
  await start("128M", false)();
  await start("1G", false)();
  const cold = await sample(effort.boots, start("256M", true));
  const clone = await sample(effort.clones, start("256M", false));
  const small = await sample(effort.clones, start("128M", false));
  const large = await sample(effort.clones, start("1G", false));
  const wholeCold = figures(await timeEach(effort.boots, whole(true)));
  const wholeClone = figures(await timeEach(effort.clones, whole(false)));
  const ratio = cold.p50 / clone.p50;
  const sizes = large.p50 / small.p50;
  const tests = wholeCold.p50 / wholeClone.p50;
  return [
    {
      measure: "cold boot to first reply",
      result: `${ms(cold.p50)} (p99 ${ms(cold.p99)})`,
      values: { ...cold },
    },
    {
      measure: "clone to first reply, against a cold boot",
      result: `${ms(clone.p50)} (p99 ${ms(clone.p99)}): ${ratio.toFixed(1)} × faster`,
      target: "≥ 15 ×",
      met: ratio >= 15,
      values: { ...clone, ratio },
    },
    {
      measure: "clone of a 1 GiB machine, against 128 MiB",
      result: `${ms(large.p50)} against ${ms(small.p50)}: ${sizes.toFixed(2)} ×`,
      target: "≤ 1.3 ×",
      met: sizes <= 1.3,
      values: { large: large.p50, small: small.p50, ratio: sizes },
    },
    {
      measure: "fresh machine, one command, discard: tests per second, against cold boots",
      result: `${(1000 / wholeClone.p50).toFixed(2)}/s against ${
        (1000 / wholeCold.p50).toFixed(2)
      }/s: ${tests.toFixed(1)} ×`,
      target: "≥ 12 ×",
      met: tests >= 12,
      values: { clone: wholeClone.p50, cold: wholeCold.p50, ratio: tests },
    },
  ];
}

/** Round trips and bytes of the agent, against the bare port in a machine of the same kind. */
export async function conversation(effort: Effort): Promise<Row[]> {
  const image = await resolveImage("tiny");
  const vmm = await vmmFor();
  await using agent = await vmm.launch({
    name: "bench-talk",
    image,
    memoryBytes: 256 * MIB,
    cpus: 1,
    cold: true,
  });
  await using raw = await RawPort.boot(image);
  const client = clientOf(agent);
  const ping = () => client.request("ping", {});
  await timeEach(200, ping);
  await timeEach(200, () => raw.echo(32));
  const pings: number[] = [];
  const echoes: number[] = [];
  for (let round = 0; round < 5; round++) {
    pings.push(...await timeEach(effort.pings / 5, ping));
    echoes.push(...await timeEach(effort.pings / 5, () => raw.echo(32)));
  }
  const [agentPing, rawEcho] = [figures(pings), figures(echoes)];
  const bulk = await throughput(client, raw, effort.bulkBytes);
  const ratio = agentPing.p50 / rawEcho.p50;
  return [
    {
      measure: `agent ping over ${agent.info.transport}, against the raw echo of the same port`,
      result: `p50 ${ms(agentPing.p50)}, p99 ${ms(agentPing.p99)} against p50 ${
        ms(rawEcho.p50)
      }, p99 ${ms(rawEcho.p99)}: ${ratio.toFixed(2)} ×`,
      target: "≤ 1.5 ×",
      met: ratio <= 1.5,
      values: {
        p50: agentPing.p50,
        p99: agentPing.p99,
        rawP50: rawEcho.p50,
        rawP99: rawEcho.p99,
        ratio,
      },
    },
    ...bulk,
  ];
}

async function throughput(client: AgentClient, raw: RawPort, size: number): Promise<Row[]> {
  const path = new TextEncoder().encode("/dev/null");
  const zero = new TextEncoder().encode("/dev/zero");
  const rate = async (fn: () => Promise<unknown>) => {
    const started = performance.now();
    await fn();
    return size / MIB / ((performance.now() - started) / 1000);
  };
  const send = async () => {
    const stream = client.openStream("out");
    const done = client.request("writeFile", { path, stream: stream.id }, { timeoutMs: Infinity });
    const part = new Uint8Array(MIB);
    for (let sent = 0; sent < size; sent += part.length) await stream.write(part);
    stream.end();
    await done;
  };
  const take = async () => {
    const stream = client.openStream("in");
    let got = 0;
    stream.receive((chunk) => void (got += chunk.length));
    const request = { path: zero, stream: stream.id, length: size };
    await client.request("readFile", request, { timeoutMs: Infinity });
    if (got !== size) throw new Error(`${got} of ${size} bytes came`);
  };
  const rates: Record<"in" | "out" | "rawIn" | "rawOut", number[]> = {
    in: [],
    out: [],
    rawIn: [],
    rawOut: [],
  };
  for (let round = 0; round < 3; round++) {
    rates.out.push(await rate(send));
    rates.rawOut.push(await rate(() => raw.drain(size)));
    rates.in.push(await rate(take));
    rates.rawIn.push(await rate(() => raw.source(size)));
  }
  const row = (measure: string, own: number[], bare: number[]): Row => {
    const [a, b] = [figures(own).p50, figures(bare).p50];
    return {
      measure,
      result: `${a.toFixed(0)} MiB/s against ${b.toFixed(0)} MiB/s: ${(a / b * 100).toFixed(0)} %`,
      target: "≥ 70 %",
      met: a / b >= 0.7,
      values: { mibPerSecond: a, rawMibPerSecond: b, ratio: a / b },
    };
  };
  return [
    row("host → guest bytes, against the raw port", rates.out, rates.rawOut),
    row("guest → host bytes, against the raw port", rates.in, rates.rawIn),
  ];
}

/** One command through everything that `vm.run()` does. */
export function commands(effort: Effort): Promise<Row[]> {
  return scoped(async () => {
    const vm = await machine("256M", true);
    await timeEach(20, () => vm.run("true"));
    const shell = figures(await timeEach(effort.runs, () => vm.run("true")));
    const direct = figures(await timeEach(effort.runs, () => vm.run("true", { args: [] })));
    return [{
      measure: '`vm.run("true")`: by the shell, and directly',
      result: `p50 ${ms(shell.p50)}, p99 ${ms(shell.p99)}; p50 ${ms(direct.p50)}, p99 ${
        ms(direct.p99)
      }`,
      values: { shellP50: shell.p50, directP50: direct.p50 },
    }];
  });
}

/** Memory of ten clones together, against one machine that was booted. */
export async function memory(): Promise<Row[]> {
  const vmm = await vmmFor();
  const image = await resolveImage("tiny");
  const spec = { image, memoryBytes: 256 * MIB, cpus: 1 };
  let coldKb: number;
  {
    await using cold = await vmm.launch({ ...spec, name: "cold", cold: true });
    await clientOf(cold).request("ping", {});
    coldKb = await pssKb(cold.info.pid);
  }
  await using clones = new AsyncDisposableStack();
  const started = performance.now();
  const machines = await Promise.all(
    Array.from({ length: 10 }, (_, i) => vmm.launch({ ...spec, name: `clone${i}` })),
  );
  for (const each of machines) clones.use(each);
  await Promise.all(machines.map((each) => clientOf(each).request("ping", {})));
  const elapsed = performance.now() - started;
  const each = await Promise.all(machines.map(({ info }) => pssKb(info.pid)));
  const total = each.reduce((sum, kb) => sum + kb, 0);
  const ratio = total / coldKb;
  return [
    {
      measure: "10 clones of a 256 MiB machine: total PSS, against one that was booted",
      result: `${(total / 1024).toFixed(0)} MiB against ${(coldKb / 1024).toFixed(0)} MiB: ${
        ratio.toFixed(2)
      } ×`,
      target: "≤ 3 ×",
      met: ratio <= 3,
      values: { totalMiB: total / 1024, coldMiB: coldKb / 1024, ratio },
    },
    {
      measure: "10 clones at once, until all have answered",
      result: ms(elapsed),
      target: "≤ 3 s",
      met: elapsed <= 3_000,
      values: { elapsedMs: elapsed },
    },
  ];
}

function clientOf(machine: Machine): AgentClient {
  if (!machine.client) throw new Error(`machine "${machine.name}" has no agent`);
  return machine.client;
}

/** Proportional set size: shared pages count by the number of their sharers (proc_pid_smaps(5)). */
async function pssKb(pid: number): Promise<number> {
  const text = await Deno.readTextFile(`/proc/${pid}/smaps_rollup`);
  return Number(/^Pss:\s+(\d+) kB$/m.exec(text)?.[1]);
}
