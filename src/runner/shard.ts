/** One of several parts into which a run is divided. */
export interface Shard {
  /** From 1. */
  index: number;
  total: number;
}

/** A wrong description of a shard. */
export class ShardError extends RangeError {
  override readonly name = "ShardError";
}

/**
 * Reads `2/3`.
 *
 * @throws {ShardError} If it is of another form.
 */
export function readShard(text: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(text);
  const shard = { index: Number(match?.[1]), total: Number(match?.[2]) };
  if (match && shard.index >= 1 && shard.index <= shard.total) return shard;
  throw new ShardError(
    `Cannot read shard ${JSON.stringify(text)}: expected a number of a number, such as "2/3"`,
  );
}

/** What a CI engine says, with the number of its first shard. */
const VARIABLES: readonly [index: string, total: string, first: number][] = [
  ["TEST_SHARD_INDEX", "TEST_TOTAL_SHARDS", 0],
  ["CI_NODE_INDEX", "CI_NODE_TOTAL", 1],
  ["BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", 0],
  ["CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", 0],
  ["JOB_COMPLETION_INDEX", "BELLJAR_SHARDS", 0],
];

/**
 * Finds the shard that the CI engine asks for.
 *
 * @throws {ShardError} If its variables make no sense.
 */
export function shardOf(env: (name: string) => string | undefined): Shard | undefined {
  for (const [indexName, totalName, first] of VARIABLES) {
    const [index, total] = [env(indexName), env(totalName)];
    if (!index || !total) continue;
    const shard = { index: Number(index) - first + 1, total: Number(total) };
    const isWhole = Number.isInteger(shard.index) && Number.isInteger(shard.total);
    if (isWhole && shard.index >= 1 && shard.index <= shard.total) return shard;
    throw new ShardError(`Cannot use ${indexName}=${index} and ${totalName}=${total} as a shard`);
  }
  return undefined;
}

/**
 * The items of a shard: packed longest first, so that shards take about as long. Every node that gives the same items and
 * estimates gets the same division; items without an estimate count as the median.
 */
export function takeShard<T extends { file: string }>(
  items: readonly T[],
  shard: Shard,
  estimateMs: (item: T) => number | undefined,
): T[] {
  const known = items.map(estimateMs).filter((ms) => ms !== undefined).sort((a, b) => a - b);
  const median = known[Math.floor(known.length / 2)] ?? 1;
  const costs = items.map((item) => ({ item, ms: estimateMs(item) ?? median }));
  costs.sort((a, b) => b.ms - a.ms || (a.item.file < b.item.file ? -1 : 1));
  const bins = Array.from({ length: shard.total }, () => ({ ms: 0, items: new Set<T>() }));
  for (const { item, ms } of costs) {
    const least = bins.reduce((a, b) => b.ms < a.ms ? b : a);
    least.ms += ms;
    least.items.add(item);
  }
  const own = bins[shard.index - 1]!.items;
  return items.filter((item) => own.has(item));
}
