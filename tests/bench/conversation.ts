/** What the agent's wire costs on one transport: round trips and bytes, against the bare transport. */
import { type AgentClient, toBytes } from "../../src/wire/mod.ts";
import type { Effort } from "./bench.ts";
import { type Figures, figures, inTurns, time, timeEach } from "./measure.ts";
import type { RawLine } from "./raw_line.ts";

/** An agent, and the bare bytes of the same transport under the same circumstances. */
export interface Line {
  client: AgentClient;
  raw: RawLine;
}

/** Round trips in milliseconds. */
export interface PingFigures {
  agent: Figures;
  raw: Figures;
}

/** MiB per second. */
export interface BulkFigures {
  toGuest: Figures;
  rawToGuest: Figures;
  fromGuest: Figures;
  rawFromGuest: Figures;
}

const MIB = 1024 * 1024;
const PING_BYTES = 32;
const PING_ROUNDS = 10;
const BULK_ROUNDS = 5;
const WARM_UP_BYTES = 32 * MIB;

/** Measures round trips, in turns. */
export async function measurePing({ client, raw }: Line, effort: Effort): Promise<PingFigures> {
  const ping = () => client.request("ping", {});
  const echo = () => raw.echo(PING_BYTES);
  await timeEach(200, ping);
  await timeEach(200, echo);
  const samples = { agent: [] as number[], raw: [] as number[] };
  for (let round = 0; round < PING_ROUNDS; round++) {
    samples.agent.push(...await timeEach(effort.pings / PING_ROUNDS, ping));
    samples.raw.push(...await timeEach(effort.pings / PING_ROUNDS, echo));
  }
  return { agent: figures(samples.agent), raw: figures(samples.raw) };
}

/** Measures bytes both ways, in turns. */
export async function measureBulk({ client, raw }: Line, effort: Effort): Promise<BulkFigures> {
  const size = effort.bulkBytes;
  const rate = (fn: () => Promise<unknown>) => ({
    times: 1,
    sample: async () => size / MIB / (await time(fn) / 1000),
  });
  // The first bytes take paths that nobody has compiled yet.
  await sendTo(client, WARM_UP_BYTES);
  await raw.drain(WARM_UP_BYTES);
  await takeFrom(client, WARM_UP_BYTES);
  await raw.source(WARM_UP_BYTES);
  return await inTurns(BULK_ROUNDS, {
    toGuest: rate(() => sendTo(client, size)),
    rawToGuest: rate(() => raw.drain(size)),
    fromGuest: rate(() => takeFrom(client, size)),
    rawFromGuest: rate(() => raw.source(size)),
  });
}

async function sendTo(client: AgentClient, size: number): Promise<void> {
  const stream = client.openStream("out");
  const request = { path: toBytes("/dev/null"), stream: stream.id };
  const done = client.request("writeFile", request, { timeoutMs: Infinity });
  const part = new Uint8Array(MIB);
  for (let sent = 0; sent < size; sent += part.length) await stream.write(part);
  stream.end();
  await done;
}

async function takeFrom(client: AgentClient, size: number): Promise<void> {
  const stream = client.openStream("in");
  let got = 0;
  // Not kept, like those of the raw line.
  stream.receive((chunk) => void (got += chunk.length), { borrowed: true });
  const request = { path: toBytes("/dev/zero"), stream: stream.id, length: size };
  await client.request("readFile", request, { timeoutMs: Infinity });
  if (got !== size) throw new Error(`${got} of ${size} bytes came`);
}
