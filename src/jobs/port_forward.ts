import type { AgentClient, WireStream } from "../wire/mod.ts";
import { timeScale } from "../scope/mod.ts";
import { registerOptions } from "../values/mod.ts";
import { numericPort, portOrAuto } from "./_probe_options.ts";
import { portOwner } from "./ports.ts";
import { PortInUseError } from "./service_errors.ts";

/** Options of {@linkcode Vm.forward}. */
export interface ForwardOptions {
  /** Port on which the server in the guest listens. */
  guest: number;
  /** Port of this host. @default {"auto"} */
  host?: number | "auto";
}

/** What {@linkcode PortForward.open} needs of a machine. */
export interface PortForwardParts {
  /** The conversation with its agent, as it is at the moment. */
  client: () => AgentClient;
  /** Is called when a connection begins; what it returns, when that has ended. */
  opened?: () => () => void;
}

const check = registerOptions<ForwardOptions>("vm.forward()", {
  guest: numericPort,
  host: portOrAuto,
});

const LOCALHOST = "127.0.0.1";
const READ_SIZE = 64 * 1024;
/** Errors that are kept, the newest. */
const MAX_ERRORS = 20;
/** How long a server that does not take connections may take to be reached, before the accelerator's factor. */
const CONNECT_MS = 10_000;

/** A port of this host behind which a port of a guest lies. Every connection is a pair of streams of the agent's. */
export class PortForward implements AsyncDisposable {
  /** Where it listens on this host. */
  readonly host: string = LOCALHOST;
  /** On which port of this host. */
  readonly port: number;
  /** The port of the guest. */
  readonly guest: number;
  readonly #listener: Deno.TcpListener;
  readonly #parts: PortForwardParts;
  readonly #active = new Map<Deno.TcpConn, Promise<void>>();
  readonly #ended = new AbortController();
  readonly #errors: Error[] = [];
  readonly #accepting: Promise<void>;
  #connections = 0;
  #closing: Promise<void> | undefined;

  private constructor(listener: Deno.TcpListener, guest: number, parts: PortForwardParts) {
    this.#listener = listener;
    this.#parts = parts;
    this.guest = guest;
    this.port = listener.addr.port;
    this.#accepting = this.#accept();
  }

  /**
   * Begins to listen.
   *
   * @throws {PortInUseError} If somebody has the port of the host.
   */
  static async open(options: ForwardOptions, parts: PortForwardParts): Promise<PortForward> {
    check(options);
    const { guest, host = "auto" } = options;
    if (guest === undefined) {
      throw new TypeError("vm.forward() takes the port of the guest: vm.forward({ guest: 80 })");
    }
    const port = host === "auto" ? 0 : host;
    try {
      return new PortForward(Deno.listen({ hostname: LOCALHOST, port }), guest, parts);
    } catch (cause) {
      if (!(cause instanceof Deno.errors.AddrInUse)) throw cause;
      throw new PortInUseError(port, await portOwner(port), {
        expected: `a free port of the host for port ${guest} of the guest`,
        next: 'leave `host` out, or give "auto", for a free one',
        cause,
      });
    }
  }

  /** Connections so far. */
  get connections(): number {
    return this.#connections;
  }

  /** Connections that have not ended. */
  get active(): number {
    return this.#active.size;
  }

  /** Why connections failed, the newest last: nobody listened in the guest, the machine was gone. */
  get errors(): readonly Error[] {
    return [...this.#errors];
  }

  /** Address for HTTP clients of this host. */
  url(path = ""): string {
    return `http://${this.host}:${this.port}${path}`;
  }

  /** Ends it with all connections; harmless when called again. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#listener.close();
    this.#ended.abort(new DOMException("The port is not forwarded any more", "AbortError"));
    await this.#accepting;
    await Promise.all(this.#active.values());
  }

  async #accept(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      let conn: Deno.TcpConn;
      try {
        conn = await this.#listener.accept();
      } catch (error) {
        if (this.#ended.signal.aborted) return;
        this.#keep(error); // A client that was gone at once, or no descriptors are left: others may come.
        await new Promise((resolve) => setTimeout(resolve, 10));
        continue;
      }
      this.#connections++;
      const work = this.#serve(conn).catch((error) => this.#keep(error)).finally(() => {
        closeQuietly(conn);
        this.#active.delete(conn);
      });
      this.#active.set(conn, work);
    }
  }

  async #serve(conn: Deno.TcpConn): Promise<void> {
    const client = this.#parts.client();
    const stdin = client.openStream("out");
    const stdout = client.openStream("in");
    const hangUp = () => {
      closeQuietly(conn);
      stdin.end();
      stdout.discard();
      // The agent need not say that it has ended too.
      client.dropStream(stdout);
    };
    const closed = this.#parts.opened?.();
    this.#ended.signal.addEventListener("abort", hangUp, { once: true });
    try {
      const ids = { stdin: stdin.id, stdout: stdout.id };
      await client.request("connect", { port: this.guest, ...ids }, {
        signal: this.#ended.signal,
        timeoutMs: CONNECT_MS * timeScale(),
      });
      await Promise.all([upstream(conn, stdin, stdout), downstream(stdout, conn)]);
    } catch (error) {
      if (!this.#ended.signal.aborted) throw error;
    } finally {
      this.#ended.signal.removeEventListener("abort", hangUp);
      hangUp();
      closed?.();
    }
  }

  #keep(error: unknown): void {
    this.#errors.push(error instanceof Error ? error : new Error(String(error)));
    if (this.#errors.length > MAX_ERRORS) this.#errors.shift();
  }
}

/** What the client on this host sends, to its end. */
async function upstream(conn: Deno.TcpConn, stdin: WireStream, stdout: WireStream): Promise<void> {
  const buffer = new Uint8Array(READ_SIZE);
  while (true) {
    let n: number | null;
    try {
      n = await conn.read(buffer);
    } catch {
      stdout.discard(); // The client is gone, or the other direction has failed: nobody wants an answer.
      break;
    }
    if (n === null) break;
    try {
      await stdin.write(buffer.subarray(0, n));
    } catch (error) {
      if (stdin.lost) throw error;
      return; // The server takes no more; it may still have something to say.
    }
  }
  stdin.end();
}

/** What the server in the guest sends, to its end. */
async function downstream(stdout: WireStream, conn: Deno.TcpConn): Promise<void> {
  stdout.receive(async (chunk) => {
    for (let at = 0; at < chunk.length;) at += await conn.write(chunk.subarray(at));
  });
  const errno = await stdout.ended;
  if (errno !== 0) closeQuietly(conn); // A reset: the client shall not take it for the regular end.
  else await conn.closeWrite().catch(() => {}); // The client is gone already.
  if (stdout.lost) throw stdout.lost;
}

function closeQuietly(conn: Deno.TcpConn): void {
  try {
    conn.close();
  } catch {
    // Closed before.
  }
}
