import { currentRun, type Run } from "../host/mod.ts";
import { agentBinary } from "../image/mod.ts";

/** The run of this process, whose guard ends what is left when this process dies. */
export function hostRun(): Promise<Run> {
  return currentRun({ agentBinary: () => agentBinary() });
}
