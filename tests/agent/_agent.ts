/** The agent as an ordinary process, built with the sanitizers, for tests. */
import { assertEquals } from "@std/assert";
import { agentBinary } from "../../src/image/mod.ts";
import {
  AgentClient,
  type AgentEvent,
  type EventName,
  type OpRequest,
  toBytes,
  toText,
  type WireStream,
} from "../../src/wire/mod.ts";

/** Where the sanitizers' findings would make the process end with. */
const SANITIZER_EXIT = "99";

/** Path of the sanitized agent; built once per state of its sources. */
export async function sanitizedAgent(): Promise<string> {
  return await agentBinary({ sanitize: true });
}

/** An agent on the other end of a unix socket. */
export interface TestAgent extends AsyncDisposable {
  client: AgentClient;
  conn: Deno.Conn;
  process: Deno.ChildProcess;
  secret: Uint8Array;
  dir: string;
  /** Resolves with what the agent wrote to its standard error. */
  stderr: Promise<string>;
}

/** Options for {@linkcode startAgent}. */
export interface StartAgentOptions {
  /**
   * Whether leaks of memory are looked for at its end, and its workers'. LeakSanitizer finds the threads of a process in
   * `/proc`: it cannot work in a pid namespace that has no `/proc` of its own.
   *
   * @default {true}
   */
  detectLeaks?: boolean;
}

/** Starts an agent, and a listener to which it connects. Says no hello. */
export async function startAgent(
  { detectLeaks = true }: StartAgentOptions = {},
): Promise<Omit<TestAgent, "client">> {
  const binary = await sanitizedAgent();
  const dir = await Deno.makeTempDir({ prefix: "bj-agent-" });
  const secret = crypto.getRandomValues(new Uint8Array(32));
  await Deno.writeFile(`${dir}/secret`, secret);
  using listener = Deno.listen({ transport: "unix", path: `${dir}/s` });
  const process = new Deno.Command(binary, {
    args: ["agent", "--control", `unix:${dir}/s`, "--secret-file", `${dir}/secret`],
    stdin: "null",
    stdout: "inherit",
    stderr: "piped",
    env: {
      ASAN_OPTIONS: `exitcode=${SANITIZER_EXIT}:quarantine_size_mb=1:detect_leaks=${
        Number(detectLeaks)
      }`,
      UBSAN_OPTIONS: "print_stacktrace=1",
    },
  }).spawn();
  const conn = await listener.accept();
  const stderr = new Response(process.stderr).text();
  return {
    conn,
    process,
    secret,
    dir,
    stderr,
    async [Symbol.asyncDispose]() {
      try {
        conn.close();
      } catch {
        // The client has closed it.
      }
      const status = await process.status;
      const said = await stderr;
      await Deno.remove(dir, { recursive: true });
      assertEquals({ code: status.code, said }, { code: 0, said: "" });
    },
  };
}

/** Starts an agent and begins a conversation. */
export async function connectAgent(options: StartAgentOptions = {}): Promise<TestAgent> {
  const started = await startAgent(options);
  const epoch = crypto.getRandomValues(new Uint8Array(16));
  const { secret } = started;
  const client = await AgentClient.connect(started.conn, { machine: "test", secret, epoch });
  return {
    ...started,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await started[Symbol.asyncDispose]();
    },
  };
}

/** Collects the events about one id, and waits for them by name. */
export class Events {
  readonly seen: AgentEvent[] = [];
  #wake: (() => void)[] = [];
  constructor(client: AgentClient, id: number) {
    client.on(id, (event) => {
      this.seen.push(event);
      for (const wake of this.#wake.splice(0)) wake();
    });
  }
  /** The `nth` event of that name, once it has come. */
  async next<K extends EventName>(name: K, nth = 0): Promise<Extract<AgentEvent, { ev: K }>> {
    for (;;) {
      const found = this.seen.filter((event) => event.ev === name)[nth];
      if (found) return found as Extract<AgentEvent, { ev: K }>;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }
  names(): string[] {
    return this.seen.map((event) => event.ev);
  }
}

/** A process that was started in a test. */
export interface Spawned {
  id: number;
  pid: number;
  events: Events;
  stdout: WireStream;
  stderr: WireStream;
  stdin: WireStream | undefined;
}

/** Starts a program with all of its output piped. */
export async function spawn(
  client: AgentClient,
  argv: string[],
  options: Partial<OpRequest<"spawn">> & { input?: boolean; principal?: number } = {},
): Promise<Spawned> {
  const { input, principal = 0, ...fields } = options;
  const id = client.newId();
  const events = new Events(client, id);
  const stdout = client.openStream("in", principal);
  const stderr = client.openStream("in", principal);
  const stdin = input ? client.openStream("out", principal) : undefined;
  const { pid } = await client.request("spawn", {
    proc: id,
    argv: argv.map(toBytes),
    stdout: stdout.id,
    stderr: stderr.id,
    stdin: stdin?.id,
    ...fields,
  }, { principal });
  return { id, pid, events, stdout, stderr, stdin };
}

/** Runs a program to its end. */
export async function run(
  client: AgentClient,
  argv: string[],
  options: Parameters<typeof spawn>[2] = {},
): Promise<{ stdout: string; stderr: string; code?: number; sig?: number; alive: number }> {
  const proc = await spawn(client, argv, options);
  const [stdout, stderr, exit] = await Promise.all([
    proc.stdout.collect(),
    proc.stderr.collect(),
    proc.events.next("exit"),
  ]);
  await client.request("procRelease", { proc: proc.id });
  const { code, sig, alive } = exit;
  return { stdout: toText(stdout), stderr: toText(stderr), code, sig, alive };
}

/** Reads a file by `readFile`. */
export async function readFile(
  client: AgentClient,
  path: string,
  options: { offset?: number; length?: number; principal?: number } = {},
): Promise<Uint8Array> {
  const { principal = 0, ...fields } = options;
  const stream = client.openStream("in", principal);
  const [bytes] = await Promise.all([
    stream.collect(),
    client.request("readFile", { path: toBytes(path), stream: stream.id, ...fields }, {
      principal,
    }),
  ]);
  return bytes;
}

/** Writes a file by `writeFile`. */
export async function writeFile(
  client: AgentClient,
  path: string,
  data: Uint8Array | string,
  options: Partial<OpRequest<"writeFile">> & { principal?: number } = {},
): Promise<number> {
  const { principal = 0, ...fields } = options;
  const stream = client.openStream("out", principal);
  const request = client.request("writeFile", {
    path: toBytes(path),
    stream: stream.id,
    ...fields,
  }, { principal });
  const sending = stream.write(typeof data === "string" ? toBytes(data) : data)
    .then(() => stream.end());
  const [{ size }] = await Promise.all([request, sending.catch(() => {})]);
  return size;
}
