import type { Run, RunSpawnOptions } from "../../src/host/mod.ts";
import { Scope } from "../../src/scope/mod.ts";
import type { Row } from "./measure.ts";

/** How often each thing is measured. */
export interface Effort {
  /** Rounds of what is slow, such as boots; each has several of what is quick. */
  rounds: number;
  clonesPerRound: number;
  pings: number;
  commands: number;
  bulkBytes: number;
  /** Flows of 1 GiB. */
  flows: number;
  /** Kills of a harness. */
  kills: number;
}

/** By default: minutes. */
export const FULL: Effort = {
  rounds: 7,
  clonesPerRound: 4,
  pings: 5_000,
  commands: 200,
  bulkBytes: 256 * 1024 ** 2,
  flows: 2,
  kills: 20,
};

/** With `--quick`. */
export const QUICK: Effort = {
  rounds: 3,
  clonesPerRound: 3,
  pings: 1_000,
  commands: 50,
  bulkBytes: 64 * 1024 ** 2,
  flows: 1,
  kills: 5,
};

/** What measurements are done with. */
export interface Bench {
  effort: Effort;
  /** Everything that is started belongs to it, and ends with this process. */
  run: Run;
  /** Folder that goes with the run. */
  dir: string;
  /** Tells whoever waits what is going on. */
  tell: (text: string) => void;
}

/** A group of rows that can be chosen. */
export interface Group {
  name: string;
  /** One line for `--help`. */
  what: string;
  measure: (bench: Bench) => Promise<Row[]>;
}

/** Path of the checkout, with a slash at its end. */
export const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);

/** Runs `body` with a scope of its own, in which what it opens is closed. */
export async function scoped<T>(body: () => Promise<T>): Promise<T> {
  await using scope = new Scope("bench");
  return await scope.run(body);
}

let folders = 0;

/** Makes an empty folder that goes with the run. */
export async function freshDir({ dir }: Bench): Promise<string> {
  const path = `${dir}/${++folders}`;
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  return path;
}

/** Runs a program to its end, as a part of the run; what it writes comes back as text. */
export async function output(
  { run }: Pick<Bench, "run">,
  command: string,
  options: RunSpawnOptions = {},
): Promise<string> {
  const child = await run.spawn(command, {
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...options,
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.status,
  ]);
  if (status.success) return stdout;
  const words = [command, ...options.args ?? []].join(" ");
  const lastWords = `${stdout}${stderr}`.trim().split("\n").at(-1);
  throw new Error(
    `"${words}" ended with ${status.signal ?? status.code}: ${lastWords}\n${stdout}${stderr}`,
  );
}

/** The flags by which `deno` finds the packages that this process has. */
export function dependencyFlags(): string[] {
  return (Deno.env.get("BELLJAR_BENCH_DEPS") ?? "").split(" ").filter((flag) => flag !== "");
}

/** Path of a program of this host; `undefined` if there is none. */
export async function findProgram(name: string): Promise<string | undefined> {
  const dirs = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"];
  for (const dir of dirs.filter((dir) => dir.startsWith("/"))) {
    const info = await Deno.stat(`${dir}/${name}`).catch(() => undefined); // not in this one
    if (info?.isFile && ((info.mode ?? 0) & 0o111) !== 0) return `${dir}/${name}`;
  }
  return undefined;
}
