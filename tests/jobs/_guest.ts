/** A place for cases in a guest: the agent as a process of this host, in a conversation over a unix socket. */
import type { Place } from "./_cases.ts";
import { isLive, procStat } from "../../src/host/mod.ts";
import { agentBinary } from "../../src/image/mod.ts";
import { commandArgv, commandText, jobs, startGuestJob } from "../../src/jobs/mod.ts";
import { Scope } from "../../src/scope/mod.ts";
import { AgentClient } from "../../src/wire/mod.ts";

/** A place with its agent. */
export interface AgentPlace extends Place {
  client: AgentClient;
  agent: Deno.ChildProcess;
}

/** Starts an agent and begins a conversation. */
export async function openAgent(): Promise<AgentPlace> {
  const binary = await agentBinary();
  const tmp = await Deno.realPath(await Deno.makeTempDir());
  const secret = crypto.getRandomValues(new Uint8Array(32));
  await Deno.writeFile(`${tmp}/secret`, secret);
  const listener = Deno.listen({ transport: "unix", path: `${tmp}/s` });
  const agent = new Deno.Command(binary, {
    args: ["agent", "--control", `unix:${tmp}/s`, "--secret-file", `${tmp}/secret`],
    stdin: "null",
    detached: true,
  }).spawn();
  const conn = await listener.accept();
  listener.close();
  const epoch = crypto.getRandomValues(new Uint8Array(16));
  const client = await AgentClient.connect(conn, { machine: "here", secret, epoch });
  const scope = new Scope("case");
  return {
    tmp,
    client,
    agent,
    background: (command, options = {}) =>
      scope.run(() =>
        startGuestJob(client, 0, {
          ...options,
          argv: commandArgv(command),
          command: commandText(command),
        })
      ),
    alive: async (pid) => {
      const stat = await procStat(pid);
      return stat !== undefined && isLive(stat);
    },
    exists: (path) => Deno.stat(path).then(() => true, () => false),
    scope,
    async [Symbol.asyncDispose]() {
      await scope[Symbol.asyncDispose]();
      client.close();
      await agent.status;
      jobs.cleanup();
      await Deno.remove(tmp, { recursive: true });
    },
  };
}
