import { currentRun, type Run } from "../host/mod.ts";
import { agentBinary } from "../image/mod.ts";

/** Returns the run of this process, guarded by the agent binary that images are made with. */
export function hostRun(): Promise<Run> {
  return currentRun({ agentBinary: () => agentBinary() });
}
