/** Figures of repeated measurements, and how a report shows them. */

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

/** Runs `fn` so often and returns how long each run took, in milliseconds. */
export async function timeEach(
  runs: number,
  fn: (i: number) => Promise<unknown>,
): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < runs; i++) {
    const started = performance.now();
    await fn(i);
    samples.push(performance.now() - started);
  }
  return samples;
}

/** One row of the report. */
export interface Row {
  /** What was measured. */
  measure: string;
  /** The figures in words, with their unit. */
  result: string;
  /** What the design asks for, if it does. */
  target?: string;
  /** Whether the target is met. */
  met?: boolean;
  /** The numbers for programs. */
  values: Record<string, number>;
}

/** Shows rows as a Markdown table. */
export function markdownTable(rows: readonly Row[]): string {
  const lines = rows.map(({ measure, result, target, met }) => {
    const verdict = met === undefined ? "" : met ? "met" : "**missed**";
    return `| ${measure} | ${result} | ${target ?? ""} | ${verdict} |`;
  });
  return ["| measure | result | target | |", "| --- | --- | --- | --- |", ...lines].join("\n");
}

/** A number with a unit, as short as it can be told. */
export function ms(value: number): string {
  return value < 1 ? `${Math.round(value * 1000)} µs` : `${Number(value.toPrecision(3))} ms`;
}
