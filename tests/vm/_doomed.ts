/**
 * A harness to be killed: does with machines what its first argument names, again and again, and tells each phase that it
 * enters in a line of JSON.
 */
import { openRun } from "../../src/host/mod.ts";
import { agentBinary, resolveImage } from "../../src/image/mod.ts";
import { QemuVmm } from "../../src/vmm/mod.ts";
import { shell } from "./_vmm.ts";

const [root, cache] = Deno.args as [string, string];

function tell(phase: string, fields: object = {}): void {
  // deno-lint-ignore no-console -- read by the test
  console.log(JSON.stringify({ phase, ...fields }));
}

const run = await openRun({ root, agentBinary: () => agentBinary() });
tell("opened", { dir: run.dir, token: run.token });
const image = await resolveImage("tiny");
const vmm = new QemuVmm({ run: () => Promise.resolve(run), cache });
const spec = { name: "doomed", image, memoryBytes: 128 * 1024 ** 2, cpus: 1 };
tell("template");
for (;;) {
  const machine = await vmm.launch(spec);
  tell("run");
  await shell(machine.client!, "(setsid sleep 300 >/dev/null 2>&1 &); echo up");
  tell("save");
  const saved = await machine.save();
  tell("settle");
  await saved.settled();
  tell("restore");
  const clone = await vmm.restore(saved, { ...spec, name: "clone" });
  tell("cold");
  const cold = await vmm.launch({ ...spec, cold: true });
  tell("cleanup");
  await Promise.all([machine, clone, cold].map((each) => each[Symbol.asyncDispose]()));
  await saved.delete();
}
