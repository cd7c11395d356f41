import type { TerminalSize } from "../lab/mod.ts";

/** Whether a person sits in front of this command. */
export function hasTerminal(): boolean {
  return Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
}

/** Size of the terminal, or a common one where it does not know. */
export function terminalSize(): TerminalSize {
  try {
    const { columns, rows } = Deno.consoleSize();
    if (columns > 0 && rows > 0) return { cols: columns, rows };
  } catch {
    // No terminal: as below.
  }
  return { cols: 80, rows: 24 };
}

/** Passes each key on as it is pressed, Ctrl-C too, and each byte as it comes, until it is disposed of. */
export async function rawMode(): Promise<AsyncDisposable> {
  if (!Deno.stdin.isTerminal()) return { async [Symbol.asyncDispose]() {} };
  const before = await stty("-g");
  Deno.stdin.setRaw(true);
  // Deno leaves the output's part as it is: a line feed that a program of the guest means as such would go to column 1.
  await stty("-opost");
  return {
    async [Symbol.asyncDispose]() {
      Deno.stdin.setRaw(false);
      if (before !== "") await stty(before);
    },
  };
}

/** What stty(1) prints; without it lines may look ragged, and no more. */
async function stty(word: string): Promise<string> {
  try {
    const { stdout } = await new Deno.Command("stty", { args: [word], stdin: "inherit" }).output();
    return new TextDecoder().decode(stdout).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

/** Calls `fn` with each new size of the terminal, until it is disposed of. */
export function onResize(fn: (size: TerminalSize) => void): Disposable {
  const listener = () => fn(terminalSize());
  Deno.addSignalListener("SIGWINCH", listener);
  return { [Symbol.dispose]: () => Deno.removeSignalListener("SIGWINCH", listener) };
}

/** What is typed, until the end of input. The read that is under way when nobody listens any more ends with the process. */
export async function* typed(): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(16 * 1024);
  for (let n = await Deno.stdin.read(buffer); n !== null; n = await Deno.stdin.read(buffer)) {
    yield buffer.slice(0, n);
  }
}

/** Shows what comes, byte by byte, to its end. */
export async function show(
  from: AsyncIterable<Uint8Array>,
  to: { write(bytes: Uint8Array): Promise<number> } = Deno.stdout,
): Promise<void> {
  for await (const chunk of from) {
    for (let at = 0; at < chunk.length;) at += await to.write(chunk.subarray(at));
  }
}
