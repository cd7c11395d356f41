/** Round trips and bytes per transport; vsock wherever it can be had. */
import { type Bench, scoped } from "./bench.ts";
import {
  type BulkFigures,
  type Line,
  measureBulk,
  measurePing,
  type PingFigures,
} from "./conversation.ts";
import { type Opener, openLocal, openLoopback, openSerial, openVhost } from "./lines.ts";
import { errorText, ms, notMeasured, type Row, type RowHead, times } from "./measure.ts";
import { measureInOuter } from "./outer.ts";
import { loopbackWorks, vhostWorks } from "./vsock_here.ts";

interface Source {
  /** As users name it. */
  transport: string;
  /** Between what. */
  what: string;
  ping: (bench: Bench) => Promise<PingFigures>;
  bulk: (bench: Bench) => Promise<BulkFigures>;
}

/** Rows of `ping`. */
export function pingRows(bench: Bench): Promise<Row[]> {
  return perTransport(bench, async (source) => {
    const { transport, what } = source;
    const head: RowHead = {
      id: `ping.${transport}`,
      measure: `agent ping over ${transport} (${what}), against a raw echo`,
      target: "≤ 1.5 ×",
    };
    return [
      await attempt(bench, head, async () => {
        const { agent, raw } = await source.ping(bench);
        const ratio = agent.p50 / raw.p50;
        return {
          ...head,
          result: `p50 ${ms(agent.p50)}, p99 ${ms(agent.p99)} against p50 ${ms(raw.p50)}, p99 ${
            ms(raw.p99)
          }: ${times(ratio)}`,
          met: ratio <= 1.5,
          values: {
            p50: agent.p50,
            p99: agent.p99,
            rawP50: raw.p50,
            rawP99: raw.p99,
            ratio,
            runs: agent.runs,
          },
        };
      }),
    ];
  });
}

/** Rows of `throughput`. */
export function throughputRows(bench: Bench): Promise<Row[]> {
  return perTransport(bench, async (source) => {
    const { transport, what } = source;
    const head = (id: string, direction: string): RowHead => ({
      id: `throughput.${transport}.${id}`,
      measure: `${direction} bytes over ${transport} (${what}), against the raw transport`,
      target: "≥ 70 %",
    });
    const heads = [head("to-guest", "host → guest"), head("from-guest", "guest → host")] as const;
    try {
      const bulk = await source.bulk(bench);
      const rates = [
        [bulk.toGuest, bulk.rawToGuest],
        [bulk.fromGuest, bulk.rawFromGuest],
      ] as const;
      return heads.map((head, i): Row => {
        const [own, bare] = rates[i]!;
        const ratio = own.p50 / bare.p50;
        return {
          ...head,
          result: `${own.p50.toFixed(0)} MiB/s against ${bare.p50.toFixed(0)} MiB/s: ${
            (ratio * 100).toFixed(0)
          } %`,
          met: ratio >= 0.7,
          values: {
            mibPerSecond: own.p50,
            lowest: own.min,
            highest: own.max,
            rawMibPerSecond: bare.p50,
            ratio,
            runs: own.runs,
          },
        };
      });
    } catch (error) {
      bench.tell(errorText(error));
      return heads.map((each) => notMeasured(each, errorText(error)));
    }
  });
}

async function attempt(bench: Bench, head: RowHead, fn: () => Promise<Row>): Promise<Row> {
  try {
    return await fn();
  } catch (error) {
    bench.tell(errorText(error));
    return notMeasured(head, errorText(error));
  }
}

async function perTransport(
  bench: Bench,
  rows: (source: Source) => Promise<Row[]>,
): Promise<Row[]> {
  const all: Row[] = [];
  const sources = [
    direct("serial", "a machine of QEMU", openSerial),
    direct("local", "a unix socket, the agent on the host", openLocal),
    await vsock(),
  ];
  for (const source of sources) {
    bench.tell(`${source.transport}: ${source.what}`);
    all.push(...await rows(source));
  }
  return all;
}

function direct(transport: string, what: string, open: Opener): Source {
  const with_ = <T>(fn: (line: Line, bench: Bench) => Promise<T>) => (bench: Bench) =>
    scoped(() => open(bench, (line) => fn(line, bench)));
  return {
    transport,
    what,
    ping: with_((line, { effort }) => measurePing(line, effort)),
    bulk: with_((line, { effort }) => measureBulk(line, effort)),
  };
}

/** vsock, where it is: to machines, to this host itself, or inside a machine that has it. */
async function vsock(): Promise<Source> {
  if (await vhostWorks()) return direct("vsock", "a machine of QEMU", openVhost);
  if (loopbackWorks()) return direct("vsock", "this host with itself, by CID 1", openLoopback);
  return {
    transport: "vsock",
    what: "CID 1 inside of a machine, as this host has none",
    ping: async (bench) => (await measureInOuter(bench)).ping,
    bulk: async (bench) => (await measureInOuter(bench)).bulk,
  };
}
