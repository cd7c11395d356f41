import { BelljarError, ImageError } from "../errors.ts";
import { Found } from "./_found.ts";
import { installedAgent } from "./_installed.ts";
import { exists, publish, sha256, touch } from "./_store.ts";
import { findProgram, runTool } from "./_tool.ts";
import { type Arch, type BuildContext, buildContext, type BuildOptions } from "./build_context.ts";

/** Options for {@linkcode agentBinary}. */
export interface AgentBinaryOptions extends BuildOptions {
  /** Build with AddressSanitizer and UBSan, as an ordinary program for the host. */
  sanitize?: boolean;
  /** Folder with the sources, for tests. */
  sources?: string;
}

/** How one agent is compiled; all of it is part of the cache key. */
interface Toolchain {
  compiler: string;
  compile: string[];
  link: string[];
}

const FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-pthread"];
const WARNINGS = [
  ..."-Wall -Wextra -Wconversion -Wshadow -Wvla -Wmissing-prototypes -Werror".split(" "),
];
const TRIPLETS: Record<Arch, string> = {
  x86_64: "x86_64-linux-gnu",
  aarch64: "aarch64-linux-gnu",
};
const BINARY = "belljar-agent";

/**
 * Returns the path of the agent's executable. In this order: what `agent` or `BELLJAR_AGENT` names, the one
 * inside a compiled `belljar`, the one in the cache that was built from the same sources, a build
 * from source, the one of a `belljar` on PATH.
 *
 * @throws {BelljarError} If there is none of them; it names all.
 */
export async function agentBinary(options: AgentBinaryOptions = {}): Promise<string> {
  const { sanitize = false } = options;
  const named = options.agent || Deno.env.get("BELLJAR_AGENT");
  if (named && !sanitize && options.sources === undefined) return await checkNamed(named);
  const context = await buildContext(options);
  const find = () => findAgent(options, context);
  if (options.sources !== undefined) return await find();
  return await found.get([context.arch, context.cacheDir, sanitize], find);
}

const found = new Found<string>((path) => [path]);

async function findAgent(options: AgentBinaryOptions, context: BuildContext): Promise<string> {
  const { sanitize = false } = options;
  if (Deno.build.standalone && !sanitize) return await unpackEmbedded(context);
  const sources = options.sources ?? defaultSources();
  const files = sources === undefined ? [] : await listSources(sources);
  if (files.length === 0) return await fromPath(context, "there are no sources of it here");
  const toolchain = await findToolchain(context.arch, sanitize);
  if (!toolchain) return await fromPath(context, "there is no C compiler here");
  return await build(sources!, files, toolchain, context);
}

async function checkNamed(path: string): Promise<string> {
  const info = await Deno.stat(path).catch((error: Error) => error);
  if (!(info instanceof Error) && info.isFile && ((info.mode ?? 0) & 0o111) !== 0) return path;
  throw new BelljarError(`Cannot use the agent "${path}"`, {
    code: "NO_AGENT",
    expected: "BELLJAR_AGENT, or the option `agent`, to name an executable file",
    actual: info instanceof Error ? info.message : "it is no executable file",
    next: "correct that, or leave it out",
  });
}

/** A file inside a compiled program cannot be executed: it is written to the cache once. */
async function unpackEmbedded(context: BuildContext): Promise<string> {
  const path = `${import.meta.dirname}/embed/agent-${context.arch}`;
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(path);
  } catch (cause) {
    throw new BelljarError(`Cannot find the agent for ${context.arch} in this program`, {
      code: "NO_AGENT",
      cause,
      next: "set BELLJAR_AGENT to the path of an agent for that architecture",
    });
  }
  const dir = `${context.cacheDir}/agents/${(await sha256(bytes)).slice(0, 16)}`;
  await publish(
    dir,
    (tmp) => Deno.writeFile(`${tmp}/${BINARY}`, bytes, { mode: 0o755 }),
    {
      signal: context.signal,
      isWhole: async (dir) => {
        const info = await Deno.stat(`${dir}/${BINARY}`).catch(() => undefined);
        return info?.size === bytes.length;
      },
    },
  );
  return `${dir}/${BINARY}`;
}

function defaultSources(): string | undefined {
  const here = import.meta.dirname; // undefined when the module came over the network
  return here && `${here.slice(0, here.lastIndexOf("/"))}/agent`;
}

