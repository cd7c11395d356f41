import { join } from "node:path";
import { agentBinary } from "../../src/image/mod.ts";
import type { BelljarEvent } from "../../src/report/events.ts";
import { readEvents } from "../../src/runner/event_file.ts";

const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);

/** Flags with which `deno` finds belljar and its packages from any folder. */
export const DENO_FLAGS: readonly string[] = await denoFlags();

async function denoFlags(): Promise<string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-config", "--no-lock", `${ROOT}scripts/deps.ts`],
    cwd: "/",
    stderr: "inherit",
  }).output();
  const flags = new TextDecoder().decode(stdout).trim();
  return [`--config=${ROOT}deno.json`, ...flags === "" ? [] : flags.split(" ")];
}

/** The guard's program, found once: every project has an empty cache. */
const AGENT: string = await agentBinary();

/** A folder of test files with what is run in it. */
export class Project implements AsyncDisposable {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  async write(files: Record<string, string>): Promise<void> {
    for (const [name, content] of Object.entries(files)) {
      const path = join(this.dir, name);
      await Deno.mkdir(join(path, ".."), { recursive: true });
      await Deno.writeTextFile(path, content);
    }
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** Starts `belljar` in the folder. */
  start(args: readonly string[], env: Record<string, string> = {}): Deno.ChildProcess {
    return new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", ...DENO_FLAGS, `${ROOT}main.ts`, ...args],
      cwd: this.dir,
      env: {
        NO_COLOR: "1",
        BELLJAR_CACHE_DIR: join(this.dir, ".cache"),
        BELLJAR_AGENT: AGENT,
        ...env,
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** Runs `belljar` in the folder to its end. */
  async belljar(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
    return ended(await this.start(args, env).output());
  }

  /** Runs `belljar run` and returns its events too. */
  async run(args: readonly string[] = [], env: Record<string, string> = {}): Promise<RunEnded> {
    const events = this.path("events.jsonl");
    const result = await this.belljar(["run", "--events", events, ...args], env);
    return { ...result, events: await readEvents(events).catch(() => []) };
  }

  /** Runs `deno test` in the folder. */
  async denoTest(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
    const command = new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-check", ...DENO_FLAGS, ...args],
      cwd: this.dir,
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
    });
    return ended(await command.output());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.dir, { recursive: true });
  }
}

/** How a program ended. */
export interface Ended {
  code: number;
  out: string;
  err: string;
}

/** How a run ended, with its events. */
export interface RunEnded extends Ended {
  events: BelljarEvent[];
}

/** Makes an empty folder of test files. */
export async function makeProject(files: Record<string, string> = {}): Promise<Project> {
  const project = new Project(await Deno.realPath(await Deno.makeTempDir({ prefix: "bj-" })));
  await project.write(files);
  return project;
}

/** `file > test: status (class)` of all tests in order of their names. */
export function outcomes(events: readonly BelljarEvent[]): string[] {
  return events.flatMap((event) => {
    if (event.kind !== "test_finished" || "willRetry" in event) return [];
    const { file, test, status, class: kind } = event as unknown as Record<
      string,
      string | undefined
    >;
    return [`${file} > ${test}: ${status}${kind ? ` (${kind})` : ""}`];
  }).sort();
}

/** The events of a kind. */
export function ofKind(events: readonly BelljarEvent[], kind: string): Record<string, unknown>[] {
  return events.filter((event) => event.kind === kind) as unknown as Record<string, unknown>[];
}

function ended({ code, stdout, stderr }: Deno.CommandOutput): Ended {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}
