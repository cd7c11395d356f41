/**
 * Runs in a machine that is a host with `vsock_loopback`: measures an agent against raw_echo there and prints the figures as
 * one line of JSON. Its argument says how often; `RAW_ECHO` names the program.
 */
import { agentBinary } from "../../src/image/mod.ts";
import { currentRun } from "../../src/host/mod.ts";
import { LocalVmm } from "../../src/vmm/mod.ts";
import { type Effort, QUICK } from "./bench.ts";
import { measureBulk, measurePing } from "./conversation.ts";
import { withLoopback } from "./lines.ts";

/** How often, inside. */
export type InsideEffort = Pick<Effort, "pings" | "bulkBytes">;

if (import.meta.main) {
  const effort: Effort = { ...QUICK, ...JSON.parse(Deno.args[0]!) };
  const run = await currentRun({ agentBinary: () => agentBinary() });
  try {
    const vmm = new LocalVmm({ run: () => Promise.resolve(run) });
    const figures = await withLoopback({ run, dir: run.dir }, vmm, async (line) => ({
      ping: await measurePing(line, effort),
      bulk: await measureBulk(line, effort),
    }), Deno.env.get("RAW_ECHO"));
    await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(figures)}\n`));
  } finally {
    await run.close();
  }
}
