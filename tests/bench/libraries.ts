/** Programs of this host that shall run in a guest without anything installed there. */
import { dirname } from "node:path";
import type { Vm } from "../../src/lab/mod.ts";
import { type Bench, output } from "./bench.ts";

/** Paths of the shared libraries that a program is loaded with, its loader among them. */
export async function librariesOf(
  bench: Pick<Bench, "run">,
  program: string,
  env: Record<string, string> = {},
): Promise<string[]> {
  const text = await output(bench, "ldd", { args: [program], env });
  const missing = /^\s*(\S+) => not found/m.exec(text)?.[1];
  if (missing) throw new Error(`Cannot use "${program}": there is no ${missing}`);
  return text.split("\n").flatMap((line) => /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

/** Copies files into a guest; the keys are the paths there. What a link leads to is copied, under the link's name. */
export async function copyFiles(vm: Vm, files: Iterable<[string, string]>): Promise<void> {
  for (const [to, from] of files) {
    await vm.mkdir(dirname(to), { recursive: true });
    await vm.copyIn(await Deno.realPath(from), to);
  }
}
