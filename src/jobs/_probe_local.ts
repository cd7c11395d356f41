import { milliseconds, registerOptions } from "../values/mod.ts";
import { commandArgv, commandText } from "./command.ts";
import { contains, patternOption, PROBE_BASE } from "./_probe_options.ts";
import type { CommandProbeOptions, FileProbeOptions, Probe } from "./probe.ts";
import { outcome } from "./result.ts";
import type { Job } from "./types.ts";

const checkFile = registerOptions<FileProbeOptions>("probe.file()", {
  ...PROBE_BASE,
  minSize: "integer",
  contains: patternOption,
  stableFor: "duration",
});
const checkCommand = registerOptions<CommandProbeOptions>("probe.command()", {
  ...PROBE_BASE,
  exitCode: "integer",
  stdout: patternOption,
});

/** See {@linkcode probe.file}. */
export function fileProbe(path: string, options: FileProbeOptions): Probe {
  checkFile(options);
  const { minSize = 0, contains: wanted, stableFor, ...base } = options;
  const stableMs = stableFor === undefined ? 0 : milliseconds(stableFor);
  const seen = new WeakMap<Job, { size: number; sinceMs: number }>();
  return {
    kind: "file",
    describe: () => `file ${path}`,
    async check({ job, place }) {
      const size = await place.fileSize(path);
      if (size === undefined) return { ok: false, reason: "there is no such file" };
      if (size < minSize) return { ok: false, reason: `it has ${size} of ${minSize} bytes` };
      const now = performance.now();
      const last = seen.get(job);
      const sinceMs = last?.size === size ? last.sinceMs : now;
      seen.set(job, { size, sinceMs });
      if (now - sinceMs < stableMs) return { ok: false, reason: `it still grows, ${size} bytes` };
      if (wanted === undefined) return { ok: true };
      const text = new TextDecoder().decode(await place.readFile(path));
      const ok = contains(text, wanted);
      return ok ? { ok } : { ok, reason: `it does not contain ${wanted}` };
    },
    ...base,
  };
}

/** See {@linkcode probe.command}. */
export function commandProbe(command: string | string[], options: CommandProbeOptions): Probe {
  commandArgv(command);
  checkCommand(options);
  const { exitCode = 0, stdout, ...base } = options;
  return {
    kind: "command",
    describe: () => `\`${commandText(command)}\``,
    async check({ place, env, cwd, signal }) {
      const result = await place.run(command, { env, cwd, timeoutMs: Infinity, signal });
      if (result.exitCode !== exitCode) return { ok: false, reason: `it ${outcome(result)}` };
      if (stdout === undefined || contains(result.stdout, stdout)) return { ok: true };
      return { ok: false, reason: `its output does not contain ${stdout}` };
    },
    ...base,
  };
}
