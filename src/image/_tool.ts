import { ImageError } from "../errors.ts";
import { currentRun, TOKEN_VARIABLE } from "../host/mod.ts";

/** Options for {@linkcode runTool}. */
export interface ToolOptions {
  cwd?: string;
  env?: Record<string, string>;
  stdin?: Uint8Array;
  signal?: AbortSignal;
  /**
   * Longest run, in milliseconds.
   *
   * @default {600_000}
   */
  timeoutMs?: number;
  /** What the reader can do when the program is missing. */
  install?: string;
}

/** Result of {@linkcode runTool}. */
export interface ToolOutput {
  success: boolean;
  code: number;
  stdout: Uint8Array;
  /** Standard error as text; the last 64 KiB of it. */
  stderr: string;
}

const MAX_STDERR_BYTES = 64 * 1024;

/**
 * Runs a build tool of the host in a process group of its own and collects its output. When the
 * signal aborts or the time runs out, the whole group is killed before this rejects.
 *
 * @throws {ImageError} If the program is missing or takes too long.
 * @throws {unknown} The reason of `signal`, if that aborts first.
 */
export async function runTool(
  program: string,
  args: string[],
  options: ToolOptions = {},
): Promise<ToolOutput> {
  const { cwd, env, stdin, signal, timeoutMs = 600_000, install } = options;
  signal?.throwIfAborted();
  const path = program.includes("/") ? program : await findProgram(program);
  if (!path) throw missing(program, install);
  const child = spawn(path, args, { cwd, env: { ...await runEnv(), ...env }, stdin }, install);
  const stop = Promise.withResolvers<never>();
  stop.promise.catch(() => {}); // raced below; may also settle when nobody looks any more
  const onAbort = () => stop.reject(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => {
    stop.reject(
      new ImageError(`Cannot run "${program} ${args.join(" ")}": it takes too long`, {
        expected: `an end within ${timeoutMs / 1000} s`,
      }),
    );
  }, timeoutMs);
  const ended = collect(child, stdin);
  ended.catch(() => {});
  try {
    return await Promise.race([ended, stop.promise]);
  } catch (error) {
    killGroup(child.pid);
    await ended.catch(() => {}); // the first error says why
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/**
 * Runs a build tool that must succeed and returns its standard output.
 *
 * @param action What fails with it, for the error: `unpack "x.deb"`.
 * @throws {ImageError} If it is missing, takes too long, or exits with another code than 0.
 */
export async function runToolOk(
  action: string,
  program: string,
  args: string[],
  options: ToolOptions & { next?: string } = {},
): Promise<Uint8Array> {
  const { next, ...rest } = options;
  const output = await runTool(program, args, rest);
  if (output.success) return output.stdout;
  const tail = output.stderr.trim().split("\n").slice(-5).join("\n");
  throw new ImageError(`Cannot ${action}: "${program}" ended with code ${output.code}`, {
    actual: tail || "no message on standard error",
    next,
  });
}

/** Finds a program on PATH, or in the folders that a user's PATH often lacks. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = (Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== "");
  for (const folder of [...folders, "/usr/sbin", "/sbin", "/usr/bin", "/bin"]) {
    const path = `${folder}/${name}`;
    const info = await Deno.stat(path).catch(() => undefined);
    if (info?.isFile && ((info.mode ?? 0) & 0o111) !== 0) return path;
  }
  return undefined;
}

/** Marks what is started as part of this process' run, if there is one, so that nothing outlives it. */
async function runEnv(): Promise<Record<string, string>> {
  const run = await currentRun().catch(() => undefined); // building an image needs no run
  return run ? { [TOKEN_VARIABLE]: run.token } : {};
}

function spawn(
  program: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string>; stdin?: Uint8Array },
  install: string | undefined,
): Deno.ChildProcess {
  try {
    return new Deno.Command(program, {
      args,
      cwd: options.cwd,
      // Messages are shown to the user, some are looked at: one language for all.
      env: { LC_ALL: "C.UTF-8", ...options.env },
      stdin: options.stdin ? "piped" : "null",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw missing(program, install, cause);
  }
}

function missing(program: string, install: string | undefined, cause?: unknown): ImageError {
  return new ImageError(`Cannot run "${program}": there is no such program`, {
    cause,
    next: install ?? `install ${program}`,
  });
}

async function collect(
  child: Deno.ChildProcess,
  stdin: Uint8Array | undefined,
): Promise<ToolOutput> {
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).bytes(),
    tailText(child.stderr),
    child.status,
    stdin ? feed(child.stdin, stdin) : undefined,
  ]);
  return { success: status.success, code: status.code, stdout, stderr };
}

async function feed(stream: WritableStream<Uint8Array>, bytes: Uint8Array): Promise<void> {
  const writer = stream.getWriter();
  try {
    await writer.write(bytes);
    await writer.close();
  } catch {
    // The program ended without reading everything; its exit code tells whether that is wrong.
  }
}

async function tailText(stream: ReadableStream<Uint8Array>): Promise<string> {
  let tail = new Uint8Array();
  for await (const chunk of stream) {
    const both = new Uint8Array(tail.length + chunk.length);
    both.set(tail);
    both.set(chunk, tail.length);
    tail = both.slice(-MAX_STDERR_BYTES);
  }
  return new TextDecoder().decode(tail);
}

function killGroup(pid: number): void {
  try {
    Deno.kill(-pid as number, "SIGKILL");
  } catch {
    // Already gone.
  }
}
