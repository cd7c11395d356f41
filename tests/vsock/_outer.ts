/** A machine that is itself a host: it has what the compiled belljar needs, and belljar in it starts machines. */
import { dirname } from "node:path";
import { closeCurrentRun } from "../../src/host/mod.ts";
import { lab, type RunResult, type Vm } from "../../src/lab/mod.ts";
import type { BelljarEvent } from "../../src/report/events.ts";
import { Scope } from "../../src/scope/mod.ts";

const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);
const FOLDER = "/root/t";
const EVENTS = "/root/events.jsonl";

/** Why the tests of this folder cannot run here; `undefined` if they can. */
export function whyNot(): string | undefined {
  if (Deno.env.get("BELLJAR_BIN") || Deno.env.get("DENORT_BIN")) return undefined;
  return "needs a compiled belljar: set BELLJAR_BIN to one, or DENORT_BIN to compile it";
}

let compiled: Promise<string> | undefined;

/** Path of the compiled belljar. */
export function program(): Promise<string> {
  return compiled ??= find();
}

async function find(): Promise<string> {
  const given = Deno.env.get("BELLJAR_BIN");
  if (given) return await Deno.realPath(given);
  const { success, stdout, stderr } = await new Deno.Command(`${ROOT}scripts/compile`).output();
  const text = new TextDecoder();
  if (!success) {
    throw new Error(`scripts/compile failed:\n${text.decode(stdout)}${text.decode(stderr)}`);
  }
  return `${ROOT}dist/belljar`;
}

/** Options for {@linkcode outerTest}. */
export interface OuterOptions {
  memory: string;
  /** Modules that make the machine a host of vsock. */
  modules: readonly string[];
  /** Programs of this host that are copied with what they need, besides belljar. */
  programs?: readonly string[];
  /** Files and folders of this host that are copied to the same place. */
  files?: readonly string[];
  /** The whole test may take this long. */
  limitMs: number;
}

/** What a test in this folder gets. */
export interface OuterTest {
  t: Deno.TestContext;
  vm: Vm;
  /** Runs belljar in the machine on one test file, and returns how it ended and its events. */
  belljar(content: string, args: readonly string[]): Promise<OuterRun>;
}

/** A run of belljar in the outer machine. */
export interface OuterRun {
  result: RunResult;
  events: BelljarEvent[];
}

/** A test in a machine that is a host. */
export function outerTest(
  name: string,
  options: OuterOptions,
  fn: (test: OuterTest) => Promise<void>,
): void {
  const missing = whyNot();
  Deno.test({
    name: missing === undefined ? name : `${name} (${missing})`,
    ignore: missing !== undefined,
    // The machine's connections live as long as the run.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn(t) {
      const limit = new AbortController();
      const timer = setTimeout(() => {
        limit.abort(new DOMException(`Not done within ${options.limitMs} ms`, "TimeoutError"));
      }, options.limitMs);
      try {
        await using scope = new Scope(name, { kind: "test" });
        await scope.run(async () => {
          const vm = await startOuter(options, limit.signal);
          await fn({
            t,
            vm,
            belljar: (content, args) => runBelljar(vm, { content, args, signal: limit.signal }),
          });
        });
      } finally {
        clearTimeout(timer);
      }
    },
  });
}

/** Closes the run of a file with tests of this folder. */
export function closeRunAfterwards(): void {
  Deno.test.afterAll(closeCurrentRun);
}

async function startOuter(options: OuterOptions, signal: AbortSignal): Promise<Vm> {
  const { memory, modules, programs = [], files = [] } = options;
  const binary = await program();
  const vm = await lab.vm("outer", "tiny", { memory, cpus: 2 }).boot({ signal });
  const paths = new Set(files);
  for (const path of [binary, ...programs]) {
    for (const library of await librariesOf(path)) paths.add(library);
  }
  for (const path of programs) paths.add(path);
  for (const path of paths) {
    await vm.mkdir(dirname(path), { recursive: true, signal });
    // What a link leads to, under the name that it is looked for.
    await vm.copyIn(await Deno.realPath(path), path, { signal });
  }
  await vm.copyIn(binary, "/root/belljar", { signal });
  for (const name of modules) {
    (await vm.run("modprobe", { args: [name], signal })).assertOk();
  }
  return vm;
}

/** Paths of the shared libraries that a program is loaded with. */
async function librariesOf(path: string): Promise<string[]> {
  const { stdout } = await new Deno.Command("ldd", { args: [path], stderr: "null" }).output();
  const lines = new TextDecoder().decode(stdout).split("\n");
  return lines.flatMap((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

async function runBelljar(
  vm: Vm,
  { content, args, signal }: { content: string; args: readonly string[]; signal: AbortSignal },
): Promise<OuterRun> {
  await vm.mkdir(FOLDER, { recursive: true, signal });
  await vm.writeFile(`${FOLDER}/inner.test.ts`, content, { signal });
  const result = await vm.run("/root/belljar", {
    args: ["run", "--reporter", "plain", "--verbose", "--events", EVENTS, ...args, FOLDER],
    cwd: "/root",
    env: { HOME: "/root", NO_COLOR: "1", PATH: "/usr/bin:/bin:/usr/sbin:/sbin" },
    timeout: Infinity,
    signal,
  });
  const lines = await vm.readTextFile(EVENTS, { signal }).catch(() => "");
  const events = lines.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  return { result, events };
}

/** The machines that were started, in order. */
export function machinesOf(events: readonly BelljarEvent[]): Record<string, unknown>[] {
  return events.filter(({ kind }) => kind === "vm_started") as unknown as Record<string, unknown>[];
}
