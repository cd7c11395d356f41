import { PlainReporter } from "./plain.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";

const MAKERS = {
  plain: (out: ReporterOutput): Reporter => new PlainReporter(out),
  tty: (out: ReporterOutput): Reporter => new PlainReporter(out),
};

/** Name of a reporter. */
export type ReporterName = keyof typeof MAKERS;

/** Names of all reporters. */
export const REPORTER_NAMES: readonly ReporterName[] = Object.keys(MAKERS) as ReporterName[];

/** Makes the reporter of that name. */
export function makeReporter(name: ReporterName, out: ReporterOutput): Reporter {
  return MAKERS[name](out);
}
