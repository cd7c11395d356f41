/** `belljar shell` in front of a person: on a real terminal. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { belljarCommand, Terminal } from "./_terminal.ts";

/** Busybox asks the terminal where its cursor is. */
// deno-lint-ignore no-control-regex -- that question
const PROMPT = /# (\x1b\[6n)?$/;

Deno.test("belljar shell: a login shell on a terminal of the guest", async (t) => {
  await using terminal = await Terminal.open(["shell", "tiny"]);
  await terminal.expect(/belljar: tiny: (clone|boot) in \d+ ms/);
  await terminal.expect(PROMPT);

  await t.step("has the size of the terminal in front of it", async () => {
    await terminal.type("stty size; uname -s\r");
    await terminal.expect(/\n30 100\r\nLinux/);
  });
  await t.step("follows when that changes", async () => {
    await terminal.type(
      `sh -c "trap 'stty size; echo noticed; exit' WINCH; echo se''t; while :; do sleep 0.1; done"\r`,
    );
    await terminal.expect(/set/);
    await terminal.resize(132, 43);
    await terminal.expect(/43 132\r\nnoticed/);
  });
  await t.step("gets Ctrl-C as a key", async () => {
    // By a child: one that has printed is in the foreground already, and Ctrl-C is its.
    await terminal.type("sh -c \"echo be''gin; exec sleep 600\"\r");
    await terminal.expect(/begin/);
    await terminal.type("\x03");
    await terminal.expect(PROMPT); // Ctrl-C drops what was typed together with it.
    await terminal.type("echo code=$?\r");
    await terminal.expect(/code=130/);
  });
  await t.step("gets bytes beyond ASCII as they are", async () => {
    await terminal.type("printf '%s' 'é€' | od -An -tx1\r");
    await terminal.expect(/c3 a9 e2 82 ac/);
  });
  await t.step("passes its exit code on, and leaves the terminal as it was", async () => {
    await terminal.type("exit 7\r");
    assertEquals(await terminal.end(), 7);
    assertMatch(terminal.text.slice(-40), /[^-]icanon\s*$/);
  });
});

Deno.test("belljar shell: a command on a terminal, as a user in a folder", async () => {
  const script = `tty; id -un; pwd; [ -t 0 ] && exit 3`;
  const args = ["shell", "-q", "--user", "user", "--cwd", "/tmp", "tiny", "--", "sh", "-c", script];
  await using terminal = await Terminal.open(args);
  await terminal.expect(/\/dev\/pts\/\d+\r\nuser\r\n\/tmp/);
  assertEquals(await terminal.end(), 3);
});

Deno.test("belljar shell: a guest that is switched off from within ends it as asked", async () => {
  await using terminal = await Terminal.open(["shell", "tiny"]);
  await terminal.expect(PROMPT);
  await terminal.type("poweroff -f\r");
  assertEquals(await terminal.end(), 0, terminal.text);
});

Deno.test("belljar shell: without a terminal it reads commands to the end of input", async () => {
  const [program = "", ...args] = belljarCommand(["shell", "tiny"]);
  const child = new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("echo out; echo err >&2; tty\n(exit 4)\n"));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals([code, text(stdout)], [4, "out\nnot a tty\n"], text(stderr));
  assertStringIncludes(text(stderr), "err\n");
});

Deno.test("belljar shell --console: from power-on, with a shell of its own, until Ctrl-]", async () => {
  await using terminal = await Terminal.open(["shell", "--console", "tiny"]);
  await terminal.expect(/belljar: the serial console; Ctrl-\] ends the machine/);
  await terminal.expect(PROMPT);
  await terminal.type("tty; stty size\r");
  await terminal.expect(/\/dev\/tty(S|AMA)0\r\n30 100/);
  // By a child, as above.
  await terminal.type("sh -c \"echo be''gin; exec sleep 600\"\r");
  await terminal.expect(/begin/);
  await terminal.type("\x03");
  // No "^C" is asked for: the kernel shows it after the signal, unless the shell has switched the echo off by then.
  await terminal.expect(PROMPT);
  await terminal.type("echo code=$?\r");
  await terminal.expect(/code=130/);
  await terminal.type("\x1d");
  assertEquals(await terminal.end(), 0, terminal.text);
  assertMatch(terminal.text.slice(-40), /[^-]icanon\s*$/);
});
