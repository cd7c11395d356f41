import { DigestReporter } from "./digest.ts";
import { DotReporter } from "./dot.ts";
import { GithubReporter } from "./github.ts";
import { HtmlReporter } from "./html.ts";
import { JsonReporter } from "./json.ts";
import { JunitReporter } from "./junit.ts";
import { PerfettoReporter } from "./perfetto.ts";
import { PlainReporter } from "./plain.ts";
import type { Reporter, ReporterOutput } from "./reporter.ts";
import { TapReporter } from "./tap.ts";
import { TtyReporter } from "./tty.ts";

const MAKERS = {
  plain: (out: ReporterOutput): Reporter => new PlainReporter(out),
  tty: (out: ReporterOutput): Reporter => new TtyReporter(out),
  dot: (out: ReporterOutput): Reporter => new DotReporter(out),
  junit: (out: ReporterOutput): Reporter => new JunitReporter(out),
  tap: (out: ReporterOutput): Reporter => new TapReporter(out),
  json: (out: ReporterOutput): Reporter => new JsonReporter(out),
  github: (out: ReporterOutput): Reporter => new GithubReporter(out),
  html: (out: ReporterOutput): Reporter => new HtmlReporter(out),
  perfetto: (out: ReporterOutput): Reporter => new PerfettoReporter(out),
  digest: (out: ReporterOutput): Reporter => new DigestReporter(out),
};

/** Name of a reporter. */
export type ReporterName = keyof typeof MAKERS;

/** Names of all reporters. */
export const REPORTER_NAMES: readonly ReporterName[] = Object.keys(MAKERS) as ReporterName[];

/** Makes the reporter of that name. */
export function makeReporter(name: ReporterName, out: ReporterOutput): Reporter {
  return MAKERS[name](out);
}
