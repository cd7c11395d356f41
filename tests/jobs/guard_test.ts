import { assert, assertEquals } from "@std/assert";
import { groupMembers } from "../../src/host/mod.ts";
import { startScript } from "./_child.ts";
import { waitUntil } from "../../src/jobs/mod.ts";

for (const how of ["SIGKILL", "SIGINT", "exit"] as const) {
  Deno.test(`jobs #111 all groups are gone after the harness ends by ${how}`, async () => {
    const dir = await Deno.makeTempDir();
    const { child, printed } = await startScript("harness.ts", [how, `${dir}/up`]);
    const groups = printed.split(" ").map(Number);
    assertEquals(groups.length, 2);
    if (how !== "exit") child.kill(how);
    await child.status;
    const left = async () => (await Promise.all(groups.map(groupMembers))).flat();
    const started = performance.now();
    await waitUntil(async () => (await left()).length === 0, { timeout: 20, interval: 0.05 });
    assert(performance.now() - started < 15_000);
    await Deno.remove(dir, { recursive: true });
  });
}
