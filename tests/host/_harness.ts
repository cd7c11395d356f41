/**
 * A harness to be killed: opens a run in the folder that it is given, starts what the kind names, tells what it has done
 * in lines of JSON, and waits to be ended.
 */
import { openRun } from "../../src/host/mod.ts";
import { agentBinary } from "../../src/image/mod.ts";

const [root, kind] = Deno.args as [string, string];
function tell(event: string, fields: object = {}): void {
  // deno-lint-ignore no-console -- read by the test
  console.log(JSON.stringify({ event, ...fields }));
}

const run = await openRun({ root, agentBinary: () => agentBinary() });
tell("opened", { dir: run.dir, token: run.token });
if (kind !== "idle") {
  const guarded = await run.spawnGuarded("sleep", {
    args: ["301"],
    stdout: "null",
    stderr: "null",
  });
  // A tree: one member ignores SIGTERM, one leaves the group.
  const tree = await run.spawn("sh", {
    args: ["-c", "(trap '' TERM; sleep 302) & setsid sleep 303 & sleep 304 & wait"],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  });
  tree.unref();
  tell("started", { guarded: guarded.pid, tree: tree.pid, guard: run.guardPid });
}
if (kind === "closes") {
  await run.close();
  tell("closed");
}
setInterval(() => {}, 1e6);
