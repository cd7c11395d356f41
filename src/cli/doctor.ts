import { Command } from "@cliffy/command";
import { escapeControl, escapeLine, makeStyle } from "../report/mod.ts";
import { findFacts } from "./_doctor_facts.ts";
import { ExitError } from "./_errors.ts";
import { withMachines } from "./_machine.ts";
import { hasColor, print } from "./_terminal.ts";
import type { GlobalOptions } from "./run.ts";

/** `belljar doctor`. */
// deno-lint-ignore no-explicit-any -- its options are of no concern to the tree
export function doctorCommand(): Command<any> {
  return new Command<GlobalOptions>()
    .description(
      "Show what this host can do for machines, what was chosen and why, and what would make it better.",
    )
    .option("--probe", "Find out again whether KVM runs machines here")
    .option("--json", "As JSON")
    .action(async (options) => {
      const facts = await withMachines(() => findFacts({ probe: options.probe === true }));
      const ok = facts.every(({ status }) => status !== "problem");
      if (options.json) print(`${JSON.stringify({ v: 1, ok, facts }, null, 2)}\n`);
      else {
        const style = makeStyle(hasColor(options.color));
        const words = {
          ok: style.green("ok     "),
          note: style.yellow("note   "),
          problem: style.red("problem"),
        };
        const indent = " ".repeat(21);
        for (const { name, status, text, fix } of facts) {
          const shown = escapeControl(text).replaceAll("\n", `\n${indent}`);
          print(`${words[status]} ${style.bold(name.padEnd(12))} ${shown}\n`);
          if (fix) print(`${indent}${style.cyan("fix:")} ${escapeLine(fix)}\n`);
        }
        print(
          ok ? "Tests with machines can run here.\n" : "Tests with machines cannot run here.\n",
        );
      }
      if (!ok) throw new ExitError(3);
    });
}
