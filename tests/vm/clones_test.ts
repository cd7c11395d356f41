import { assert, assertEquals, assertLess } from "@std/assert";
import { QemuVmm } from "../../src/vmm/mod.ts";
import { makeTempDir } from "../host/_temp.ts";
import { openVmm, shell } from "./_vmm.ts";

/** How many clones are made one after the other; the long run sets it to 1000. */
const CLONES = Number(Deno.env.get("BELLJAR_CLONES") ?? 50);
const MIB = 1024 ** 2;

async function digests(dir: string): Promise<string> {
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", `cd "${dir}" && sha256sum ram state manifest.json initrd`],
  }).output();
  return new TextDecoder().decode(stdout);
}

async function figures(runDir: string) {
  const status = await Deno.readTextFile("/proc/self/status");
  return {
    files: (await Array.fromAsync(Deno.readDir("/proc/self/fd"))).length,
    memory: Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * 1024,
    folders:
      (await Array.fromAsync(Deno.readDir(runDir), ({ name }) => name)).filter((name) =>
        !name.endsWith(".log")
      ).length,
  };
}

Deno.test(`${CLONES} clones in sequence leave the template as it was, and nothing grows`, async () => {
  await using host = await openVmm();
  await using cache = await makeTempDir();
  const vmm = new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path });
  const random = new Set<string>();
  let clones = 0;
  const clone = async (name: string) => {
    // Every other one has stood by before it was asked for.
    const standby = ++clones % 2 === 0 ? await vmm.standby(host.spec()) : undefined;
    await using machine = await vmm.launch(host.spec({ name, standby }));
    assertEquals([machine.info.how, machine.info.pid], ["clone", standby?.pid ?? machine.info.pid]);
    const text = await shell(
      machine.client!,
      "head -c 16 /dev/urandom | xxd -p; cat /etc/machine-id; head -c 3000000 /dev/urandom > /tmp/x",
    );
    random.add(text);
    await machine[Symbol.asyncDispose]();
    await machine.console.remove();
  };
  // Code and tables that the first ones make.
  for (let i = 0; i < 10; i++) await clone(`warm-${i}`);
  const [entry] = (await Array.fromAsync(Deno.readDir(`${cache.path}/templates`)))
    .filter(({ isDirectory }) => isDirectory);
  const dir = `${cache.path}/templates/${entry!.name}`;
  const before = { digests: await digests(dir), figures: await figures(host.run.dir) };
  assert(before.digests.includes("ram"));
  const began = performance.now();
  for (let i = 0; i < CLONES; i++) await clone(`clone-${i}`);
  const perClone = (performance.now() - began) / CLONES;
  const after = await figures(host.run.dir);
  assertEquals(await digests(dir), before.digests);
  assertEquals(random.size, CLONES + 10);
  assertLess(after.files, before.figures.files + 5);
  assertEquals(after.folders, before.figures.folders);
  assertLess(after.memory, before.figures.memory + 64 * MIB, `${perClone.toFixed()} ms per clone`);
});
