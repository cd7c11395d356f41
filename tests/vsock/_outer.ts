/** A machine that is itself a host: it has what the compiled belljar needs, and belljar in it starts machines. */
import { dirname } from "node:path";
import { closeCurrentRun } from "../../src/host/mod.ts";
import { lab, type RunResult, type Vm } from "../../src/lab/mod.ts";
import type { BelljarEvent } from "../../src/report/events.ts";
import { Scope } from "../../src/scope/mod.ts";
import {
  encodeFrame,
  encodeMap,
  FrameKind,
  makeProof,
  PROTOCOL_VERSION,
  SYNC_MAGIC,
} from "../../src/wire/mod.ts";
import { PEER } from "./_inner.ts";

const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);
const FOLDER = "/root/t";
/**
 * On a busy host a kernel takes its fast clock for unreliable. The next best is a device, and machines inside of this one
 * would spend their time on asking it.
 */
export const STEADY_CLOCK = "tsc=reliable nohpet";
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

/** A hello of this protocol by somebody who does not know the secret, in hexadecimal. */
export async function forgedHello(): Promise<string> {
  const nonce = new Uint8Array(16).fill(2);
  const epoch = new Uint8Array(16).fill(1);
  const proof = await makeProof(new Uint8Array(32).fill(3), "host", epoch, nonce);
  const hello = { proto: PROTOCOL_VERSION, version: "0", epoch, nonce, proof };
  const frame = encodeFrame(FrameKind.hello, 0, 0, encodeMap(hello));
  return [SYNC_MAGIC, frame].map((bytes) => bytes.toHex()).join("");
}

/** Compiles peer.c and puts it where any user of the machine may run it. */
export async function copyPeer(vm: Vm): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    const source = new URL("./peer.c", import.meta.url).pathname;
    const args = ["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", `${dir}/peer`, source];
    const { success, stderr } = await new Deno.Command("cc", { args }).output();
    if (!success) throw new Error(`Cannot compile peer.c: ${new TextDecoder().decode(stderr)}`);
    await vm.copyIn(`${dir}/peer`, PEER);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Options for {@linkcode outerTest}. */
export interface OuterOptions {
  memory: string;
  /** Modules that make the machine a host of vsock. */
  modules: readonly string[];
  /** Programs of this host that are copied with what they need, besides belljar. */
  programs?: readonly string[];
  /** Files and folders of this host that are copied to the same place. */
  files?: () => Promise<readonly string[]>;
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

/** What a run's tests logged, each with the seconds since the run began. */
export function logged(events: readonly BelljarEvent[]): string[] {
  return events.flatMap((event) => {
    if (event.kind !== "log") return [];
    const { ts, text } = event as { ts: number; text: string };
    return [`${((ts - events[0]!.ts) / 1000).toFixed(1)} s: ${text}`];
  });
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
  const { memory, modules, programs = [] } = options;
  const binary = await program();
  const vm = await lab.vm("outer", "tiny", { memory, cpus: 2, cmdlineAppend: STEADY_CLOCK })
    .boot({ signal });
  const paths = new Set(await options.files?.());
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
  const process = await vm.runAsync("/root/belljar", {
    args: [
      "run",
      "--reporter",
      "plain",
      "--verbose",
      "--events",
      EVENTS,
      ...args,
      FOLDER,
    ],
    cwd: "/root",
    env: { HOME: "/root", NO_COLOR: "1", PATH: "/usr/bin:/bin:/usr/sbin:/sbin" },
    signal,
  });
  const result = await process.wait(Infinity, { signal }).catch(async (cause) => {
    const { stdout, stderr } = await process.wait(0);
    throw new Error(`${cause}: belljar said until then:\n${stdout}${stderr}`, { cause });
  });
  const lines = await vm.readTextFile(EVENTS, { signal }).catch(() => "");
  const events = lines.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  return { result, events };
}

/** The machines that were started, in order. */
export function machinesOf(events: readonly BelljarEvent[]): Record<string, unknown>[] {
  return events.filter(({ kind }) => kind === "vm_started") as unknown as Record<string, unknown>[];
}
