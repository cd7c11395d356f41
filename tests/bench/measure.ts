/** Figures of repeated measurements, and rows of the report. */

/** Distribution of one measure. */
export interface Figures {
  runs: number;
  min: number;
  p50: number;
  p99: number;
  max: number;
}

/** Sorts samples into a distribution. */
export function figures(samples: readonly number[]): Figures {
  if (samples.length === 0) throw new RangeError("Cannot describe 0 samples: expected at least 1");
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  return {
    runs: sorted.length,
    min: sorted[0]!,
    p50: at(0.5),
    p99: at(0.99),
    max: sorted.at(-1)!,
  };
}

/** The middle one of some numbers. */
export function median(samples: readonly number[]): number {
  return figures(samples).p50;
}

/** Runs `fn` and returns how long that took, in milliseconds. */
export async function time(fn: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await fn();
  return performance.now() - started;
}

/** Runs `fn` so often and returns how long each run took, in milliseconds. */
export async function timeEach(runs: number, fn: () => Promise<unknown>): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < runs; i++) samples.push(await time(fn));
  return samples;
}

/** One of several things that are measured against each other. */
export interface Contender {
  /** How often it is measured in each round. */
  times: number;
  /** Returns one sample. */
  sample: () => Promise<number>;
}

/**
 * Samples of several things, taken in turns: what else goes on on the machine then weighs on all of them, and their ratios
 * hold.
 */
export async function inTurns<K extends string>(
  rounds: number,
  contenders: Record<K, Contender>,
): Promise<Record<K, Figures>> {
  const names = Object.keys(contenders) as K[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<
    K,
    number[]
  >;
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const { times, sample } = contenders[name];
      for (let i = 0; i < times; i++) samples[name].push(await sample());
    }
  }
  return Object.fromEntries(names.map((name) => [name, figures(samples[name])])) as Record<
    K,
    Figures
  >;
}

/** One row of the report. */
export interface Row {
  /** Stable name for programs. */
  id: string;
  /** What was measured. */
  measure: string;
  /** The figures in words, with their units; why there are none, if it was not measured. */
  result: string;
  /** What the design asks for, if it does. */
  target?: string;
  /** Whether the target is met. */
  met?: boolean;
  /** Why it could not be measured here. */
  notMeasured?: string;
  /** The numbers for programs. */
  values: Record<string, number>;
}

/** What a row is about, whether or not it could be measured. */
export type RowHead = Pick<Row, "id" | "measure" | "target">;

/** A row without figures, which says why. */
export function notMeasured(head: RowHead, why: string): Row {
  return { ...head, result: `not measured: ${why}`, notMeasured: why, values: {} };
}

/** A duration in the unit that suits it. */
export function ms(value: number): string {
  if (value < 1) return `${Math.round(value * 1000)} µs`;
  if (value < 1000) return `${Number(value.toPrecision(3))} ms`;
  return `${Number((value / 1000).toPrecision(3))} s`;
}

/** A number of bytes in MiB. */
export function mib(bytes: number): string {
  const value = bytes / 1024 ** 2;
  return `${value < 10 ? value.toFixed(2) : value.toFixed(0)} MiB`;
}

/** A ratio, as it is shown. */
export function times(ratio: number): string {
  return `${ratio < 10 ? ratio.toFixed(2) : ratio.toFixed(1)} ×`;
}

/** What went wrong, in one line. */
export function errorText(error: unknown): string {
  const [first, ...rest] = (error instanceof Error ? error.message : String(error)).split("\n");
  const actual = rest.find((line) => line.startsWith("  actual:"))?.slice("  actual:".length)
    .trim();
  return actual ? `${first} (${actual})` : first!;
}