/** Lists the agent's sources and headers, without tests and fuzzers. */
async function listSources(dir: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(dir)) {
      if (entry.isFile && /\.[ch]$/.test(entry.name)) names.push(entry.name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names.filter((name) => !/_(?:test|fuzz)\.c$/.test(name)).toSorted();
}

async function findToolchain(arch: Arch, sanitize: boolean): Promise<Toolchain | undefined> {
  const native = arch === Deno.build.arch;
  const compile = [...FLAGS, ...WARNINGS];
  if (sanitize) {
    const compiler = await findProgram("cc") ?? await findProgram("gcc");
    const checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"];
    const debug = ["-g", "-O1", "-fno-omit-frame-pointer"];
    return compiler && native
      ? { compiler, compile: [...compile, ...debug, ...checks], link: ["-pthread", ...checks] }
      : undefined;
  }
  const musl = native ? await findProgram("musl-gcc") : undefined;
  if (musl) {
    return { compiler: musl, compile: [...compile, "-O2", ...kernelHeaders(arch)], link: STATIC };
  }
  const cc = native
    ? await findProgram("cc") ?? await findProgram("gcc")
    : await findProgram(`${TRIPLETS[arch]}-gcc`);
  return cc ? { compiler: cc, compile: [...compile, "-O2"], link: STATIC } : undefined;
}

const STATIC = ["-static", "-pthread", "-s"];

/** musl-gcc looks for headers in musl's folder alone, which lacks the kernel's. */
function kernelHeaders(arch: Arch): string[] {
  return ["/usr/include", `/usr/include/${TRIPLETS[arch]}`].flatMap((dir) => ["-idirafter", dir]);
}

async function build(
  sources: string,
  files: string[],
  toolchain: Toolchain,
  context: BuildContext,
): Promise<string> {
  const digest = await sourceDigest(sources, files, toolchain);
  const dir = `${context.cacheDir}/agents/${digest}`;
  const binary = `${dir}/${BINARY}`;
  const compile = async (tmp: string) => {
    await compileAll(sources, files, toolchain, tmp, context);
    if (await sourceDigest(sources, files, toolchain) === digest) return;
    throw new ImageError("Cannot use the agent that was built: its sources changed meanwhile", {
      next: "try again",
    });
  };
  await publish(dir, compile, {
    signal: context.signal,
    onWait: () => context.onProgress?.("waiting for another process that builds the agent"),
    isWhole: () => exists(binary),
  });
  await touch(binary);
  return binary;
}

async function sourceDigest(
  sources: string,
  files: string[],
  toolchain: Toolchain,
): Promise<string> {
  const contents = await Promise.all(files.map((file) => Deno.readFile(`${sources}/${file}`)));
  const hashes = await Promise.all(contents.map(sha256));
  const parts = [toolchain, files.map((file, index) => [file, hashes[index]])];
  return (await sha256(new TextEncoder().encode(JSON.stringify(parts)))).slice(0, 16);
}

async function compileAll(
  sources: string,
  files: string[],
  toolchain: Toolchain,
  tmp: string,
  context: BuildContext,
): Promise<void> {
  const { compiler, compile, link } = toolchain;
  const units = files.filter((file) => file.endsWith(".c"));
  const objects = units.map((file) => `${tmp}/${file.replace(/c$/, "o")}`);
  let done = 0;
  const queue = units.entries();
  const stop = new AbortController();
  const signal = context.signal ? AbortSignal.any([context.signal, stop.signal]) : stop.signal;
  // The workers share one iterator, so each takes the next unit that nobody has.
  const worker = async () => {
    for (const [index, file] of queue) {
      context.onProgress?.("compiling the agent", done / units.length);
      const args = [...compile, `-I${sources}`, "-c", `${sources}/${file}`, "-o", objects[index]!];
      await runCompiler(`compile "${file}" of the agent`, compiler, args, signal);
      done += 1;
    }
  };
  const workers = Array.from({ length: navigator.hardwareConcurrency }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(workers); // nothing may write to the folder once it is removed
    throw error;
  }
  const args = [...objects, ...link, "-o", `${tmp}/${BINARY}`];
  await runCompiler("link the agent", compiler, args, signal);
  await Promise.all(objects.map((object) => Deno.remove(object)));
}

async function runCompiler(
  action: string,
  compiler: string,
  args: string[],
  signal: AbortSignal,
): Promise<void> {
  const output = await runTool(compiler, args, { signal });
  if (output.success) return;
  const missing = /fatal error: (?:linux|asm)\//.test(output.stderr);
  throw new ImageError(`Cannot ${action}`, {
    actual: output.stderr.trim().split("\n").slice(0, 20).join("\n"),
    next: missing ? "install linux-libc-dev" : undefined,
  });
}

/** Asks an installed `belljar` for its agent: the last way. */
async function fromPath(context: BuildContext, reason: string): Promise<string> {
  const installed = await installedAgent(context);
  if (installed) return installed;
  throw new BelljarError(`Cannot find the guest agent for ${context.arch}`, {
    code: "NO_AGENT",
    expected: "BELLJAR_AGENT to name it, its sources with a C compiler and a static libc, or a " +
      "`belljar` on PATH that has it",
    actual: `BELLJAR_AGENT is not set, ${reason}, and ${
      await findProgram("belljar") ? "the `belljar` on PATH has none" : "no `belljar` is on PATH"
    }`,
    next: "install the belljar program; or run scripts/setup for musl-gcc",
  });
}
