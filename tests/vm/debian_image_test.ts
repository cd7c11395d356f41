import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { cacheDir } from "../../src/host/mod.ts";
import { type ImageDefinition, resolveImage } from "../../src/image/mod.ts";
import { hasProgram } from "../image/objects.ts";
import { LIMIT_MS, openVmm, shell, utf8 } from "./_vmm.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** Debian with systemd, made by a script when that changes; the archive lies in the cache. */
async function debian(): Promise<ImageDefinition> {
  const archive = `${await cacheDir()}/tests/debian.tar`;
  await Deno.mkdir(archive.replace(/\/[^/]*$/, ""), { recursive: true });
  return {
    rootfs: archive,
    size: "1G",
    build: {
      run: ["scripts/debian-rootfs", archive],
      inputs: ["scripts/debian-rootfs"],
      outputs: [archive],
    },
  };
}

const canBuild = await hasProgram("mmdebstrap") ||
  Deno.uid() === 0 && await hasProgram("debootstrap");

Deno.test({
  name: "a Debian root file system boots systemd, with the agent as its service",
  // Neither mmdebstrap nor, as root, debootstrap is there to make the root file system.
  ignore: !canBuild,
  async fn(t) {
    await using host = await openVmm();
    const image = await resolveImage(await debian(), { root: ROOT });
    assertEquals([image.kind, image.agentIsInit], ["rootfs", false]);
    const disk = await Deno.stat(image.disk!.path);
    await using machine = await host.vmm.launch(host.spec({
      name: "debian",
      image,
      memoryBytes: 512 * 1024 ** 2,
      agentTimeoutMs: LIMIT_MS,
      files: [{ path: "/etc/belljar-test", content: utf8("added\n"), mode: 0o600 }],
      cold: true,
    }));
    const run = (command: string) => shell(machine.client!, `${command} 2>&1`);

    await t.step("systemd is process 1 and comes up", async () => {
      assertEquals(await run("cat /proc/1/comm"), "systemd\n");
      const state = await run("systemctl is-system-running --wait");
      assertEquals(state, "running\n", await run("systemctl --failed --no-legend"));
    });
    await t.step("the agent is a service that no other user can look into", async () => {
      assertEquals(await run("systemctl is-active belljar-agent.service"), "active\n");
      assertEquals(await run("stat -c '%a %U' /run/belljar"), "700 root\n");
    });
    await t.step("the root file system is the disk, with room to write", async () => {
      assertMatch(await run("findmnt -no FSTYPE,OPTIONS /"), /^ext4 +rw/);
      assertEquals(await run("cat /etc/belljar-test"), "added\n");
      await run("dd if=/dev/zero of=/var/tmp/big bs=1M count=100 && sync");
      assertEquals(await run("stat -c %s /var/tmp/big"), `${100 * 1024 ** 2}\n`);
    });
    await t.step("the kernel's modules are found by their names", async () => {
      assertEquals(await run("modprobe dummy && ls /sys/module | grep -x dummy"), "dummy\n");
    });
    await t.step("the image's disk is as it was", async () => {
      const after = await Deno.stat(image.disk!.path);
      assertEquals([after.mtime, after.size], [disk.mtime, disk.size]);
    });
    await t.step("its clones are up when they begin, each with a disk of its own", async () => {
      const files = [{ path: "/etc/belljar-test", content: utf8("of clones\n"), mode: 0o600 }];
      const spec = (name: string) =>
        host.spec({ name, image, memoryBytes: 512 * 1024 ** 2, files, agentTimeoutMs: LIMIT_MS });
      const ids = new Set<string>();
      for (const name of ["one", "two"]) {
        await using clone = await host.vmm.launch(spec(name));
        assertEquals([clone.info.how, clone.info.howWhy], ["clone", ""]);
        const inClone = (command: string) => shell(clone.client!, `${command} 2>&1`);
        assertEquals(await inClone("systemctl is-system-running --wait"), "running\n");
        assertEquals(await inClone("hostname; cat /etc/belljar-test"), `${name}\nof clones\n`);
        await inClone(`echo ${name} >>/root/log && sync && echo 3 >/proc/sys/vm/drop_caches`);
        assertEquals(await inClone("cat /root/log"), `${name}\n`);
        ids.add(await inClone("cat /etc/machine-id"));
      }
      assertEquals(ids.size, 2);
    });
    assertStringIncludes(machine.info.howWhy, "asked for");
    assert(machine.info.kernel?.startsWith(image.kernelRelease!.split("-")[0]!));
  },
});
