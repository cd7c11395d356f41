import { assert, assertEquals } from "@std/assert";
import { openRun } from "../../src/host/mod.ts";
import { agentBinary } from "../../src/image/mod.ts";
import { QemuVmm } from "../../src/vmm/mod.ts";
import { makeTempDir } from "../host/_temp.ts";
import { killAll, untilWritten } from "./_power_loss.ts";
import { openVmm, shell, untilNoProcesses } from "./_vmm.ts";

const AGENT = await agentBinary();
const REPO = new URL("../../", import.meta.url).pathname;

interface Opened {
  dir: string;
  token: string;
}

/** Starts a harness that builds a template in `cache`; returns it with what it tells of its run. */
async function startBuilder(root: string, cache: string) {
  const fallback = `${REPO}scripts/fallback`;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-check", "-q"],
      ...[`--import-map=${fallback}/import_map.json`, `--lock=${fallback}/deno.lock`],
      ...[`${REPO}tests/vm/_doomed.ts`, root, cache],
    ],
    env: { BELLJAR_AGENT: AGENT },
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream());
  let text = "";
  for await (const chunk of lines) {
    text += chunk;
    if (text.includes("\n")) break;
  }
  const opened: Opened = JSON.parse(text.split("\n")[0]!);
  return { child, opened };
}

Deno.test("a template whose build was killed with guard and all is built anew, at every phase", async (t) => {
  for (const name of ["ram", "initrd", "state", "manifest.json"]) {
    await t.step(`when "${name}" was begun`, async () => {
      await using root = await makeTempDir();
      await using cache = await makeTempDir();
      using events = Deno.watchFs(cache.path);
      const { child, opened } = await startBuilder(root.path, cache.path);
      await untilWritten(events, (path) => path.includes("/.new-") && path.endsWith(`/${name}`));
      await killAll(child, [opened.token]);
      await untilNoProcesses(opened.token);
      // The next start, by another harness, with what is on disk now.
      await using host = await openVmm();
      const run = await openRun({ root: root.path, agentBinary: () => AGENT });
      await using _run = run;
      const vmm = new QemuVmm({ run: () => Promise.resolve(host.run), cache: cache.path });
      await using machine = await vmm.launch(host.spec());
      assertEquals(machine.info.how, "clone");
      assertEquals(await shell(machine.client!, "echo up"), "up\n");
      const left = await Array.fromAsync(
        Deno.readDir(`${cache.path}/templates`),
        (entry) => entry.name,
      );
      assertEquals(left.filter((entry) => entry.startsWith(".new-")), []);
      assert(await Deno.stat(opened.dir).then(() => false, () => true), "its run's folder is left");
    });
  }
});
