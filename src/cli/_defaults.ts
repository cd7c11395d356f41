import { type BelljarConfig, loadConfig } from "../runner/mod.ts";
import { usage } from "./_errors.ts";
import { stageForConfig } from "./_stage.ts";

/** Settings that may come from a flag, a variable, or the configuration. */
export type Defaults = Omit<BelljarConfig, "images">;

type Reader = (text: string, variable: string) => unknown;

const text: Reader = (value) => value;
const whole: Reader = (value, variable) => {
  if (/^\d+$/.test(value)) return Number(value);
  throw usage(`Cannot use ${variable}=${value}: expected a whole number`);
};
const flag: Reader = (value, variable) => {
  if (value === "1" || value === "true") return true;
  if (value === "0" || value === "false") return undefined;
  throw usage(`Cannot use ${variable}=${value}: expected 1 or 0`);
};

const READERS: { [K in keyof Required<Defaults>]: Reader } = {
  jobs: whole,
  timeout: text,
  retries: whole,
  accel: text,
  transport: text,
  vmm: text,
  cold: flag,
  standby: text,
  strict: flag,
  includeSlow: flag,
  reporter: (value) => value.split(","),
  artifacts: text,
};

/**
 * Fills in what the command line leaves open: from variables `BELLJAR_…`, then from `belljar.config.ts`.
 *
 * @throws {ValidationError} If a variable or the configuration is wrong.
 */
export async function withDefaults<T extends object>(options: T, cwd: string): Promise<T> {
  const filled = { ...options } as Record<string, unknown>;
  const { config } = await loadedConfig(cwd);
  for (const [key, read] of Object.entries(READERS)) {
    if (filled[key] !== undefined) continue;
    const variable = `BELLJAR_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
    const value = Deno.env.get(variable);
    const found = value ? read(value, variable) : config[key as keyof Defaults];
    // A flag is either there or not.
    if (found !== undefined && found !== false) filled[key] = found;
  }
  if (typeof filled.timeout === "number") filled.timeout = String(filled.timeout);
  return filled as T;
}

async function loadedConfig(cwd: string): Promise<Awaited<ReturnType<typeof loadConfig>>> {
  try {
    return await loadConfig(cwd, await stageForConfig());
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw usage(`Cannot load belljar.config.ts: ${message}`);
  }
}
