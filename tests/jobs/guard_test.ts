import { assert, assertEquals } from "@std/assert";
import { groupMembers } from "../../src/host/mod.ts";
import { waitUntil } from "../../src/jobs/mod.ts";

const ROOT = new URL("../../", import.meta.url);

async function dependencyFlags(): Promise<string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", "--no-config", "--no-lock", "scripts/deps.ts"],
    cwd: ROOT,
  }).output();
  return new TextDecoder().decode(stdout).trim().split(" ").filter((flag) => flag !== "");
}

for (const how of ["SIGKILL", "SIGINT", "exit"] as const) {
  Deno.test(`jobs #111 all groups are gone after the harness ends by ${how}`, async () => {
    const dir = await Deno.makeTempDir();
    const flags = await dependencyFlags();
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "-q",
        "--no-check",
        ...flags,
        "tests/jobs/fixtures/harness.ts",
        how,
        `${dir}/up`,
      ],
      cwd: ROOT,
      stdin: "null",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    const groups = new TextDecoder().decode(value).trim().split(" ").map(Number);
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
