import type { Vm } from "../../src/lab/mod.ts";
import { linkOf } from "../../src/lab/_link.ts";
import type { AgentClient } from "../../src/wire/mod.ts";

/** The connection to a machine's agent, for what measures it without the API in between. */
export function agentOf(vm: Vm): AgentClient {
  return linkOf(vm).client("measure");
}
