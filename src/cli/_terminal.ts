/** Writes text to standard output, all of it. */
export function print(text: string): void {
  writeAll(Deno.stdout, text);
}

/** Writes text to standard error, all of it. */
export function printError(text: string): void {
  writeAll(Deno.stderr, text);
}

/** Whether standard output shows colours. */
export function hasColor(asked: boolean): boolean {
  if (!asked || Deno.noColor) return false;
  if (Deno.env.get("FORCE_COLOR")) return Deno.env.get("FORCE_COLOR") !== "0";
  return Deno.stdout.isTerminal() && Deno.env.get("TERM") !== "dumb";
}

/** Width of the terminal, or a common one. */
export function columns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80; // No terminal.
  }
}

function writeAll(output: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += output.writeSync(bytes.subarray(at));
  } catch (error) {
    // `belljar list | head`: nobody reads on, which is no failure of ours.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
