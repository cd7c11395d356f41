import { assert, assertEquals, assertMatch } from "@std/assert";
import { openRun, type Run } from "../../src/host/mod.ts";
import { agentBinary } from "../../src/image/mod.ts";
import { setTimeScale, timeScale } from "../../src/scope/mod.ts";
import { AcceleratorChooser } from "../../src/vmm/qemu/accel.ts";
import { makeTempDir } from "../host/_temp.ts";

const AGENT = await agentBinary();

interface Place extends AsyncDisposable {
  run: Run;
  /** A chooser over a program in place of QEMU, with /dev/null in place of /dev/kvm: it opens. */
  chooser(script: string, options?: { kvmDevice?: string }): Promise<AcceleratorChooser>;
}

async function place(): Promise<Place> {
  const dir = await makeTempDir();
  const run = await openRun({ root: `${dir.path}`, agentBinary: AGENT });
  const before = timeScale();
  return {
    run,
    async chooser(script, { kvmDevice = "/dev/null" } = {}) {
      const path = `${dir.path}/qemu`;
      await Deno.writeTextFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      return new AcceleratorChooser({
        qemu: { path, version: "7.2.0" },
        run: () => Promise.resolve(run),
        kvmDevice,
        cache: `${dir.path}/cache`,
      });
    },
    async [Symbol.asyncDispose]() {
      setTimeScale(before);
      await run.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

Deno.test("AcceleratorChooser takes TCG with the reason why KVM cannot be used", async (t) => {
  const rows = [
    ["no device", "exit 7", { kvmDevice: "/dev/no-kvm" }, /there is no \/dev\/no-kvm/],
    ["another code", "echo Oh dear >&2; exit 1", {}, /ended with code 1 instead of 7.*"Oh dear"/],
    ["a crash", "kill -ABRT $$", {}, /ended by SIGABRT/],
    ["a hang", "sleep 300", {}, /hung for 2 s/],
  ] as const;
  for (const [name, script, options, why] of rows) {
    await t.step(name, async () => {
      await using host = await place();
      const decision = await (await host.chooser(script, options)).decide();
      assertEquals([decision.accel, decision.proven], ["tcg", true]);
      assertMatch(decision.why, why);
      assert(timeScale() >= 2);
    });
  }
});

Deno.test("AcceleratorChooser believes in KVM only once a machine has reached its agent", async () => {
  await using host = await place();
  const first = await host.chooser("exit 7");
  assertEquals(await first.decide().then(({ accel, proven }) => [accel, proven]), ["kvm", false]);
  await first.confirm();
  const next = await host.chooser("exit 1"); // not asked any more
  assertEquals(await next.decide().then(({ accel, proven }) => [accel, proven]), ["kvm", true]);
  const fresh = await next.decide("auto", { fresh: true });
  assertEquals(fresh.accel, "tcg");
});

Deno.test("AcceleratorChooser keeps that KVM runs no kernel, for other processes too", async () => {
  await using host = await place();
  const first = await host.chooser("exit 7");
  await first.decide();
  const decision = await first.refute("the agent did not answer within 10 s");
  assertEquals(decision.accel, "tcg");
  assertMatch(decision.why, /boot sector here, but no kernel: the agent did not answer/);
  const next = await (await host.chooser("exit 7")).decide();
  assertEquals(next, { accel: "tcg", why: decision.why, proven: true });
});

Deno.test("AcceleratorChooser calibrates TCG once", async () => {
  await using host = await place();
  const chooser = await host.chooser("exit 1");
  assertEquals(await chooser.tcgScale(), 4);
  await chooser.calibrate(3_000);
  await chooser.calibrate(9_000);
  assertEquals(await chooser.tcgScale(), 6);
  assertEquals(timeScale(), 6);
  assertEquals((await chooser.decide("kvm")).why, "asked for");
  assertEquals(timeScale(), 1);
});
