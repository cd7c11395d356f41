import { closeCurrentRun, isLive, procStat } from "../../src/host/mod.ts";
import { background, jobs } from "../../src/jobs/mod.ts";
import { Scope } from "../../src/scope/mod.ts";
import { jobCases, type Place } from "./_cases.ts";

async function openHost(): Promise<Place> {
  const scope = new Scope("case");
  const tmp = await Deno.realPath(await Deno.makeTempDir());
  return {
    tmp,
    background: (command, options) => scope.run(() => background(command, options)),
    alive: async (pid) => {
      const stat = await procStat(pid);
      return stat !== undefined && isLive(stat);
    },
    exists: (path) => Deno.stat(path).then(() => true, () => false),
    scope,
    async [Symbol.asyncDispose]() {
      await scope[Symbol.asyncDispose]();
      await closeCurrentRun();
      jobs.cleanup();
      await Deno.remove(tmp, { recursive: true });
    },
  };
}

jobCases("host", openHost);
