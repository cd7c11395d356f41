import { registerOptions } from "../values/mod.ts";
import { type LogMatch, showPattern } from "./log_match.ts";
import { checkPattern } from "./output_buffer.ts";
import { PROBE_BASE } from "./_probe_options.ts";
import type { LogProbeOptions, Probe } from "./probe.ts";
import type { Job } from "./types.ts";

const check = registerOptions<LogProbeOptions>("probe.log()", {
  ...PROBE_BASE,
  stream: ["stdout", "stderr", "both"],
  times: "integer",
  stripAnsi: "boolean",
});

interface Watch {
  match: LogMatch | undefined;
  found: Promise<void>;
}

/** See {@linkcode probe.log}. A restart is another job, whose output is looked at from its own beginning. */
export function logProbe(pattern: string | RegExp, options: LogProbeOptions): Probe {
  checkPattern(pattern, "probe.log()");
  check(options);
  const { stream = "both", times, stripAnsi = true, ...base } = options;
  const watches = new WeakMap<Job, Watch>();
  const watch = (job: Job): Watch => {
    let entry = watches.get(job);
    if (entry) return entry;
    const { promise, resolve } = Promise.withResolvers<void>();
    const created: Watch = { match: undefined, found: promise };
    entry = created;
    watches.set(job, created);
    const stops: (() => void)[] = [];
    for (const name of stream === "both" ? ["stdout", "stderr"] as const : [stream]) {
      stops.push(job[name].watch(pattern, { stripAnsi, times }, (match) => {
        if (!match || created.match) return;
        created.match = match;
        for (const stop of stops) stop();
        resolve();
      }));
    }
    return entry;
  };
  return {
    kind: "log",
    describe: () => `${showPattern(pattern)} in the output`,
    check({ job, matched }) {
      const { match } = watch(job);
      if (!match) return Promise.resolve({ ok: false, reason: "it was not printed yet" });
      matched(match.groups);
      return Promise.resolve({ ok: true });
    },
    wake: ({ job }) => watch(job).found,
    ...base,
  };
}
