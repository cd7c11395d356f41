/** `belljar repl`: a prompt with a machine. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { belljarCommand, Terminal } from "./_terminal.ts";

// deno-lint-ignore no-control-regex -- readline moves the cursor
const PROMPT = /> (\x1b\[\d+G)?$/;

/** Runs lines without a terminal. */
async function feed(lines: readonly string[], args: readonly string[] = ["tiny"]) {
  const [program = "", ...words] = belljarCommand(["repl", ...args]);
  const child = new Deno.Command(program, {
    args: words,
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("belljar repl: TypeScript, top-level await, and names that stay", async () => {
  await using dir = await tempModule("export const answer = 42;\n");
  const { code, out, err } = await feed([
    "const x: number = await Promise.resolve(4)",
    "x + 1",
    "const x = 5; x",
    '{ name: "an object", sizes: [1n] }',
    'const listing = await vm.run("echo hi; exit 3")',
    "[listing.stdout, listing.exitCode]",
    "function twice(n: number): number {",
    "  return n * 2;",
    "}",
    "twice(_[1])",
    "enum Color { Red, Green }",
    "Color.Green",
    'await vm.readFile("/no/such")',
    "_error.errno",
    'throw new Error("oops")',
    'import os from "node:os"',
    '(await import("node:os")).EOL',
    `(await import(${JSON.stringify(dir.path)})).answer`,
    "const = 4",
    '[sys.nr("read"), typeof probe.tcp, lab.vm("vm") === vm]',
    "vm.state",
  ]);
  assertEquals(code, 0, err);
  assertEquals(out.trim().split("\n"), [
    "5",
    "5",
    '{ name: "an object", sizes: [ 1n ] }',
    '[ "hi\\n", 3 ]',
    "6",
    "1",
    '"ENOENT"',
    '"\\n"',
    "42",
    '[ 0, "function", true ]',
    '"booted"',
  ]);
  const errors = err.split("\n").filter((line) => line.startsWith("Uncaught"));
  assertEquals(errors.map((line) => line.replace(/:.*/, "")), [
    "Uncaught GuestError",
    "Uncaught Error",
    "Uncaught SyntaxError",
    "Uncaught SyntaxError",
  ]);
  assertStringIncludes(err, "await import(");
});

Deno.test("belljar repl: completion, history and Ctrl-C on a terminal", async () => {
  const cache = Deno.env.get("BELLJAR_CACHE_DIR") ?? `${Deno.env.get("HOME")}/.cache/belljar`;
  await using _kept = await kept(`${cache}/repl_history`);
  {
    await using terminal = await Terminal.open(["repl", "tiny"]);
    await terminal.expect(PROMPT);
    await terminal.type("vm.readTextF\t");
    await terminal.expect(/vm\.readTextFile/);
    await terminal.type('("/etc/hostname")\r');
    await terminal.expect(/"tiny\\n"/); // A promise is waited for, and what it brings is shown.
    await terminal.type("const mar\x03");
    await terminal.type("_.trim()\r");
    await terminal.expect(/"tiny"\r/);
    await terminal.type("const list = [\r1, 2,\r];\rlist.length + 40\r");
    await terminal.expect(/42\r/);
    await terminal.type("\x04");
    assertEquals(await terminal.end(), 0, terminal.text);
  }
  await using terminal = await Terminal.open(["repl", "tiny"]);
  await terminal.expect(PROMPT);
  await terminal.type("\x1b[A");
  await terminal.expect(/list\.length \+ 40/);
  await terminal.type("\x15.exit\r");
  assertEquals(await terminal.end(), 0, terminal.text);
});

/** A module in a folder of its own. */
async function tempModule(text: string): Promise<AsyncDisposable & { path: string }> {
  const dir = await Deno.makeTempDir({ prefix: "bj-repl-" });
  await Deno.writeTextFile(`${dir}/own.mjs`, text);
  return {
    path: `${dir}/own.mjs`,
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

/** Puts a file back as it was. */
async function kept(path: string): Promise<AsyncDisposable> {
  const before = await Deno.readFile(path).catch(() => undefined); // There was none.
  return {
    async [Symbol.asyncDispose]() {
      if (before) await Deno.writeFile(path, before);
      else await Deno.remove(path);
    },
  };
}
