import { assertEquals, assertStringIncludes } from "@std/assert";
import { findQemu, QemuVmm } from "../../src/vmm/mod.ts";
import { setTimeScale, timeScale } from "../../src/scope/mod.ts";
import { makeTempDir } from "../host/_temp.ts";
import { openVmm, shell } from "./_vmm.ts";

/**
 * A QEMU that passes the probe, and whose guests under KVM never run a single instruction: what a broken nested
 * virtualisation looks like. Everything else is the real one.
 */
const HANGS_UNDER_KVM = `#!/bin/bash
case "$*" in *isa-debug-exit*) exit 7 ;; esac
args=(); hang=
for word in "$@"; do
  case "$word" in kvm) word=tcg; hang=-S ;; host) word=max ;; esac
  args+=("$word")
done
exec REAL "\${args[@]}" $hang
`;

Deno.test("a KVM that runs no kernel costs one wait, in the same start, and is remembered", async () => {
  await using host = await openVmm();
  await using dir = await makeTempDir();
  const scale = timeScale();
  const qemu = `${dir.path}/qemu`;
  const real = (await findQemu()).path;
  await Deno.writeTextFile(qemu, HANGS_UNDER_KVM.replace("REAL", real), { mode: 0o755 });
  const open = () =>
    new QemuVmm({
      run: () => Promise.resolve(host.run),
      qemu,
      kvmDevice: "/dev/null", // it opens
      cache: dir.path,
    });
  const vmm = open();
  assertEquals((await vmm.accelerator()).proven, false);
  const machine = await vmm.launch(host.spec());
  assertEquals(machine.info.accel, "tcg");
  assertStringIncludes(machine.info.accelWhy, "boot sector here, but no kernel");
  assertStringIncludes(machine.info.accelWhy, "did not answer within 10 s");
  assertEquals(await shell(machine.client!, "echo up"), "up\n");
  await machine[Symbol.asyncDispose]();
  const next = await open().accelerator();
  assertEquals([next.accel, next.proven, next.why], ["tcg", true, machine.info.accelWhy]);
  setTimeScale(scale);
});

Deno.test("the accelerator that is chosen here runs machines", async () => {
  await using host = await openVmm();
  const chosen = await host.vmm.accelerator();
  await using machine = await host.vmm.launch(host.spec({ cold: true }));
  const { accel, accelWhy } = machine.info;
  const expected = chosen.proven ? [chosen.accel, chosen.why] : [accel, accelWhy];
  assertEquals([accel, accelWhy], expected);
});
