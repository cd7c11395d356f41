import { assertEquals, assertThrows } from "@std/assert";
import { allowConsole, type ConsoleRuleError } from "../../src/lab/mod.ts";
import { ConsoleScanner } from "../../src/lab/console_rules.ts";
import { Scope } from "../../src/scope/mod.ts";

function scanned(...chunks: string[]): ConsoleRuleError[] {
  const found: ConsoleRuleError[] = [];
  const scanner = new ConsoleScanner("v", (error) => found.push(error));
  for (const chunk of chunks) scanner.push(new TextEncoder().encode(chunk));
  return found;
}

Deno.test("ConsoleScanner knows what kernels write when something is wrong", async (t) => {
  const rows: [string, string][] = [
    ["panic", "[    4.2] Kernel panic - not syncing: sysrq triggered crash"],
    ["oops", "[    1.0] BUG: kernel NULL pointer dereference, address: 0000000000000000"],
    ["oops", "[    1.0] BUG: unable to handle page fault for address: ffffffffdeadbeef"],
    ["oops", "[    1.0] Oops: 0002 [#1] PREEMPT SMP NOPTI"],
    ["oops", "[    1.0] kernel BUG at mm/slub.c:305!"],
    ["oops", "[    1.0] general protection fault, probably for non-canonical address 0x1"],
    ["oops", "[    1.0] Unable to handle kernel NULL pointer dereference at virtual address 0"],
    ["kasan", "[    1.0] BUG: KASAN: slab-out-of-bounds in foo+0x1/0x2"],
    ["kasan", "[    1.0] UBSAN: shift-out-of-bounds in lib/x.c:1:2"],
    ["lockdep", "[    1.0] WARNING: possible circular locking dependency detected"],
    ["lockdep", "[    1.0] BUG: sleeping function called from invalid context at x.c:1"],
    ["oom", "[    1.0] Out of memory: Killed process 41 (agent) total-vm:1kB"],
    ["oom", "[    1.0] Memory cgroup out of memory: Killed process 4 (x)"],
    ["readOnlyRemount", "[    1.0] EXT4-fs (vda): Remounting filesystem read-only"],
  ];
  for (const [kind, line] of rows) {
    await t.step(line, () => {
      const [error] = scanned(`fine\n${line}\r\nfine\n`);
      assertEquals([error?.kind, error?.line, error?.vm], [kind, line, "v"]);
    });
  }
});

Deno.test("ConsoleScanner passes over ordinary lines", () => {
  const lines = [
    "[    0.0] Kernel command line: console=ttyS0 panic=-1",
    "[    0.1] rcu: RCU callback invocation",
    "oops, my mistake",
    "panic: this is a user's program",
  ];
  assertEquals(scanned(lines.join("\n") + "\n"), []);
});

Deno.test("ConsoleScanner finds a line in two pieces, once, and not in what has no end yet", () => {
  assertEquals(scanned("Kernel panic - not ", "syncing: x").length, 0);
  const [error, ...more] = scanned(
    "Kernel panic - not ",
    "syncing: x\n",
    "Kernel panic - not syncing: x\n",
  );
  assertEquals([error?.kind, more], ["panic", []]);
});

Deno.test("ConsoleScanner shows control characters as text", () => {
  const [error] = scanned("\x1b[31mKernel panic - not syncing: a\x07b\x1b[0m\n");
  assertEquals(error?.line, "Kernel panic - not syncing: a\\x07b");
});

Deno.test("allowConsole() holds until the scope of its caller ends", async () => {
  const scope = new Scope("test");
  scope.run(() => allowConsole(/KASAN: .* in foo/g, "known"));
  const line = "BUG: KASAN: use-after-free in foo\n";
  assertEquals(scanned(line), []);
  assertEquals(scanned(line), []);
  assertEquals(scanned("BUG: KASAN: use-after-free in bar\n").length, 1);
  await scope.close();
  assertEquals(scanned(line).length, 1);
});

Deno.test("allowConsole() refuses what is no pattern, and asks for the reason", () => {
  assertThrows(() => allowConsole(5 as unknown as string, "x"), TypeError, "got number");
  assertThrows(() => allowConsole(/x/, ""), TypeError, "takes the reason");
});
