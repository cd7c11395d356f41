import { assertEquals } from "@std/assert";
import { bootStage, panicLine } from "../../src/vmm/qemu/boot_stage.ts";

Deno.test("bootStage() tells how far a boot came", async (t) => {
  const rows = [
    [{ console: "", portOpened: false }, "firmware"],
    [{ console: "", portOpened: false, registers: "RIP=000000000000fff0 CPL=0" }, "firmware"],
    [{ console: "", portOpened: false, registers: "RIP=ffffffff81000000 ... CPL=0" }, "kernel"],
    [{ console: "", portOpened: false, registers: "RIP=0000000000401000 CPL=3" }, "init"],
    [{ console: "[    0.000000] Linux version 6.1", portOpened: false }, "kernel"],
    [{ console: "[    1.2] Run /init as init process", portOpened: false }, "init"],
    [{ console: "", portOpened: true, registers: "RIP=ffffffff81000000 CPL=0" }, "agent"],
  ] as const;
  for (const [evidence, stage] of rows) {
    await t.step(JSON.stringify(evidence), () => assertEquals(bootStage(evidence), stage));
  }
});

Deno.test("panicLine() finds the kernel's last words", () => {
  const text = "[ 1.0] x\n[ 1.1] Kernel panic - not syncing: sysrq triggered crash\n[ 1.2] CPU: 0";
  assertEquals(panicLine(text), "Kernel panic - not syncing: sysrq triggered crash");
  assertEquals(panicLine("all is well"), undefined);
});
