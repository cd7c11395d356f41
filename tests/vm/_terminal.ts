import { DENO_FLAGS } from "../runner/_belljar.ts";

const ROOT = decodeURIComponent(new URL("../../", import.meta.url).pathname);
const LIMIT_MS = 40_000;

/** The command line of `belljar`: the compiled one where `BELLJAR_BIN` names it. */
export function belljarCommand(args: readonly string[]): string[] {
  const bin = Deno.env.get("BELLJAR_BIN");
  if (bin) return [bin, ...args];
  return [Deno.execPath(), "run", "-A", "-q", ...DENO_FLAGS, `${ROOT}main.ts`, ...args];
}

/** A program on a real terminal, which script(1) opens. */
export class Terminal implements AsyncDisposable {
  /** The terminal's device, by which its size is changed. */
  device = "";
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  #seen = "";
  #at = 0;
  #ended = false;
  #changed = Promise.withResolvers<void>();

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#reading = this.#read();
  }

  /** Starts `belljar` on a terminal of 100 columns and 30 rows; what the terminal is set to afterwards is printed. */
  static async open(args: readonly string[], env: Record<string, string> = {}): Promise<Terminal> {
    const command = belljarCommand(args).map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    const script = `stty cols 100 rows 30; tty; ${command.join(" ")}; code=$?
      stty -a | grep -o -e '-*icanon'; exit $code`;
    const child = new Deno.Command("script", {
      args: ["-qefc", script, "/dev/null"],
      env: { NO_COLOR: "1", TERM: "xterm", SHELL: "/bin/sh", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const terminal = new Terminal(child);
    const [, device] = await terminal.expect(/(\/dev\/pts\/\d+)/);
    terminal.device = device!;
    return terminal;
  }

  /** All that was shown. */
  get text(): string {
    return this.#seen;
  }

  /** Types text; `\r` is the key Enter. */
  async type(text: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(text));
  }

  /** Waits for what the pattern describes, behind the match before. */
  async expect(pattern: RegExp): Promise<RegExpExecArray> {
    const expired = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => expired.reject(new Error(`${pattern} did not come:\n${this.#seen.slice(this.#at)}`)),
      LIMIT_MS,
    );
    try {
      while (true) {
        const { promise } = this.#changed;
        const match = pattern.exec(this.#seen.slice(this.#at));
        if (match) {
          this.#at += match.index + match[0].length;
          return match;
        }
        if (this.#ended) throw new Error(`${pattern} never came:\n${this.#seen}`);
        await Promise.race([promise, expired.promise]);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Changes its size, as a person does who pulls at the window. */
  async resize(cols: number, rows: number): Promise<void> {
    await new Deno.Command("stty", {
      args: ["-F", this.device, "cols", String(cols), "rows", String(rows)],
    }).output();
  }

  /** Waits for the end of the program and returns its exit code. */
  async end(): Promise<number> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), LIMIT_MS);
    const { code, signal } = await this.#child.status;
    clearTimeout(timer);
    await this.#reading;
    if (signal === "SIGKILL") throw new Error(`It did not end:\n${this.#seen}`);
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGHUP");
    } catch {
      // It has ended already.
    }
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), LIMIT_MS);
    await this.#writer.close().catch(() => {}); // Its pipe is broken once it has ended.
    await this.#child.status;
    clearTimeout(timer);
    await this.#reading;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stdout) {
      this.#seen += decoder.decode(chunk, { stream: true });
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    }
    this.#ended = true;
    this.#changed.resolve();
  }
}
