/**
 * vsock without a host that has it: a machine with `vsock_loopback` in which this very Deno, agent and raw_echo run. Both sides
 * of each ratio are emulated there alike; the absolute figures are those of an emulated host.
 */
import { agentBinary } from "../../src/image/mod.ts";
import { lab } from "../../src/lab/mod.ts";
import { type Bench, dependencyFlags, freshDir, output, ROOT, scoped } from "./bench.ts";
import type { BulkFigures, PingFigures } from "./conversation.ts";
import type { InsideEffort } from "./inside.ts";
import { copyFiles, librariesOf } from "./libraries.ts";
import { rawEcho } from "./raw_line.ts";

/** What was measured in the machine. */
export interface OuterFigures {
  ping: PingFigures;
  bulk: BulkFigures;
}

/** On a busy host a kernel takes its fast clock for unreliable, and would spend its time on a device instead. */
const STEADY_CLOCK = "tsc=reliable nohpet";
const HOME = "/root/belljar";
const ENTRY = "tests/bench/inside.ts";
/** An emulated host moves fewer bytes in the same time. */
const SLOWDOWN = 4;

let measured: Promise<OuterFigures> | undefined;

/** Measures both at the first call. */
export function measureInOuter(bench: Bench): Promise<OuterFigures> {
  return measured ??= measure(bench);
}

async function measure(bench: Bench): Promise<OuterFigures> {
  return await scoped(async () => {
    const dir = await freshDir(bench);
    bench.tell("vsock: starting a machine that has it, with Deno inside");
    const vm = await lab.vm("bench-outer", "tiny", {
      memory: "1536M",
      cpus: 2,
      cmdlineAppend: STEADY_CLOCK,
    }).boot();
    (await vm.run("modprobe", { args: ["vsock_loopback"] })).assertOk();
    const deno = Deno.execPath();
    const libraries = await librariesOf(bench, deno);
    await copyFiles(vm, [
      ...libraries.map((path): [string, string] => [path, path]),
      ["/root/deno", deno],
      ["/root/agent", await agentBinary()],
      ["/root/raw_echo", await rawEcho(bench)],
      ["/root/all.tar", await pack(bench, dir)],
    ]);
    await vm.mkdir(HOME);
    (await vm.run("tar", { args: ["-xf", "/root/all.tar", "-C", HOME] })).assertOk();
    const { pings, bulkBytes } = bench.effort;
    const effort: InsideEffort = { pings, bulkBytes: bulkBytes / SLOWDOWN };
    bench.tell("vsock: measuring inside of it");
    const result = await vm.run("/root/deno", {
      args: [
        "run",
        "-A",
        "-q",
        "--no-check",
        "--cached-only",
        ...mapFlags(),
        ENTRY,
        JSON.stringify(effort),
      ],
      cwd: HOME,
      env: {
        HOME: "/root",
        DENO_DIR: `${HOME}/deno-dir`,
        NO_COLOR: "1",
        PATH: "/usr/bin:/bin:/usr/sbin:/sbin",
        BELLJAR_AGENT: "/root/agent",
        RAW_ECHO: "/root/raw_echo",
      },
      timeout: "15m",
    });
    if (!result.ok) throw new Error(`inside of the machine: ${result.stderr || result.stdout}`);
    const figures: OuterFigures = JSON.parse(result.stdout);
    await vm.kill();
    return figures;
  });
}

/** Without the lock, which has packages that are not needed inside, and would be missed. */
function mapFlags(): string[] {
  return ["--no-lock", ...dependencyFlags().filter((flag) => !flag.startsWith("--lock"))];
}

interface ModuleGraph {
  modules: { npmPackage?: string }[];
  npmPackages: Record<string, { name: string; version: string; localPath: string }>;
}

/** A tar file with the sources and the packages that they use, as far as what runs inside needs them. */
async function pack(bench: Bench, dir: string): Promise<string> {
  const deno = async <T>(args: string[]): Promise<T> =>
    JSON.parse(await output(bench, Deno.execPath(), { args, cwd: ROOT, env: { NO_COLOR: "1" } }));
  const { denoDir } = await deno<{ denoDir: string }>(["info", "--json"]);
  const graph = await deno<ModuleGraph>(["info", "--json", ...mapFlags(), ENTRY]);
  await Deno.mkdir(`${dir}/cache`);
  await Deno.symlink(denoDir, `${dir}/cache/deno-dir`);
  const cached = ["remote"]; // packages of jsr and what is known of them, if that is where they come from
  for (const id of new Set(graph.modules.flatMap(({ npmPackage }) => npmPackage ?? []))) {
    const { localPath, version } = graph.npmPackages[id]!;
    const path = localPath.slice(denoDir.length + 1);
    cached.push(path, `${path.slice(0, -version.length)}registry.json`);
  }
  const there = await Promise.all(
    cached.map((path) => Deno.stat(`${denoDir}/${path}`).then(() => [path], () => [])),
  );
  const file = `${dir}/all.tar`;
  const sources = ["src", "tests/bench", "tests/lab", "scripts/fallback", "deno.json"];
  await output(bench, "tar", { args: ["-cf", file, "-C", ROOT, ...sources] });
  await output(bench, "tar", {
    args: ["-rf", file, "-C", `${dir}/cache`, ...there.flat().map((path) => `deno-dir/${path}`)],
  });
  return file;
}
