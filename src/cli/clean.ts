import { Command } from "@cliffy/command";
import { cleanImages } from "../image/mod.ts";
import { pruneOrphanedOutput } from "../jobs/mod.ts";
import { cacheDir, sweepRuns } from "../host/mod.ts";
import { Fixtures } from "../runner/mod.ts";
import { TemplateStore } from "../vmm/qemu/template_store.ts";
import { showBytes } from "./_format.ts";
import { ExitError } from "./_errors.ts";
import { print, printError } from "./_terminal.ts";
import type { GlobalOptions } from "./run.ts";

/** What templates may take on disk. */
const TEMPLATE_CAP = 4 * 2 ** 30;

/** `belljar clean`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function cleanCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description(
      "End and remove what killed runs left, and what caches hold beyond their caps. Running ones are not touched.",
    )
    .option("--all", "Empty the caches, not only what is beyond their caps")
    .action(async (options) => {
      const swept = await sweepRuns();
      print(`${swept.length} run folder${swept.length === 1 ? "" : "s"} of killed runs removed\n`);
      const stuck = swept.flatMap(({ stuck }) => stuck);
      const { removed, freed } = await cleanImages(options.all ? { all: true } : {});
      print(
        `${removed.length} folder${removed.length === 1 ? "" : "s"} of images removed, ${
          showBytes(freed)
        }\n`,
      );
      const templates = await cleanTemplates(options.all ? 0 : TEMPLATE_CAP);
      print(`${templates.length} template${templates.length === 1 ? "" : "s"} removed\n`);
      const fixtures = await (await new Fixtures().store()).evict(options.all ? 0 : undefined);
      print(`${fixtures.length} fixture${fixtures.length === 1 ? "" : "s"} removed\n`);
      await pruneOrphanedOutput();
      if (stuck.length === 0) return;
      printError(`belljar: processes of killed runs cannot be ended: ${stuck.join(", ")}\n`);
      throw new ExitError(3);
    });
}

async function cleanTemplates(capBytes: number): Promise<string[]> {
  try {
    return await new TemplateStore({ dir: `${await cacheDir()}/templates`, capBytes }).evict();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return []; // no machine was ever started
    throw error;
  }
}
